import numpy as np
import pytest
from scipy import stats

from iqagpt.agreement.bootstrap import intervals
from iqagpt.agreement.coefficients import Ratings, ordinal_alpha, raw_agreement, weighted_kappa


def noisy(patients, images, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 5, patients * images)
    values = np.clip(truth[:, None] + rng.integers(-1, 2, (len(truth), 3)), 1, 4).astype(float)
    return Ratings(values, np.repeat(np.arange(patients), images), patients)


def test_it_is_scipys_bca_where_each_patient_has_one_image():
    table = noisy(60, 1).select(0, 1)
    equal = (table.values[:, 0] == table.values[:, 1]).astype(float)
    expected = stats.bootstrap((equal,), np.mean, n_resamples=20000, method="BCa", rng=1).confidence_interval
    (found,) = intervals([raw_agreement(table)], seed=2, replicates=20000)
    assert found.method == "bca"
    assert (found.lower, found.upper) == pytest.approx(expected, abs=0.02)


def test_images_of_a_patient_that_are_copies_add_nothing():
    one = noisy(12, 1)
    copies = Ratings(np.repeat(one.values, 30, axis=0), np.repeat(one.clusters, 30), 12)
    (few,), (many,) = (intervals([weighted_kappa(table, "quadratic")], seed=1) for table in (one, copies))
    assert (many.value, many.lower, many.upper) == pytest.approx((few.value, few.lower, few.upper))


def test_the_interval_is_seeded_and_holds_the_value():
    coefficients = [raw_agreement(noisy(15, 8)), ordinal_alpha(noisy(15, 8))]
    first, again, other = (intervals(coefficients, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(one.lower < one.value < one.upper for one in first)


def test_blocks_of_replicates_do_not_matter(monkeypatch):
    coefficients = [ordinal_alpha(noisy(15, 2))]
    whole = intervals(coefficients, seed=1)
    monkeypatch.setattr("iqagpt.agreement.bootstrap._BLOCK", 100)
    assert intervals(coefficients, seed=1) == whole


@pytest.mark.parametrize(("patients", "method"), [(1, "none"), (2, "percentile"), (5, "percentile"), (6, "bca")])
def test_few_patients(patients, method):
    (found,) = intervals([raw_agreement(noisy(patients, 10))], seed=1)
    assert found.method == method
    assert np.isnan(found.lower) == (method == "none")


def test_undefined_coefficients_have_no_interval():
    constant = Ratings(np.full((8, 2), 3.0), np.arange(8), 8)
    agreement, kappa = intervals([raw_agreement(constant), weighted_kappa(constant, "linear")], seed=1)
    assert (agreement.value, agreement.lower, agreement.upper) == (1, 1, 1)
    assert np.isnan([kappa.value, kappa.lower, kappa.upper]).all()
    # One patient alone differs: without that patient, in a third of the draws, kappa is undefined.
    values = np.full((8, 2), 3.0)
    values[0] = 1, 2
    (rare,) = intervals([weighted_kappa(Ratings(values, np.arange(8), 8), "linear")], seed=1)
    assert 0 < rare.value < 1
    assert rare.method == "none"


def test_coverage_for_like_patients():
    """Nine of ten and more of the intervals hold the agreement of all patients."""
    held = 0
    rng = np.random.default_rng(4)
    for seed in range(200):
        level = rng.beta(8, 2, 25)
        equal = rng.random((25, 10)) < level[:, None]
        values = np.stack([np.ones(250), np.where(equal.ravel(), 1, 2)], axis=1)
        (found,) = intervals(
            [raw_agreement(Ratings(values, np.repeat(np.arange(25), 10), 25))], seed=seed, replicates=400
        )
        held += found.lower <= 0.8 <= found.upper
    assert 0.88 <= held / 200 <= 0.99
