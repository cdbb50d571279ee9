"""Accuracy, correlations and text metrics as functions of sums over patients, for intervals and paired comparisons.

Each number is a `Coefficient`: what every patient adds, and a function of the sum. So thousands of resampled sets of
patients cost one product of matrices (`iqagpt.agreement.bootstrap`), and the difference of two methods is one more
coefficient of the same patients. The values are those of `iqagpt.score_metrics`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from iqagpt.agreement.coefficients import Coefficient
from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.evaluation.caption_totals import METRICS, corpus_scores
from iqagpt.predictions import is_unparsed, labels

#: By measure and key, such as ``("accuracy", "mean")``.
Estimates = dict[tuple[str, str], Coefficient]
MEAN = "mean"
#: Fewest images for a correlation: two always correlate perfectly.
_FEWEST = 3
#: Part of the mean square below which a variance is rounding error.
_ROUNDING = 1e-12


def paper_estimates(truth: pd.DataFrame, table: pd.DataFrame, text: np.ndarray | None) -> Estimates:
    """Return one method's numbers of Tables 1 to 3.

    Parameters
    ----------
    truth, table : DataFrame
        The reader's and the method's scores, rows aligned; `truth` has ``patient_id``.
    text : ndarray, (N, columns) or None
        Counts of the method's captions, from `iqagpt.evaluation.captions.count_captions`.

    Returns
    -------
    dict
        ``captioning`` by text metric, ``accuracy``, ``plcc`` and ``srocc`` by criterion and ``mean``.
    """
    found = accuracy_estimates(truth, table)
    for measure, of in (("plcc", pearson), ("srocc", spearman)):
        single = [correlation(of, truth, table, key) for key in ALWAYS_SCORED]
        found |= {(measure, key): one for key, one in zip(ALWAYS_SCORED, single, strict=True)}
        found[measure, MEAN] = mean_of(single)
    return found if text is None else found | text_estimates(truth, text)


def accuracy_estimates(truth: pd.DataFrame, table: pd.DataFrame) -> Estimates:
    """Return ``accuracy`` by criterion and ``mean``: "no lesion" is a class, an unparsed criterion is wrong."""
    clusters = patients_of(truth)
    right = (labels(truth).to_numpy() == labels(table).to_numpy()).astype(float)
    every = np.ones(len(truth))
    found = {("accuracy", key): ratio(right[:, i], every, clusters) for i, key in enumerate(KEYS)}
    return found | {("accuracy", MEAN): ratio(right.mean(axis=1), every, clusters)}


def text_estimates(truth: pd.DataFrame, text: np.ndarray) -> Estimates:
    """Return ``captioning`` by text metric; a draw recomputes BLEU and METEOR from counts, and means of the others."""
    clusters = patients_of(truth)
    every = np.ones(len(truth), dtype=bool)
    sums = by_patient(text, clusters)
    return {("captioning", name): Coefficient(sums, _text_metric(name), every) for name in METRICS}


def correlation(
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], Coefficient], truth: pd.DataFrame, table: pd.DataFrame, key: str
) -> Coefficient:
    """Correlate one criterion's predicted scores with the reader's, fractions included, unparsed ones left out."""
    y = np.where(is_unparsed(table, key), np.nan, table[key].to_numpy(dtype=float, na_value=np.nan))
    return of(truth[key].to_numpy(dtype=float, na_value=np.nan), y, patients_of(truth))


def patients_of(truth: pd.DataFrame) -> np.ndarray:
    """Return (N,) int: the patient of each image, 0 to P - 1."""
    return np.unique(truth["patient_id"].to_numpy(dtype=str), return_inverse=True)[1]


def ratio(above: np.ndarray, below: np.ndarray, clusters: np.ndarray) -> Coefficient:
    """Return a sum over images by another: a share, or a mean.

    Parameters
    ----------
    above, below : ndarray, (N,), float64
        `below` is 0 for images that do not count.
    clusters : ndarray, (N,), int
        Patient of each image.
    """

    def function(totals: np.ndarray) -> np.ndarray:
        return _divide(totals[:, 0], totals[:, 1])

    return Coefficient(by_patient(np.column_stack([above, below]), clusters), function, below > 0)


def pearson(x: np.ndarray, y: np.ndarray, clusters: np.ndarray) -> Coefficient:
    """Return the linear correlation of two vectors, (N,), NaN where missing; -1 to 1, undefined for a constant."""
    used = np.isfinite(x) & np.isfinite(y)
    x, y = (np.where(used, v - (v[used].mean() if used.any() else 0.0), 0.0) for v in (x, y))
    parts = np.column_stack([used, x, y, x * x, y * y, x * y])

    def function(totals: np.ndarray) -> np.ndarray:
        n, sx, sy, sxx, syy, sxy = totals.T
        spread = (_clean(n * sxx - sx * sx, n * sxx), _clean(n * syy - sy * sy, n * syy))
        return _correlate(n, n * sxy - sx * sy, *spread)

    return Coefficient(by_patient(parts, clusters), function, used)


def spearman(x: np.ndarray, y: np.ndarray, clusters: np.ndarray) -> Coefficient:
    """Return the correlation of mid-ranks of two vectors, (N,), NaN where missing; -1 to 1, undefined for a constant.

    What a patient adds is a table of how often each two values meet, so equal ranks are exact in every draw. `x` should
    have few different values, as scores have.
    """
    used = np.isfinite(x) & np.isfinite(y)
    (of_x, column_x), (of_y, column_y) = (np.unique(v[used], return_inverse=True) for v in (x, y))
    rows, columns = max(1, len(of_x)), max(1, len(of_y))
    tables = np.zeros((int(clusters.max(initial=-1)) + 1, rows, columns))
    np.add.at(tables, (clusters[used], column_x, column_y), 1.0)

    def function(totals: np.ndarray) -> np.ndarray:
        counts = totals.reshape(-1, rows, columns)
        n, in_x, in_y = counts.sum(axis=(1, 2)), counts.sum(axis=2), counts.sum(axis=1)
        rank_x, rank_y = _mid_ranks(in_x), _mid_ranks(in_y)
        covariance = np.einsum("ri,rij,rj->r", rank_x, counts, rank_y, optimize=True)
        return _correlate(n, covariance, (in_x * rank_x**2).sum(axis=1), (in_y * rank_y**2).sum(axis=1))

    return Coefficient(tables.reshape(len(tables), -1), function, used)


def mean_of(parts: Sequence[Coefficient]) -> Coefficient:
    """Return the mean of coefficients of the same patients; undefined where one of them is."""
    return _joined(parts, lambda values: np.mean(values, axis=0))


def difference(first: Coefficient, second: Coefficient) -> Coefficient:
    """Return the first coefficient less the second, of the same patients."""
    return _joined((first, second), lambda values: values[0] - values[1])


def by_patient(parts: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sum (N, M) rows over the images of each patient: (P, M)."""
    sums = np.zeros((int(clusters.max(initial=-1)) + 1, parts.shape[1]))
    np.add.at(sums, clusters, parts)
    return sums


def _joined(parts: Sequence[Coefficient], combine: Callable[[list[np.ndarray]], np.ndarray]) -> Coefficient:
    edges = np.cumsum([part.sums.shape[1] for part in parts])[:-1]

    def function(totals: np.ndarray) -> np.ndarray:
        pieces = np.split(totals, edges, axis=1)
        return combine([part.function(piece) for part, piece in zip(parts, pieces, strict=True)])

    sums = np.concatenate([part.sums for part in parts], axis=1)
    return Coefficient(sums, function, np.any([part.used for part in parts], axis=0))


def _text_metric(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda totals: corpus_scores(totals)[name]


def _mid_ranks(counts: np.ndarray) -> np.ndarray:
    """Return mid-ranks less their mean."""
    ranks = np.cumsum(counts, axis=1) - counts / 2
    return ranks - counts.sum(axis=1, keepdims=True) / 2


def _correlate(n: np.ndarray, covariance: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> np.ndarray:
    below = np.where((n >= _FEWEST) & (in_x > 0) & (in_y > 0), np.sqrt(np.abs(in_x) * np.abs(in_y)), 0.0)
    return np.clip(_divide(covariance, below), -1.0, 1.0)


def _clean(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= _ROUNDING * np.abs(scale), 0.0, values)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
