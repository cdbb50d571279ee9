"""The common table of predictions for baselines, those that give scores and those that write captions."""

from collections.abc import Sequence

import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, BEST, KEYS, WORST, caption_to_scores, scores_to_caption
from iqagpt.predictions import WEIGHTS
from iqagpt.scored_images import ScoredImages


def prediction_table(
    images: ScoredImages, scores: pd.DataFrame, method: str, weights: str | None = None
) -> pd.DataFrame:
    """Lay predicted scores out as the table of predictions.

    Parameters
    ----------
    images : ScoredImages
        The images asked about.
    scores : DataFrame
        One row per image in the same order, a number per criterion; lesion conspicuity missing for "no lesion". With
        ``caption`` and ``unparsed``, as of `read_captions`, where the method writes captions itself.
    method : str
    weights : str, optional
        Frozen models that the method rests on: ``builtin``, or their hash or name.

    Returns
    -------
    DataFrame
        ``image_id, split, method, caption``, the four criteria, ``unparsed`` (empty without captions), and ``weights`` if
        given. Scores stay as predicted, also between whole numbers; the caption is the method's own, or the template's for the
        nearest whole scores.
    """
    further = {} if weights is None else {WEIGHTS: weights}
    if "caption" in scores:
        own = scores[["caption", *KEYS, "unparsed"]].reset_index(drop=True)
        head = images.table[["image_id", "split"]].assign(method=method).reset_index(drop=True)
        return pd.concat([head, own], axis=1).assign(**further)
    if scores[list(ALWAYS_SCORED)].isna().any(axis=None):
        raise ValueError(f"{method}: predicted no score where every image has one")
    captions = [scores_to_caption({key: nearest_score(row[key]) for key in KEYS}) for row in scores.to_dict("records")]
    table = images.table[["image_id", "split"]].assign(method=method, caption=captions)
    for key in KEYS:
        table[key] = scores[key].to_numpy()
    return table.assign(unparsed="", **further)


def read_captions(captions: Sequence[str]) -> pd.DataFrame:
    """Read the scores that free captions state, strictly: a phrase that is not in the scale is not guessed at.

    Returns
    -------
    DataFrame
        ``caption``; the four criteria, ``Int64``, missing for "no lesion" and where unreadable; ``unparsed``, the unreadable ones
        joined by ``;``.
    """
    scores = [caption_to_scores(caption) for caption in captions]
    table = pd.DataFrame({"caption": list(captions)})
    for key in KEYS:
        table[key] = pd.array([found.get(key) for found in scores], dtype="Int64")
    return table.assign(unparsed=[";".join(key for key in KEYS if key not in found) for found in scores])


def nearest_score(value: float) -> int | None:
    """Return the whole score 1 (best) to 4 (worst) nearest to a number; None where it is missing."""
    return None if pd.isna(value) else int(min(max(round(float(value)), BEST), WORST))
