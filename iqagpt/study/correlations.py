"""PLCC, SROCC and KROCC between scores, over all images and within sets, with intervals from resampled sets.

Images of one set (a patient, or one slice in several qualities) are no independent observations, so the bootstrap draws whole
sets. A draw is a number of copies of each set; all statistics are computed from those numbers at once, which gives exactly
what repeating the images would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from iqagpt.agreement.bootstrap import draw, interval

STATISTICS = ("plcc", "srocc", "krocc")
SCOPES = ("pooled", "within_sets")
#: Fewest images for a correlation: two always correlate perfectly.
FEWEST = 3
_AT_ONCE = 2_000_000

#: (x, y): two score vectors over the same images, NaN where one is missing.
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One correlation, or mean of correlations.

    Attributes
    ----------
    value : float or None
        None where it is undefined (a constant, or fewer than three images).
    low, high : float or None
        Ends of the 95 % interval (`iqagpt.agreement.bootstrap`); None where there is none.
    sets_used : int
        Sets that it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    sets_used: int


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """One statistic on the sample, on every draw and without each set; `estimate` sums it up.

    Attributes
    ----------
    values : ndarray, (1 + draws + S,), float64
        By the rows of ``copies`` of `draw_sets`; NaN where undefined.
    contributes : ndarray, (S,), bool
        Sets that it rests on.
    """

    values: np.ndarray
    contributes: np.ndarray

    def estimate(self) -> Estimate:
        """Return value and interval."""
        sets = len(self.contributes)
        drawn, left_out = self.values[1:-sets], self.values[-sets:][self.contributes]
        found = interval(self.values[0], drawn, left_out)
        value, low, high = (None if np.isnan(end) else end for end in (found.value, found.lower, found.upper))
        return Estimate(value, low, high, int(self.contributes.sum()))

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.values - other.values, self.contributes & other.contributes)


def draw_sets(sets: Sequence[str], *, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw sets with replacement.

    Parameters
    ----------
    sets : sequence of str, (N,)
        Set of each image.
    draws : int
    seed : int

    Returns
    -------
    members : ndarray, (N,), int
        Index of each image's set.
    copies : ndarray, (1 + draws + S, S), float64
        How often each set was drawn; once each in row 0, which is the sample itself; in the last S rows all but one.
    """
    names, members = np.unique(np.asarray(sets, dtype=str), return_inverse=True)
    copies = draw(len(names), draws, np.random.default_rng(seed))
    return members, np.vstack([np.ones(len(names)), copies, 1.0 - np.eye(len(names))])


def mean_correlations(pairs: Sequence[Pair], members: np.ndarray, copies: np.ndarray) -> dict[tuple[str, str], Sampled]:
    """Average each correlation over pairs of score vectors.

    Parameters
    ----------
    pairs : sequence of (x, y)
        (N,), float64; images where either is NaN are left out of that pair.
    members, copies : ndarray
        From `draw_sets`.

    Returns
    -------
    dict
        By scope (``pooled``: all images together; ``within_sets``: the mean over sets of the correlation inside each) and
        statistic. A draw in which any pair is undefined is undefined.
    """
    found = [_pair_correlations(x, y, members, copies) for x, y in pairs]
    keys = [(scope, statistic) for scope in SCOPES for statistic in STATISTICS]
    return {
        key: Sampled(
            np.mean([one[key].values for one in found], axis=0), np.all([one[key].contributes for one in found], axis=0)
        )
        for key in keys
    }


def _pair_correlations(
    x: np.ndarray, y: np.ndarray, members: np.ndarray, copies: np.ndarray
) -> dict[tuple[str, str], Sampled]:
    given = np.isfinite(x) & np.isfinite(y)
    x, y, members = x[given], y[given], members[given]
    present = np.unique(members)
    among = np.isin(np.arange(copies.shape[1]), present)
    found = {
        ("pooled", statistic): Sampled(values, among)
        for statistic, values in weighted_correlations(x, y, members, copies).items()
    }
    inside = np.full((copies.shape[1], len(STATISTICS)), np.nan)
    for index in present:
        part = members == index
        alone = weighted_correlations(x[part], y[part], np.zeros(part.sum(), int), np.ones((1, 1)))
        inside[index] = [alone[statistic][0] for statistic in STATISTICS]
    for column, statistic in enumerate(STATISTICS):
        defined = np.isfinite(inside[:, column])
        number = copies @ defined
        with np.errstate(invalid="ignore"):
            means = copies @ np.where(defined, inside[:, column], 0.0) / number
        found["within_sets", statistic] = Sampled(means, defined)
    return found


def weighted_correlations(
    x: np.ndarray, y: np.ndarray, members: np.ndarray, copies: np.ndarray
) -> dict[str, np.ndarray]:
    """Correlate two vectors in which every image stands as often as its set was drawn.

    Parameters
    ----------
    x, y : ndarray, (N,), float64
    members : ndarray, (N,), int
        Set of each image.
    copies : ndarray, (D, S), float64
        Copies of each set in each of D draws.

    Returns
    -------
    dict
        ``plcc`` (Pearson), ``srocc`` (Spearman, mid-ranks) and ``krocc`` (Kendall's tau-b), each (D,); NaN where a vector is
        constant or fewer than three images are left.
    """
    results = {statistic: np.full(len(copies), np.nan) for statistic in STATISTICS}
    if not len(x):
        return results
    step = max(1, _AT_ONCE // len(x))
    for begin in range(0, len(copies), step):
        part = slice(begin, begin + step)
        weights = copies[part][:, members]
        results["plcc"][part] = _pearson(x[None], y[None], weights)
        results["srocc"][part] = _pearson(_ranks(x, weights), _ranks(y, weights), weights)
    results["krocc"][:] = _tau_b(x, y, members, copies)
    few = copies[:, members].sum(axis=1) < FEWEST
    for values in results.values():
        values[few] = np.nan
    return results


def _pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x - (weights * x).sum(axis=1, keepdims=True) / total
        y = y - (weights * y).sum(axis=1, keepdims=True) / total
        spread = (weights * x * x).sum(axis=1), (weights * y * y).sum(axis=1)
        value = (weights * x * y).sum(axis=1) / np.sqrt(spread[0] * spread[1])
    # What is left of a constant after rounding must not pass for a spread.
    scale = np.maximum(np.abs(x).max(), 1e-300), np.maximum(np.abs(y).max(), 1e-300)
    flat = (spread[0] <= 1e-20 * scale[0] ** 2) | (spread[1] <= 1e-20 * scale[1] ** 2)
    return np.where(flat, np.nan, np.clip(value, -1.0, 1.0))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return mid-ranks (D, N) up to a constant, each value standing as often as its weight."""
    order = np.argsort(values, kind="stable")
    begins = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    mass = np.add.reduceat(weights[:, order], begins, axis=1)
    ranks = np.cumsum(mass, axis=1) - mass / 2
    place = np.empty(len(values), int)
    place[order] = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(values)))
    return ranks[:, place]


def _tau_b(x: np.ndarray, y: np.ndarray, members: np.ndarray, copies: np.ndarray) -> np.ndarray:
    # Signs of all pairs of images, summed by pair of sets: a draw's tau-b is then three quadratic forms in its copies.
    sets = copies.shape[1]
    agree, in_x, in_y = (np.zeros((sets, sets)) for _ in range(3))
    belongs = np.zeros((len(x), sets))
    belongs[np.arange(len(x)), members] = 1.0
    for index in range(len(x)):
        sign_x, sign_y = np.sign(x[index] - x), np.sign(y[index] - y)
        for total, signs in ((agree, sign_x * sign_y), (in_x, np.abs(sign_x)), (in_y, np.abs(sign_y))):
            total[members[index]] += signs @ belongs
    forms = [np.einsum("ds,st,dt->d", copies, total, copies, optimize=True) for total in (agree, in_x, in_y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((forms[1] > 0) & (forms[2] > 0), forms[0] / np.sqrt(forms[1] * forms[2]), np.nan)
