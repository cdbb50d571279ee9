"""A study's readings as scores 1 (best) to 4 (worst), so that a captioner can be trained on them.

Correlations do not mind a study's own scale (`iqagpt.study.study`); captions do: they have four phrases a criterion. The
expressions of ``study.yaml`` must therefore come to 1..4 here, and are rounded to the nearest score, a half to the worse one.
"""

import numpy as np
import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, BEST, KEYS, WORST
from iqagpt.errors import InputError
from iqagpt.readers.consensus import add_consensus, consensus_scores
from iqagpt.study.study import Study

SOURCE = "reader"
IDENTIFIERS = ("image_id", "slice_id", "patient_id", "variant")


def four_point_scores(study: Study, images: pd.DataFrame, consensus: str) -> pd.DataFrame:
    """Return the manifest of ``data/scores`` of a study.

    Parameters
    ----------
    study : Study
    images : DataFrame
        `IDENTIFIERS` of each row of ``study.images``, same order.
    consensus : str
        ``median``, or the name of one reader.

    Returns
    -------
    DataFrame
        One row per image and reader, and one of the consensus; a criterion that the study does not map is missing throughout.

    Raises
    ------
    InputError
        If a criterion that every caption states is not mapped, a mapped value is not on the scale, or an image has no score.
    """
    wanting = [key for key in ALWAYS_SCORED if key not in study.criteria]
    if wanting:
        raise InputError(
            f"{study.description.scores}: {', '.join(wanting)}: no mapping in study.yaml; a caption states it for every image: "
            "map it, on the nearest of the study's scales if need be"
        )
    order = study.readings.sort_values("row", kind="stable")
    scores = images.iloc[order["row"]][list(IDENTIFIERS)].reset_index(drop=True)
    scores = scores.assign(reader=order["reader"].to_numpy(), score_source=SOURCE)
    for key in KEYS:
        scores[key] = _whole(study, order, key) if key in study.criteria else pd.array([None] * len(order), "Int64")
    scores = add_consensus(scores, consensus)
    learned = consensus_scores(scores)
    for key in ALWAYS_SCORED:
        empty = learned.loc[learned[key].isna(), "image_id"]
        if len(empty):
            raise InputError(
                f"{study.description.scores}: '{empty.iloc[0]}' has no score of {key}; score it, or leave its rows out"
            )
    return scores


def _whole(study: Study, order: pd.DataFrame, key: str) -> pd.arrays.IntegerArray:
    mapping = next(mapping for mapping in study.description.mappings if mapping.criterion == key)
    values = order[key].to_numpy(dtype=float)
    if not mapping.higher_is_worse:
        # `Study` turns these around by their sign; 5 less the expression puts 4, the best, on score 1.
        values = values + (BEST + WORST)
    whole = np.floor(values + 0.5)
    wrong = np.flatnonzero(np.isfinite(values) & ((whole < BEST) | (whole > WORST)))
    if len(wrong):
        given = values[wrong[0]] if mapping.higher_is_worse else BEST + WORST - values[wrong[0]]
        raise InputError(
            f"{study.description.scores}: {mapping} is {given:g} for '{study.images['image'][order['row'].iloc[wrong[0]]]}' "
            f"({len(wrong)} such readings); training needs values {BEST} to {WORST}: mend the expression in study.yaml, e.g. with "
            "steps(), min() and max()"
        )
    return pd.array([None if np.isnan(value) else int(value) for value in whole], "Int64")
