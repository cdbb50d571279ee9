"""Confidence intervals that resample patients, because the images of one patient are alike.

Source: bias-corrected and accelerated intervals (BCa), Efron, J. Am. Stat. Assoc. 82:171 (1987).

Notes
-----
Not stated in the paper. With fewer than `FEW` patients, or where BCa is undefined, the interval is the percentile
interval; with one patient there is none.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from iqagpt.agreement.coefficients import Coefficient

LEVEL = 0.95
REPLICATES = 2000
#: Below this many patients no interval is to be trusted.
FEW = 6
#: Part of the replicates in which a coefficient must be defined.
_DEFINED = 0.9
#: Replicates times sums drawn at a time: 32 MiB.
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A coefficient with its 95 % interval.

    Attributes
    ----------
    value, lower, upper : float
        NaN where undefined.
    method : str
        ``bca``, ``percentile``, or ``none``.
    """

    value: float
    lower: float
    upper: float
    method: str


def intervals(coefficients: list[Coefficient], *, seed: int, replicates: int = REPLICATES) -> list[Interval]:
    """Put a patient-clustered interval on each of some coefficients of the same patients.

    Parameters
    ----------
    coefficients : list of Coefficient
        All with the same P patients.
    seed : int
    replicates : int
        Number of draws of P patients with replacement; each draw serves every coefficient.

    Returns
    -------
    list of Interval
    """
    if not coefficients:
        return []
    drawn = _replicates(coefficients, np.random.default_rng(seed), replicates)
    return [_interval(found, values) for found, values in zip(coefficients, drawn, strict=True)]


def _replicates(coefficients: list[Coefficient], rng: np.random.Generator, replicates: int) -> list[np.ndarray]:
    patients = len(coefficients[0].sums)
    sums = np.concatenate([found.sums for found in coefficients], axis=1)
    edges = np.cumsum([found.sums.shape[1] for found in coefficients])[:-1]
    values: list[list[np.ndarray]] = [[] for _ in coefficients]
    step = max(1, _BLOCK // max(sums.shape))
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        weights = draw(patients, size, rng)
        for found, totals, kept in zip(coefficients, np.split(weights @ sums, edges, axis=1), values, strict=True):
            kept.append(found.function(totals))
    return [np.concatenate(kept) for kept in values]


def draw(patients: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Draw as many patients as there are, with replacement: (replicates, patients), how often each was drawn."""
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=replicates).astype(float)


def interval(value: float, drawn: np.ndarray, left_out: np.ndarray) -> Interval:
    """Turn replicates into an interval.

    Parameters
    ----------
    value : float
        Of the sample; NaN where undefined.
    drawn : ndarray, (R,)
        Of each draw; NaN where undefined.
    left_out : ndarray, (P,)
        Without each of the patients that contribute, in turn.
    """
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(left_out) < 2 or not len(defined) or len(defined) < _DEFINED * len(drawn):
        return Interval(float(value), np.nan, np.nan, "none")
    tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    corrected = _bca_tails(value, defined, left_out, tails) if len(left_out) >= FEW else None
    method = "percentile" if corrected is None else "bca"
    lower, upper = np.quantile(defined, tails if corrected is None else corrected)
    return Interval(float(value), float(lower), float(upper), method)


def _interval(found: Coefficient, drawn: np.ndarray) -> Interval:
    contributing = found.sums.any(axis=1)
    return interval(found.value, drawn, found.function(found.sums.sum(axis=0) - found.sums[contributing]))


def _bca_tails(value: float, drawn: np.ndarray, left_out: np.ndarray, tails: np.ndarray) -> np.ndarray | None:
    """Shift the tails for bias and skewness; None where either is undefined."""
    # Replicates as large as the value itself count half: on four grades they are many.
    below = np.mean(drawn < value) + np.mean(drawn == value) / 2
    deviation = left_out.mean() - left_out
    spread = np.sum(deviation**2) ** 1.5
    if not (0 < below < 1 and np.isfinite(spread) and spread > 0):
        return None
    acceleration = np.sum(deviation**3) / (6 * spread)
    bias = stats.norm.ppf(below)
    shifted = bias + stats.norm.ppf(tails)
    return stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
