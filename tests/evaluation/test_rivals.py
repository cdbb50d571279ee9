"""Paired comparison: the sign-flip test against SciPy, Holm against known values, differences against rows."""

import numpy as np
import pytest
from scipy import stats

from iqagpt.criteria import KEYS
from iqagpt.evaluation.estimates import paper_estimates
from iqagpt.evaluation.rivals import compare_rivals, holm, right_by_patient, sign_flip_p, smallest_p
from tests.evaluation.scored_tables import method, reader


@pytest.mark.parametrize(
    "values", [[3, 1, 4, -1, 5], [1, 1, 1], [0, 0, 2, -2], [7], [-3, -4, -5, -6, 2, 2, 0, 9], [5, 5, 3, 3]]
)
def test_sign_flip_is_scipys_permutation_test(values: list[int]) -> None:
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ) if len(values) > 1 else None  # fmt: skip
    found = sign_flip_p(np.array(values))
    assert found == pytest.approx(expected.pvalue if expected else 1.0)


def test_the_smallest_p_is_reached_when_every_patient_agrees() -> None:
    for patients in (1, 2, 5, 10, 60):
        assert sign_flip_p(np.full(patients, 3)) == pytest.approx(smallest_p(patients))
    assert smallest_p(2) == 0.5
    assert smallest_p(10) < 0.002
    assert sign_flip_p(np.zeros(4, dtype=int)) == 1


def test_holm_has_the_values_of_r() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, 0.9])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).tolist() == []


def test_a_better_method_is_better_and_the_oracle_is_outside_the_family() -> None:
    truth = reader(patients=12)
    tables = {
        "iqagpt": method(truth, error=0.3), "worse": method(truth, error=1.5, seed=4),
        "same": method(truth, error=0.3), "oracle": method(truth, error=0.1),
    }  # fmt: skip
    estimates = {name: paper_estimates(truth, table, None) for name, table in tables.items()}
    right = {name: right_by_patient(truth, table)[list(KEYS)].sum(axis=1).to_numpy() for name, table in tables.items()}
    found = compare_rivals(estimates, right, method="iqagpt", oracles=("oracle",), draws=500, seed=1)
    primary = found[(found["measure"] == "accuracy") & (found["key"] == "mean")].set_index("rival")
    assert primary.loc["worse", "lower"] > 0
    assert primary.loc["worse", "p"] == pytest.approx(smallest_p(12))
    assert primary.loc["worse", "p_holm"] == pytest.approx(2 * smallest_p(12))
    assert primary.loc["same", ["difference", "lower", "upper", "p", "p_holm"]].tolist() == [0, 0, 0, 1, 1]
    assert np.isnan(primary.loc["oracle", "p_holm"])
    assert found.loc[found["key"] != "mean", "p"].isna().all()
    values = {name: estimates[name]["accuracy", "mean"].value for name in tables}
    assert primary.loc["worse", "difference"] == pytest.approx(values["iqagpt"] - values["worse"])


def test_right_scores_are_counted_by_patient() -> None:
    truth = reader(patients=3)
    counted = right_by_patient(truth, truth.assign(unparsed=""))
    assert counted["patient_id"].tolist() == ["P0", "P1", "P2"]
    assert (counted[["images", *KEYS]] == 10).all(axis=None)
