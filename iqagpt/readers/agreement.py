"""How scores are spread, how far readers agree, and how far a reading can be predicted at all.

The ceiling compares the simulated readers without the deviations of single readings with the same readers with them:
no method that sees only the image can be expected to do better.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from iqagpt.agreement.summary import READING_COLUMNS, agreement_table
from iqagpt.criteria import ALWAYS_SCORED, KEYS, NO_LESION, SCORES
from iqagpt.readers.consensus import own_readings
from iqagpt.score_metrics import accuracy, correlations


def describe_scores(scores: pd.DataFrame, criteria: Sequence[str] = KEYS) -> dict[str, Any]:
    """Summarise a table of scores.

    Parameters
    ----------
    scores : DataFrame
        Scores of images, one row each, as in ``data/scores``.
    criteria : sequence of str
        Those that the readers were asked about.

    Returns
    -------
    dict
        ``images``; ``distribution``: part of the readings by criterion and score, absent lesions included; ``mean``:
        mean score, 1 (best) to 4 (worst), by variant and criterion.
    """
    return {
        "images": int(scores["image_id"].nunique()),
        "distribution": {key: _distribution(scores[key]) for key in criteria},
        "mean": {
            str(variant): {key: float(rows[key].mean()) for key in KEYS if rows[key].notna().any()}
            for variant, rows in scores.groupby("variant")
        },
    }


def ceiling(noise_free: pd.DataFrame, scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Compare the noise-free reading with the noisy one.

    Parameters
    ----------
    noise_free, scores : DataFrame
        The four criteria of the same images in the same order.

    Returns
    -------
    dict
        ``accuracy``, ``plcc`` and ``srocc`` as `iqagpt.score_metrics` defines them; undefined ones are left out.
    """
    noise_free = noise_free.assign(unparsed="")
    found = {"accuracy": accuracy(scores, noise_free), **correlations(scores, noise_free)}
    return {name: values for name, values in found.items() if values}


def reader_agreement(scores: pd.DataFrame, *, seed: int, criteria: Sequence[str] = KEYS) -> pd.DataFrame | None:
    """Compute the agreement of the readers of ``data/scores``, with intervals that resample patients.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``; the median's rows do not count.
    seed : int
        Of the bootstrap.
    criteria : sequence of str
        Those that the readers were asked about.

    Returns
    -------
    DataFrame or None
        From `iqagpt.agreement.summary.agreement_table`; None for a single reader.
    """
    own = own_readings(scores).rename(columns={"image_id": "item", "patient_id": "cluster"})
    if own["reader"].nunique() < 2:
        return None
    keys = ["item", "cluster", "reader", "score_source"]
    readings = own.melt(keys, list(criteria), var_name="criterion", value_name="score")
    # Simulated readers are told where the lesions are: that they agree there is no finding.
    could_be_absent = ~readings["criterion"].isin(ALWAYS_SCORED) & (readings["score_source"] != "simulated")
    readings["absent"] = readings["score"].isna() & could_be_absent
    return agreement_table(readings[list(READING_COLUMNS)], seed=seed)


def _distribution(scores: pd.Series) -> dict[str, float]:
    parts = {str(score): float((scores == score).fillna(False).mean()) for score in SCORES}
    absent = float(scores.isna().mean())
    return parts | ({NO_LESION: absent} if absent else {})
