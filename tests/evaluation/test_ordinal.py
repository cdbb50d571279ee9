"""Ordinal measures and lesion detection against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.evaluation.ordinal import LESION, confusion_table, lesion_estimates, ordinal_estimates
from iqagpt.predictions import labels
from tests.evaluation.scored_tables import method, reader

TRUTH = reader()
TABLE = method(TRUTH, error=0.9)
TRUE, PREDICTED = labels(TRUTH), labels(TABLE)


def read(key: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of images where reader and method give one."""
    both = TRUE[key].str.isdigit() & PREDICTED[key].str.isdigit()
    return TRUE.loc[both, key].astype(int).to_numpy(), PREDICTED.loc[both, key].astype(int).to_numpy()


@pytest.mark.parametrize("key", KEYS)
def test_measures_are_scikit_learns(key: str) -> None:
    found = {measure: of.value for (measure, k), of in ordinal_estimates(TRUTH, TABLE).items() if k == key}
    true, predicted = read(key)
    assert len(true) > 20
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, predicted))
    assert found["within_1"] == pytest.approx(np.mean(np.abs(true - predicted) <= 1))
    assert found["kappa_quadratic"] == pytest.approx(metrics.cohen_kappa_score(true, predicted, weights="quadratic"))
    recalls = metrics.recall_score(TRUE[key], PREDICTED[key], labels=sorted(set(TRUE[key])), average="macro")
    assert found["balanced_accuracy"] == pytest.approx(recalls)


def test_means_are_over_the_three_criteria_that_every_image_has() -> None:
    found = ordinal_estimates(TRUTH, TABLE)
    for measure in ("mae", "within_1", "kappa_quadratic", "balanced_accuracy"):
        expected = np.mean([found[measure, key].value for key in ALWAYS_SCORED])
        assert found[measure, "mean"].value == pytest.approx(expected)


def test_fractions_count_in_mae_and_are_rounded_elsewhere() -> None:
    table = TRUTH[list(KEYS)].add(0.3).assign(unparsed="")
    found = ordinal_estimates(TRUTH, table)
    assert found["mae", "mean"].value == pytest.approx(0.3)
    assert found["kappa_quadratic", "mean"].value == found["balanced_accuracy", "mean"].value == 1


def test_finding_a_lesion_stands_apart_from_scoring_it() -> None:
    found = {key: of.value for (_, key), of in lesion_estimates(TRUTH, TABLE).items()}
    present, said = TRUTH[LESION].notna(), TABLE[LESION].notna()
    assert found["sensitivity"] == pytest.approx(metrics.recall_score(present, said))
    assert found["specificity"] == pytest.approx(metrics.recall_score(~present, ~said))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(present, said))
    right = (TRUE[LESION] == PREDICTED[LESION])[present]
    assert found["conspicuity_accuracy"] == pytest.approx(right.mean())
    assert lesion_estimates(TRUTH, TABLE)["lesion", "sensitivity"].used.tolist() == present.tolist()


def test_unparsed_lesions_are_neither_found_nor_denied() -> None:
    table = TRUTH[list(KEYS)].assign(unparsed=LESION)
    found = {key: of.value for (_, key), of in lesion_estimates(TRUTH, table).items()}
    assert found == dict.fromkeys(found, 0)


def test_a_method_that_sees_no_lesion_has_no_ordinal_measure_of_them() -> None:
    table = TRUTH[list(KEYS)].assign(unparsed="", lesion_conspicuity=np.nan)
    found = ordinal_estimates(TRUTH, table)
    assert np.isnan([found[m, LESION].value for m in ("mae", "within_1", "kappa_quadratic")]).all()


def test_confusion_is_scikit_learns() -> None:
    counts = confusion_table(TRUTH, {"a": TABLE})
    names = ["1", "2", "3", "4", "none", "unparsed"]
    for key in KEYS:
        rows = counts[counts["criterion"] == key]
        table = rows.pivot_table(index="truth", columns="predicted", values="images", fill_value=0)
        table = table.reindex(index=names, columns=names, fill_value=0)
        assert table.to_numpy().tolist() == metrics.confusion_matrix(TRUE[key], PREDICTED[key], labels=names).tolist()
