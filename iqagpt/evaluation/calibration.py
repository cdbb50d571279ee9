"""Are the probabilities of scores to be believed?  For methods whose table of predictions holds them.

Ranked probability score: Epstein, J. Appl. Meteorol. 8:985 (1969), divided by its number of thresholds as by Murphy (1971).
Expected calibration error with equal bins: Naeini et al., AAAI (2015).

Notes
-----
Not stated in the paper. Lesion conspicuity is judged given a lesion, on true lesions; whether there is one is judged by the
Brier score of its probability.
"""

import numpy as np
import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, KEYS, SCORES
from iqagpt.evaluation.estimates import MEAN, Estimates, mean_of, patients_of, ratio
from iqagpt.predictions import NONE, expected_scores, labels, probability_columns

#: Of probabilities, in a reliability curve and in the calibration error.
_CONFIDENCE_BINS = 10
#: Of expected scores, from 1 to 4.
_SCORE_BINS = 6
_COLUMNS = ("method", "criterion", "curve", "lower", "upper", "predicted", "observed", "images")
_LESION = "lesion_conspicuity"


def calibration_estimates(truth: pd.DataFrame, table: pd.DataFrame) -> Estimates:
    """Return how good one method's probabilities are; nothing if it gives none.

    Parameters
    ----------
    truth, table : DataFrame
        The reader's scores and the method's predictions, rows aligned; `truth` has ``patient_id``.

    Returns
    -------
    dict
        ``rps`` by criterion and ``mean`` of the three that every image has, 0 (best) to 1; ``mae_expected``: mean absolute
        error of expected scores, in steps; ``brier``, key ``no_lesion``, 0 (best) to 1.
    """
    expected = expected_scores(table)
    if expected is None:
        return {}
    clusters = patients_of(truth)
    found: Estimates = {}
    for key in KEYS:
        score = truth[key].to_numpy(dtype=float, na_value=np.nan)
        shares = _score_shares(table, key)
        used = np.isfinite(score) & np.isfinite(shares).all(axis=1)
        rps = np.where(used, ranked_probability_score(shares, score), 0.0)
        error = np.where(used, np.abs(expected[key].to_numpy() - score), 0.0)
        found["rps", key] = ratio(rps, used.astype(float), clusters)
        found["mae_expected", key] = ratio(error, used.astype(float), clusters)
    for measure in ("rps", "mae_expected"):
        found[measure, MEAN] = mean_of([found[measure, key] for key in ALWAYS_SCORED])
    absent = truth[_LESION].isna().to_numpy()
    brier = (table[f"{_LESION}_{NONE}"].to_numpy(dtype=float) - absent) ** 2
    return found | {("brier", "no_lesion"): ratio(brier, np.ones(len(truth)), clusters)}


def ranked_probability_score(shares: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the mean squared difference of cumulative probabilities, (N,), 0 (best) to 1.

    Parameters
    ----------
    shares : ndarray, (N, 4), float64
        Probability of each score, rows summing to 1.
    score : ndarray, (N,), float64
        True score; a row with NaN gives a number without meaning.
    """
    reached = score[:, None] <= np.array(SCORES[:-1])
    return np.mean((np.cumsum(shares, axis=1)[:, :-1] - reached) ** 2, axis=1)


def calibration_errors(truth: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """Return the expected calibration error of the stated class by criterion, 0 (best) to 1; nothing without probabilities."""
    if expected_scores(table) is None:
        return {}
    errors = {}
    for key in KEYS:
        confidence, right = _confidence(truth, table, key)
        bins = _bins(confidence, 0.0, 1.0, _CONFIDENCE_BINS)
        gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * np.mean(bins == b) for b in set(bins)]
        errors[key] = float(sum(gaps))
    return errors


def reliability_table(truth: pd.DataFrame, predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return reliability curves of every method that gives probabilities.

    Returns
    -------
    DataFrame
        ``method, criterion, curve, lower, upper, predicted, observed, images``: for each bin from ``lower`` to ``upper``
        the mean prediction and what was observed. Curve ``score``: expected score against the reader's mean score; curve
        ``class``: probability of the stated class against the share that is right.
    """
    rows = []
    for method, table in predictions.items():
        expected = expected_scores(table)
        if expected is None:
            continue
        for key in KEYS:
            score = truth[key].to_numpy(dtype=float, na_value=np.nan)
            both = np.isfinite(score) & np.isfinite(expected[key].to_numpy())
            mean = expected[key].to_numpy()[both], score[both]
            rows += [(method, key, "score", *row) for row in _curve(*mean, SCORES[0], SCORES[-1], _SCORE_BINS)]
            stated = _confidence(truth, table, key)
            rows += [(method, key, "class", *row) for row in _curve(*stated, 0.0, 1.0, _CONFIDENCE_BINS)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _score_shares(table: pd.DataFrame, key: str) -> np.ndarray:
    """Return (N, 4) probabilities of the scores, given that there is one."""
    shares = table[probability_columns(key)[: len(SCORES)]].to_numpy(dtype=float)
    total = shares.sum(axis=1, keepdims=True)
    return np.divide(shares, total, out=np.full(shares.shape, np.nan), where=total > 0)


def _confidence(truth: pd.DataFrame, table: pd.DataFrame, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the class that the method states, and whether that class is right."""
    stated = labels(table)[key].to_numpy()
    names = [str(score) for score in SCORES] + ([] if key in ALWAYS_SCORED else [NONE])
    shares = table[probability_columns(key)].to_numpy(dtype=float)
    confidence = np.select([stated == name for name in names], list(shares.T), default=0.0)
    return confidence, (stated == labels(truth)[key].to_numpy()).astype(float)


def _bins(values: np.ndarray, lower: float, upper: float, count: int) -> np.ndarray:
    return np.clip(((values - lower) / (upper - lower) * count).astype(int), 0, count - 1)


def _curve(predicted: np.ndarray, observed: np.ndarray, lower: float, upper: float, count: int) -> list[tuple]:
    bins, width = _bins(predicted, lower, upper, count), (upper - lower) / count
    return [
        (
            lower + b * width, lower + (b + 1) * width, float(predicted[bins == b].mean()),
            float(observed[bins == b].mean()), int((bins == b).sum()),
        )
        for b in sorted(set(bins.tolist()))
    ]  # fmt: skip
