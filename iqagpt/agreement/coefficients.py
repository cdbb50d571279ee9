"""Coefficients of agreement as functions of sums over patients.

Each coefficient here depends on the ratings only through sums that add up over images: a table of counts, or sums of
products. Summed once for each patient, they give the coefficient of any weighting of the patients by one product of
matrices, which is what makes thousands of bootstrap replicates cheap.

Weighted kappa: Cohen, Psychol. Bull. 70:213 (1968); its mean over pairs of readers: Light, Psychol. Bull. 76:365
(1971). Alpha: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011). Intraclass correlations: ICC(2,1) and
ICC(2,k) of Shrout and Fleiss, Psychol. Bull. 86:420 (1979), which McGraw and Wong call ICC(A,1) and ICC(A,k).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

#: Relative size below which a sum of squares is rounding error.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Ratings:
    """One criterion's ratings by several readers.

    Attributes
    ----------
    values : ndarray, (N, K), float64
        Rating of image n by reader k on an ordered scale; NaN where there is none.
    clusters : ndarray, (N,), int
        Patient of each image, 0 to P - 1; a patient may have no image here.
    count : int
        P, the number of patients.
    """

    values: np.ndarray
    clusters: np.ndarray
    count: int

    @property
    def scale(self) -> np.ndarray:
        """(C,) the distinct ratings, rising."""
        return np.unique(self.values[~np.isnan(self.values)])

    def select(self, *readers: int) -> "Ratings":
        """Return the columns of some readers."""
        return Ratings(self.values[:, list(readers)], self.clusters, self.count)

    def paired(self) -> np.ndarray:
        """Return (N,) bool: images that two readers or more have rated."""
        return (~np.isnan(self.values)).sum(axis=1) >= 2

    def complete(self) -> np.ndarray:
        """Return (N,) bool: images that every reader has rated."""
        return ~np.isnan(self.values).any(axis=1)


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient of agreement of some ratings.

    Attributes
    ----------
    sums : ndarray, (P, M), float64
        What each patient adds.
    function : callable
        (R, M) weighted totals of `sums` to (R,) values; NaN where undefined.
    used : ndarray, (N,), bool
        Images that count.
    """

    sums: np.ndarray
    function: Callable[[np.ndarray], np.ndarray]
    used: np.ndarray

    @property
    def value(self) -> float:
        """The coefficient itself; NaN where undefined."""
        return float(self.function(self.sums.sum(axis=0)[None])[0])


def raw_agreement(ratings: Ratings) -> Coefficient:
    """Return the share of equal ratings among all pairs of ratings of an image by two readers; 0 to 1."""
    tables = _pair_tables(ratings)

    def function(totals: np.ndarray) -> np.ndarray:
        counts = totals.reshape(len(totals), *tables.shape[1:]).sum(axis=1)
        return _ratio(np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))

    return Coefficient(_flat(tables), function, ratings.paired())


def weighted_kappa(ratings: Ratings, weights: Literal["linear", "quadratic"]) -> Coefficient:
    """Return Cohen's weighted kappa, for more than two readers its mean over pairs.

    Parameters
    ----------
    ratings : Ratings
    weights : {'linear', 'quadratic'}
        Weight of a disagreement: the difference of the ratings, or its square.

    Returns
    -------
    Coefficient
        At most 1. Undefined for a pair of readers who gave one and the same rating throughout; such pairs are left out
        of the mean.
    """
    tables = _pair_tables(ratings)
    scale = ratings.scale
    weight = np.abs(scale[:, None] - scale) ** (1 if weights == "linear" else 2)

    def function(totals: np.ndarray) -> np.ndarray:
        counts = totals.reshape(len(totals), *tables.shape[1:])
        first, second = counts.sum(axis=3), counts.sum(axis=2)
        expected = np.einsum("rpi,ij,rpj->rp", first, weight, second)
        observed = np.einsum("rpij,ij->rp", counts, weight) * first.sum(axis=2)
        return _mean(1 - _ratio(observed, expected))

    return Coefficient(_flat(tables), function, ratings.paired())


def ordinal_alpha(ratings: Ratings) -> Coefficient:
    """Return Krippendorff's alpha with the ordinal difference; at most 1.

    Any number of readers, any ratings missing; an image with a single rating does not count. Undefined where all
    ratings are equal.
    """
    indicators = _indicators(ratings)
    given = indicators.sum(axis=1)
    number = given.sum(axis=1)
    used = number >= 2
    pairs = np.einsum("ni,nj->nij", given, given) - given[:, :, None] * np.eye(given.shape[1])
    coincidences = _sum_by_cluster(pairs[used] / (number[used] - 1)[:, None, None], ratings, used)
    shape = coincidences.shape[1:]

    def function(totals: np.ndarray) -> np.ndarray:
        counts = totals.reshape(len(totals), *shape)
        marginal = counts.sum(axis=2)
        # Ratings between two grades, the half of each included: Krippendorff's sum from c to k less half of both.
        middle = np.cumsum(marginal, axis=1) - marginal / 2
        distance = (middle[:, :, None] - middle[:, None, :]) ** 2
        observed = (counts * distance).sum(axis=(1, 2)) * (marginal.sum(axis=1) - 1)
        return 1 - _ratio(observed, np.einsum("ri,rij,rj->r", marginal, distance, marginal))

    return Coefficient(_flat(coincidences), function, used)


def intraclass_correlation(ratings: Ratings, *, average: bool) -> Coefficient:
    """Return ICC(2,1) or ICC(2,k): two-way random effects, absolute agreement.

    Parameters
    ----------
    ratings : Ratings
        Only images that every reader has rated count.
    average : bool
        False: of a single reader, ICC(2,1); True: of the mean of all K readers, ICC(2,k).

    Returns
    -------
    Coefficient
        At most 1. Undefined for fewer than two images, and where images and readers do not differ at all.
    """
    used = ratings.complete()
    centred = ratings.values[used] - (np.median(ratings.scale) if used.any() else 0.0)
    rows = centred.sum(axis=1)
    parts = np.column_stack([np.ones(len(rows)), (centred**2).sum(axis=1), rows**2, centred])

    def function(totals: np.ndarray) -> np.ndarray:
        return _icc(totals[:, 0], totals[:, 1], totals[:, 2], totals[:, 3:], average=average)

    return Coefficient(_sum_by_cluster(parts, ratings, used), function, used)


def _icc(
    images: np.ndarray, squares: np.ndarray, row_squares: np.ndarray, columns: np.ndarray, *, average: bool
) -> np.ndarray:
    """Compute the ICC from mean squares; every array has one entry a replicate, `columns` (R, K)."""
    n, k = images, columns.shape[1]
    total = columns.sum(axis=1) ** 2
    scale = n * k * squares
    # n k times the sums of squares: whole numbers for whole ratings, so that none is nearly but not quite 0.
    between_rows = _clean(n * row_squares - total, scale)
    between_columns = _clean(k * (columns**2).sum(axis=1) - total, scale)
    rest = _clean(scale - total - between_rows - between_columns, scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows, readers, error = between_rows / (n - 1), between_columns / (k - 1), rest / ((n - 1) * (k - 1))
        spread = (readers - error) / n
        below = rows + spread if average else rows + (k - 1) * error + k * spread
    return _ratio(rows - error, np.where((n >= 2) & (below > 0), below, 0.0))


def _clean(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= _ROUNDING * np.abs(scale), 0.0, values)


def _pair_tables(ratings: Ratings) -> np.ndarray:
    """Count (P, pairs of readers, C, C) how often each two ratings meet."""
    indicators = _indicators(ratings)
    pairs = list(combinations(range(ratings.values.shape[1]), 2))
    grades = indicators.shape[2]
    tables = np.zeros((ratings.count, len(pairs), grades, grades))
    for number, (first, second) in enumerate(pairs):
        products = indicators[:, first, :, None] * indicators[:, second, None, :]
        np.add.at(tables, (ratings.clusters, number), products)
    return tables


def _indicators(ratings: Ratings) -> np.ndarray:
    """Return (N, K, C) 1 where a reader gave that grade; all 0 where a rating is missing."""
    return (ratings.values[:, :, None] == ratings.scale).astype(float)


def _sum_by_cluster(parts: np.ndarray, ratings: Ratings, used: np.ndarray) -> np.ndarray:
    sums = np.zeros((ratings.count, *parts.shape[1:]))
    np.add.at(sums, ratings.clusters[used], parts)
    return sums


def _flat(sums: np.ndarray) -> np.ndarray:
    return sums.reshape(len(sums), -1)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    defined = np.isfinite(below) & (below != 0) & np.isfinite(above)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=defined)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is defined; NaN if nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(float))
