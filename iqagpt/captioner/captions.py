"""Scores of a reader as the captions that the captioner learns (paper 2.2)."""

import pandas as pd

from iqagpt.criteria import KEYS, scores_to_caption
from iqagpt.errors import ArtifactError

#: Marks the row of each image that is learned; other rows are single readers'.
_LEARNED = "consensus"
COLUMNS = ("image_id", "slice_id", "patient_id", "variant", "score_source", *KEYS)


def caption_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the template caption to a table of scores.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``: columns `COLUMNS` and ``consensus``, 1 in one row of each image; lesion
        conspicuity missing where there is no lesion.

    Returns
    -------
    DataFrame
        `COLUMNS` and ``caption``.

    Raises
    ------
    ArtifactError
        If an image has not exactly one row of the consensus, or a score is missing or outside its scale.
    """
    counts = scores.groupby("image_id", sort=False)[_LEARNED].sum()
    wrong = counts[counts != 1]
    if len(wrong):
        raise ArtifactError(
            f"scores: image '{wrong.index[0]}' has {wrong.iloc[0]} rows of the consensus; captions need one; run dvc repro read"
        )
    table = scores.loc[scores[_LEARNED] == 1, list(COLUMNS)].reset_index(drop=True)
    captions = []
    for row in table.to_dict("records"):
        try:
            captions.append(scores_to_caption({k: None if pd.isna(row[k]) else int(row[k]) for k in KEYS}))
        except ValueError as error:
            raise ArtifactError(f"scores: image '{row['image_id']}': {error}") from error
    return table.assign(caption=captions)
