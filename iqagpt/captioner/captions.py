"""Scores of a reader as the captions that the captioner learns (paper 2.2)."""

import pandas as pd

from iqagpt.criteria import KEYS, scores_to_caption
from iqagpt.errors import ArtifactError

COLUMNS = ("image_id", "slice_id", "patient_id", "variant", "score_source", *KEYS)


def caption_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the template caption to a table of scores.

    Parameters
    ----------
    scores : DataFrame
        One row per image, columns `COLUMNS`; lesion conspicuity missing where there is no lesion.

    Returns
    -------
    DataFrame
        `COLUMNS` and ``caption``.

    Raises
    ------
    ArtifactError
        If an image is scored twice, or a score is missing or outside its scale.
    """
    table = scores[list(COLUMNS)].copy()
    twice = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise ArtifactError(f"scores: image '{twice.iloc[0]}' has more than one row; captions need one reader's scores")
    captions = []
    for row in table.to_dict("records"):
        try:
            captions.append(scores_to_caption({k: None if pd.isna(row[k]) else int(row[k]) for k in KEYS}))
        except ValueError as error:
            raise ArtifactError(f"scores: image '{row['image_id']}': {error}") from error
    return table.assign(caption=captions)
