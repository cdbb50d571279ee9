"""Each number as a function of sums over patients: equal to SciPy and to the library's own, on the sample and on any draw."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iqagpt.agreement.bootstrap import intervals
from iqagpt.evaluation.estimates import difference, mean_of, paper_estimates, patients_of, pearson, ratio, spearman
from iqagpt.score_metrics import accuracy, correlations
from tests.evaluation.scored_tables import method, reader


def drawn(truth: pd.DataFrame, table: pd.DataFrame, patients: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of patients drawn with replacement, one after the other."""
    rows = np.concatenate([np.flatnonzero(patients_of(truth) == patient) for patient in patients])
    return truth.iloc[rows].reset_index(drop=True), table.iloc[rows].reset_index(drop=True)


@pytest.mark.parametrize("fractional", [False, True])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_draw_gives_what_repeating_the_images_would(fractional: bool, seed: int | None) -> None:
    truth = reader()
    table = method(truth, error=0.8, fractional=fractional)
    estimates = paper_estimates(truth, table, None)
    patients = np.arange(8) if seed is None else np.random.default_rng(seed).integers(0, 8, 8)
    weights = np.bincount(patients, minlength=8).astype(float)[None]
    found = {place: float(of.function(weights @ of.sums)[0]) for place, of in estimates.items()}
    again = drawn(truth, table, patients)
    expected = {"accuracy": accuracy(*again), **correlations(*again)}
    assert len(found) == 5 + 4 + 4
    for (measure, key), value in found.items():
        assert value == pytest.approx(expected[measure][key], abs=1e-12), (measure, key)


def test_correlations_are_scipys_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(3)
    x, clusters = rng.integers(1, 5, 60).astype(float), np.repeat(np.arange(6), 10)
    y = x + rng.normal(0, 1, 60)
    x[::7] = np.nan
    y[3] = np.nan
    both = np.isfinite(x) & np.isfinite(y)
    assert pearson(x, y, clusters).value == pytest.approx(stats.pearsonr(x[both], y[both]).statistic)
    assert spearman(x, y, clusters).value == pytest.approx(stats.spearmanr(x[both], y[both]).statistic)
    assert pearson(x, y, clusters).used.tolist() == both.tolist()


@pytest.mark.parametrize("of", [pearson, spearman])
def test_constants_and_too_few_images_have_no_correlation(of) -> None:
    clusters = np.array([0, 0, 1, 1])
    assert np.isnan(of(np.full(4, 0.1), np.arange(4.0), clusters).value)
    assert np.isnan(of(np.arange(4.0), np.full(4, 1e6 + 0.1), clusters).value)
    assert np.isnan(of(np.array([1.0, 2, np.nan, np.nan]), np.arange(4.0), clusters).value)
    assert of(np.arange(4.0) + 1e6, np.arange(4.0), clusters).value == pytest.approx(1)


def test_means_and_differences_are_of_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(10), 5)
    first = ratio(rng.random(50), np.ones(50), clusters)
    second = ratio(rng.random(50), np.ones(50), clusters)
    assert mean_of([first, second]).value == pytest.approx((first.value + second.value) / 2)
    assert difference(first, second).value == pytest.approx(first.value - second.value)
    (same,) = intervals([difference(first, first)], seed=1)
    assert (same.value, same.lower, same.upper) == (0, 0, 0)


def test_undefined_parts_make_the_mean_undefined() -> None:
    clusters = np.array([0, 1, 2])
    defined, undefined = ratio(np.ones(3), np.ones(3), clusters), ratio(np.zeros(3), np.zeros(3), clusters)
    assert np.isnan(mean_of([defined, undefined]).value)
    assert np.isnan(difference(undefined, defined).value)


def test_coverage_over_patients() -> None:
    """A short form of benchmarks/bootstrap_coverage.py: about 95 of 100 intervals hold the true accuracy."""
    rng = np.random.default_rng(7)
    held = 0
    for seed in range(250):
        level = rng.beta(6, 3, 40)
        right = (rng.random((40, 16)) < level[:, None]).astype(float).ravel()
        (found,) = intervals([ratio(right, np.ones(640), np.repeat(np.arange(40), 16))], seed=seed, replicates=500)
        held += found.lower <= 6 / 9 <= found.upper
    assert 0.90 <= held / 250 <= 0.985
