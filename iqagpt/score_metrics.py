"""Accuracy, PLCC and SROCC of scores against a reader's (paper 2.5, Tables 2 to 4).

Used for predictions and for the ceiling of a reader alike.

Truth and predictions are tables with rows in the same order. Higher is better for every number here, though a score
itself runs from 1 (best) to 4 (worst).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.predictions import is_unparsed, labels

#: Fewest images for a correlation: two always correlate perfectly.
_FEWEST = 3


def accuracy(truth: pd.DataFrame, predicted: pd.DataFrame, criteria: Sequence[str] = KEYS) -> dict[str, float]:
    """Return the share of images whose class is right, for each criterion and as their mean.

    Parameters
    ----------
    truth, predicted : DataFrame
        The four criteria, rows aligned. "No lesion" is a class of its own; an unparsed criterion is wrong.
    criteria : sequence of str
        Those that count.

    Returns
    -------
    dict
        By criterion key, and ``mean``; 0 to 1.
    """
    right = labels(truth).to_numpy() == labels(predicted).to_numpy()
    shares = {key: float(right[:, column].mean()) for column, key in enumerate(KEYS) if key in criteria}
    return shares | {"mean": float(np.mean(list(shares.values())))}


def accuracy_by_variant(
    truth: pd.DataFrame, predicted: pd.DataFrame, criteria: Sequence[str] = KEYS
) -> dict[str, dict[str, float]]:
    """Return `accuracy` for each image quality, as the columns of the paper's Table 4.

    `truth` names the quality in its column ``variant``.
    """
    rows = truth.reset_index(drop=True).groupby("variant", sort=False).groups
    return {
        str(variant): accuracy(truth.iloc[index], predicted.iloc[index], criteria) for variant, index in rows.items()
    }


def correlations(truth: pd.DataFrame, predicted: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return PLCC and SROCC for the three criteria that every image has, and their mean.

    Parameters
    ----------
    truth, predicted : DataFrame
        As for `accuracy`. Scores enter as predicted, fractions included; unparsed ones are left out.

    Returns
    -------
    dict
        ``plcc`` and ``srocc``, each by criterion key and ``mean``; -1 to 1. Where a correlation is undefined (constant
        truth or prediction, fewer than three images) it has no entry, and then the mean has none either.
    """
    found: dict[str, dict[str, float]] = {"plcc": {}, "srocc": {}}
    for key in ALWAYS_SCORED:
        read = ~is_unparsed(predicted, key)
        x = truth[key].to_numpy(dtype=float)[read]
        y = predicted[key].to_numpy(dtype=float)[read]
        if len(x) < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        found["plcc"][key] = float(stats.pearsonr(x, y).statistic)
        found["srocc"][key] = float(stats.spearmanr(x, y).statistic)
    for values in found.values():
        if len(values) == len(ALWAYS_SCORED):
            values["mean"] = float(np.mean(list(values.values())))
    return found


def unparsed_rate(predicted: pd.DataFrame) -> float:
    """Return the share of all scores, four per image, that could not be read from the captions; 0 to 1."""
    return float(np.mean([is_unparsed(predicted, key).mean() for key in KEYS]))
