"""Correlations against SciPy, on the sample and on every draw of sets."""

import numpy as np
import pytest
from scipy import stats

from iqagpt.study.correlations import STATISTICS, draw_sets, mean_correlations, weighted_correlations

SCIPY = {"plcc": stats.pearsonr, "srocc": stats.spearmanr, "krocc": stats.kendalltau}


def sample(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 40))
    x = rng.integers(0, 4, n).astype(float)
    y = x + rng.normal(size=n) if seed % 2 else rng.integers(0, 5, n).astype(float)
    return rng.integers(0, rng.integers(1, 6), n).astype(str), x, y


@pytest.mark.parametrize("seed", range(20))
def test_every_draw_is_what_scipy_says_of_the_repeated_images(seed):
    sets, x, y = sample(seed)
    members, copies = draw_sets(sets, draws=30, seed=seed)
    found = weighted_correlations(x, y, members, copies)
    for draw, count in enumerate(copies):
        index = np.repeat(np.arange(len(x)), count[members].astype(int))
        defined = len(index) >= 3 and np.ptp(x[index]) > 0 and np.ptp(y[index]) > 0
        for name in STATISTICS:
            if defined:
                assert found[name][draw] == pytest.approx(SCIPY[name](x[index], y[index]).statistic, abs=1e-9)
            else:
                assert np.isnan(found[name][draw])


def test_draws_are_of_whole_sets_and_seeded():
    members, copies = draw_sets(["b", "a", "b", "c"], draws=100, seed=1)
    assert members.tolist() == [1, 0, 1, 2]
    assert (copies[0] == 1).all() and (copies[:101].sum(axis=1) == 3).all()
    assert copies[101:].tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert np.array_equal(copies, draw_sets(["b", "a", "b", "c"], draws=100, seed=1)[1])
    assert not np.array_equal(copies, draw_sets(["b", "a", "b", "c"], draws=100, seed=2)[1])


def test_within_sets_is_the_mean_over_sets():
    # Rising in either set, falling over both: only the pooled correlation is negative.
    x = np.array([0, 1, 2, 10, 11, 12.0])
    y = np.array([10, 11, 12, 0, 1, 3.0])
    members, copies = draw_sets(list("aaabbb"), draws=50, seed=0)
    found = mean_correlations([(x, y)], members, copies)
    inside = [stats.pearsonr(x[:3], y[:3]).statistic, stats.pearsonr(x[3:], y[3:]).statistic]
    assert found["within_sets", "plcc"].estimate().value == pytest.approx(np.mean(inside))
    assert found["pooled", "plcc"].estimate().value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found["pooled", "plcc"].estimate().value < 0
    assert found["within_sets", "plcc"].estimate().sets_used == 2


def test_sets_without_a_correlation_are_left_out_of_the_mean():
    x = np.array([0, 1, 2, 5, 5, 5.0])
    members, copies = draw_sets(list("aaabbb"), draws=50, seed=0)
    estimate = mean_correlations([(x, np.arange(6.0))], members, copies)["within_sets", "srocc"].estimate()
    assert estimate.value == pytest.approx(1.0) and estimate.sets_used == 1 and estimate.low is None


@pytest.mark.parametrize("x", [np.ones(6), np.full(6, np.nan), np.array([1, 2, np.nan, np.nan, np.nan, np.nan])])
def test_undefined_is_none_and_never_zero(x):
    members, copies = draw_sets(list("aabbcc"), draws=20, seed=0)
    for sampled in mean_correlations([(x, np.arange(6.0))], members, copies).values():
        assert sampled.estimate().value is None and sampled.estimate().low is None


def test_missing_values_leave_their_pair_only():
    x, y = np.array([1, 2, 3, 4, np.nan]), np.array([1, 3, 2, 4, 9.0])
    members, copies = draw_sets(list("abcde"), draws=20, seed=0)
    found = mean_correlations([(x, y), (y, y)], members, copies)["pooled", "srocc"]
    assert found.estimate().value == pytest.approx((0.8 + 1.0) / 2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, rho, hits, runs = np.random.default_rng(0), 0.6, 0, 120
    for run in range(runs):
        x = rng.normal(size=60)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=60)
        members, copies = draw_sets([str(i) for i in range(60)], draws=300, seed=run)
        estimate = mean_correlations([(x, y)], members, copies)["pooled", "plcc"].estimate()
        hits += estimate.low <= rho <= estimate.high
    assert 0.87 <= hits / runs <= 1.0


def test_intervals_by_sets_are_wider_than_by_images_where_sets_differ():
    rng = np.random.default_rng(1)
    sets = np.repeat(np.arange(8), 10)
    shift = rng.normal(size=8)[sets]
    x, y = shift + 0.2 * rng.normal(size=80), shift + 0.2 * rng.normal(size=80) + rng.normal(size=8)[sets]
    widths = []
    for names in (sets.astype(str), np.arange(80).astype(str)):
        members, copies = draw_sets(names, draws=500, seed=0)
        estimate = mean_correlations([(x, y)], members, copies)["pooled", "plcc"].estimate()
        widths.append(estimate.high - estimate.low)
    assert widths[0] > 1.5 * widths[1]
