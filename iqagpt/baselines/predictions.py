"""The common table of predictions for methods that give scores, not captions."""

import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, BEST, KEYS, WORST, scores_to_caption
from iqagpt.scored_images import ScoredImages


def prediction_table(images: ScoredImages, scores: pd.DataFrame, method: str) -> pd.DataFrame:
    """Lay predicted scores out as the table of predictions.

    Parameters
    ----------
    images : ScoredImages
        The images asked about.
    scores : DataFrame
        One row per image in the same order, a number per criterion; lesion conspicuity missing for "no lesion".
    method : str

    Returns
    -------
    DataFrame
        ``image_id, split, method, caption``, the four criteria, ``unparsed`` (empty). Scores stay as predicted, also between
        whole numbers; the caption is the template's for the nearest whole scores.
    """
    if scores[list(ALWAYS_SCORED)].isna().any(axis=None):
        raise ValueError(f"{method}: predicted no score where every image has one")
    captions = [scores_to_caption({key: nearest_score(row[key]) for key in KEYS}) for row in scores.to_dict("records")]
    table = images.table[["image_id", "split"]].assign(method=method, caption=captions)
    for key in KEYS:
        table[key] = scores[key].to_numpy()
    return table.assign(unparsed="")


def nearest_score(value: float) -> int | None:
    """Return the whole score 1 (best) to 4 (worst) nearest to a number; None where it is missing."""
    return None if pd.isna(value) else int(min(max(round(float(value)), BEST), WORST))
