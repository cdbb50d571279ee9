"""The distribution of scores by image quality (paper, Fig. 2), as a table for ``dvc plots`` and as shares for the figure."""

import pandas as pd

from iqagpt.criteria import KEYS, NO_LESION, SCORES
from iqagpt.readers.consensus import consensus_scores


def distribution_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Make the table that ``dvc plots`` counts.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``.

    Returns
    -------
    DataFrame
        One row per image, of the consensus: ``variant`` and the four criteria as text, such as ``3 (simulated)``.
    """
    rows = consensus_scores(scores)
    texts = {key: rows[key].astype("string").fillna(NO_LESION) + " (" + rows["score_source"] + ")" for key in KEYS}
    return rows[["variant"]].assign(**texts)


def score_shares(scores: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the share of each score by variant.

    Parameters
    ----------
    scores : DataFrame
        One row per image.
    key : str
        Criterion.

    Returns
    -------
    DataFrame
        One row per variant, in the order in which they first come; columns ``1`` to ``4`` and ``no lesion``, 0 to 1,
        which add up to 1.
    """
    grades = [*map(str, SCORES), NO_LESION]
    text = scores[key].astype("string").fillna(NO_LESION)
    counts = pd.crosstab(scores["variant"], text).reindex(columns=grades, fill_value=0)
    counts = counts.loc[scores["variant"].unique()]
    return counts.div(counts.sum(axis=1), axis=0)
