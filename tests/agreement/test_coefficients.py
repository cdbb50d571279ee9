"""Coefficients against published examples, scikit-learn, and their definitions written out as loops."""

from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from iqagpt.agreement.coefficients import (
    Ratings,
    intraclass_correlation,
    ordinal_alpha,
    raw_agreement,
    weighted_kappa,
)

_ = np.nan
#: Krippendorff (2011), section E: four observers, twelve units.
KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]).T  # fmt: skip
#: Shrout and Fleiss (1979), Table 2: six targets, four judges.
SHROUT_FLEISS = np.array([
    [9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7],
], dtype=float)  # fmt: skip


def ratings(values, clusters=None):
    values = np.asarray(values, dtype=float)
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    return Ratings(values, clusters, int(clusters.max(initial=0)) + 1)


def random_table(seed):
    """Draw a small table with many ties; often constant, often with gaps."""
    rng = np.random.default_rng(seed)
    images, readers = int(rng.integers(1, 13)), int(rng.integers(2, 5))
    grades = int(rng.choice([1, 2, 4, 4, 5]))
    truth = rng.integers(1, grades + 1, images)
    values = np.clip(truth[:, None] + rng.integers(-1, 2, (images, readers)), 1, grades).astype(float)
    if rng.random() < 0.1:
        values[:, 0] = rng.integers(1, grades + 1)
    values[rng.random(values.shape) < rng.choice([0.0, 0.0, 0.3, 0.9])] = np.nan
    return ratings(values, rng.integers(0, 4, images))


def test_alpha_of_krippendorffs_example():
    assert ordinal_alpha(ratings(KRIPPENDORFF)).value == pytest.approx(0.815, abs=0.0005)
    assert ordinal_alpha(ratings(KRIPPENDORFF)).used.sum() == 11


def test_icc_of_shrout_and_fleiss():
    assert intraclass_correlation(ratings(SHROUT_FLEISS), average=False).value == pytest.approx(0.29, abs=0.005)
    assert intraclass_correlation(ratings(SHROUT_FLEISS), average=True).value == pytest.approx(0.62, abs=0.005)


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_agrees_with_scikit_learn(weights):
    rng = np.random.default_rng(5)
    truth = rng.integers(1, 5, 200)
    two = np.stack([truth, np.clip(truth + rng.integers(-1, 2, 200), 1, 4)], axis=1)
    expected = cohen_kappa_score(*two.T, weights=weights, labels=[1, 2, 3, 4])
    assert weighted_kappa(ratings(two), weights).value == pytest.approx(expected, abs=1e-12)
    # A grade that nobody gave leaves a gap in the scale, not a smaller difference.
    apart = np.where(two == 3, 4, two)
    expected = cohen_kappa_score(*apart.T, weights=weights, labels=[1, 2, 3, 4])
    assert weighted_kappa(ratings(apart), weights).value == pytest.approx(expected, abs=1e-12)


def test_a_thousand_random_tables():
    checked = dict.fromkeys(("raw", "linear", "quadratic", "alpha", "single", "average"), 0)
    undefined = dict.fromkeys(checked, 0)
    for seed in range(1000):
        table = random_table(seed)
        found = {
            "raw": raw_agreement(table),
            "linear": weighted_kappa(table, "linear"),
            "quadratic": weighted_kappa(table, "quadratic"),
            "alpha": ordinal_alpha(table),
            "single": intraclass_correlation(table, average=False),
            "average": intraclass_correlation(table, average=True),
        }
        expected = {
            "raw": raw_by_loops(table.values),
            "linear": kappa_by_scikit_learn(table.values, "linear"),
            "quadratic": kappa_by_scikit_learn(table.values, "quadratic"),
            "alpha": alpha_by_loops(table.values),
            "single": icc_by_mean_squares(table.values, average=False),
            "average": icc_by_mean_squares(table.values, average=True),
        }
        for name, value in expected.items():
            assert found[name].value == pytest.approx(value, abs=1e-9, nan_ok=True), (seed, name)
            undefined[name] += np.isnan(value)
            checked[name] += 1
    assert all(50 < count < 950 for count in undefined.values()), undefined


def test_any_weights_of_patients_give_what_repeated_images_give():
    for seed in range(50):
        table = random_table(seed)
        weights = np.random.default_rng(seed).integers(0, 3, table.count)
        repeated = np.repeat(table.values, weights[table.clusters], axis=0)
        for compute in (
            raw_agreement,
            lambda r: weighted_kappa(r, "linear"),
            ordinal_alpha,
            lambda r: intraclass_correlation(r, average=False),
        ):
            one = compute(table)
            weighted = one.function((weights @ one.sums)[None])[0]
            expected = compute(ratings(repeated)).value if len(repeated) else np.nan
            assert weighted == pytest.approx(expected, abs=1e-9, nan_ok=True), seed


def test_perfect_and_constant_readers():
    perfect = ratings([[1, 1], [2, 2], [4, 4]])
    for compute in (raw_agreement, lambda r: weighted_kappa(r, "quadratic"), ordinal_alpha):
        assert compute(perfect).value == 1
    assert intraclass_correlation(perfect, average=False).value == 1
    constant = ratings([[2, 2], [2, 2], [2, 2]])
    assert raw_agreement(constant).value == 1
    for compute in (lambda r: weighted_kappa(r, "linear"), ordinal_alpha):
        assert np.isnan(compute(constant).value)
    assert np.isnan(intraclass_correlation(constant, average=True).value)


def test_a_constant_reader_agrees_no_better_than_chance():
    assert weighted_kappa(ratings([[1, 2], [2, 2], [3, 2]]), "linear").value == pytest.approx(0)


def raw_by_loops(values):
    pairs = [(a, b) for row in values for a, b in combinations(row[~np.isnan(row)], 2)]
    return np.mean([a == b for a, b in pairs]) if pairs else np.nan


def kappa_by_scikit_learn(values, weights):
    kappas = []
    for first, second in combinations(values.T, 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        a, b = first[both].astype(int), second[both].astype(int)
        if both.any() and len({*a, *b}) > 1:
            kappas.append(cohen_kappa_score(a, b, weights=weights, labels=range(1, 6)))
    return np.mean(kappas) if kappas else np.nan


def alpha_by_loops(values):
    """Follow Krippendorff's recipe cell by cell."""
    units = [row[~np.isnan(row)].astype(int) for row in values]
    units = [unit for unit in units if len(unit) >= 2]
    coincidence = np.zeros((6, 6))
    for unit in units:
        for a, b in permutations(unit, 2):
            coincidence[a, b] += 1 / (len(unit) - 1)
    marginal = coincidence.sum(axis=1)

    def delta(a, b):
        a, b = min(a, b), max(a, b)
        return (marginal[a : b + 1].sum() - (marginal[a] + marginal[b]) / 2) ** 2

    cells = list(permutations(range(6), 2))
    expected = sum(marginal[a] * marginal[b] * delta(a, b) for a, b in cells)
    observed = sum(coincidence[a, b] * delta(a, b) for a, b in cells)
    return 1 - (marginal.sum() - 1) * observed / expected if expected > 1e-9 else np.nan


def icc_by_mean_squares(values, *, average):
    """Two-way analysis of variance from residuals."""
    full = values[~np.isnan(values).any(axis=1)]
    n, k = full.shape
    if n < 2:
        return np.nan
    grand, rows, columns = full.mean(), full.mean(axis=1, keepdims=True), full.mean(axis=0)
    msr = k * ((rows - grand) ** 2).sum() / (n - 1)
    msc = n * ((columns - grand) ** 2).sum() / (k - 1)
    mse = ((full - rows - columns + grand) ** 2).sum() / ((n - 1) * (k - 1))
    below = msr + (msc - mse) / n if average else msr + (k - 1) * mse + k * (msc - mse) / n
    return (msr - mse) / below if below > 1e-9 else np.nan
