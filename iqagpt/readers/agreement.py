"""How scores are spread, and how far a reading can be predicted at all.

The ceiling compares the simulated reader without variability with the same reader with it: no method that sees only the
image can be expected to do better.
"""

from typing import Any

import pandas as pd

from iqagpt.criteria import CRITERIA, KEYS, NO_LESION, SCORES
from iqagpt.score_metrics import accuracy, correlations


def describe_scores(scores: pd.DataFrame) -> dict[str, Any]:
    """Summarise a table of scores.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``.

    Returns
    -------
    dict
        ``images``; ``distribution``: part of the readings by criterion and score, absent lesions included; ``mean``:
        mean score, 1 (best) to 4 (worst), by variant and criterion.
    """
    return {
        "images": int(scores["image_id"].nunique()),
        "distribution": {criterion.key: _distribution(scores[criterion.key]) for criterion in CRITERIA},
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


def _distribution(scores: pd.Series) -> dict[str, float]:
    parts = {str(score): float((scores == score).fillna(False).mean()) for score in SCORES}
    absent = float(scores.isna().mean())
    return parts | ({NO_LESION: absent} if absent else {})
