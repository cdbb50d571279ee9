"""Accuracy and correlations, with ties, constants, missing lesions and unparsed captions."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.score_metrics import accuracy, accuracy_by_variant, correlations, unparsed_rate

TRUTH = pd.DataFrame(
    {
        "variant": ["ndct", "ndct", "ldct", "ldct"],
        "noise": [1, 2, 3, 4],
        "small_structures": [1, 1, 3, 3],
        "lesion_conspicuity": pd.array([None, 1, None, 4], dtype="Int64"),
        "diagnostic_confidence": [2, 1, 4, 3],
    }
)


def predict(**changes: object) -> pd.DataFrame:
    table = TRUTH.drop(columns="variant").assign(unparsed="").astype({key: float for key in KEYS})
    return table.assign(**changes)


def test_perfect_predictions() -> None:
    assert accuracy(TRUTH, predict()) == dict.fromkeys((*KEYS, "mean"), 1.0)
    for values in correlations(TRUTH, predict()).values():
        assert values == pytest.approx(dict.fromkeys((*ALWAYS_SCORED, "mean"), 1.0))


def test_no_lesion_is_a_class_of_its_own() -> None:
    found = accuracy(TRUTH, predict(lesion_conspicuity=[None, None, 2, 4]))
    assert found["lesion_conspicuity"] == 0.5
    assert found["mean"] == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_fractions_count_by_the_nearest_score_within_the_scale() -> None:
    assert accuracy(TRUTH, predict(noise=[0.1, 2.4, 3.6, 7.0]))["noise"] == 0.75


def test_unparsed_is_wrong_in_accuracy_and_left_out_of_correlations() -> None:
    predicted = predict(
        noise=[1.0, 2.0, 3.0, np.nan], lesion_conspicuity=[None, 1, None, None], unparsed=["", "", "", "noise"]
    )
    assert accuracy(TRUTH, predicted)["noise"] == 0.75
    assert correlations(TRUTH, predicted)["plcc"]["noise"] == pytest.approx(1)
    assert unparsed_rate(predicted) == 1 / 16


def test_unparsed_lesion_is_not_taken_for_no_lesion() -> None:
    predicted = predict(lesion_conspicuity=[None, 1, None, 4], unparsed=["lesion_conspicuity", "", "", ""])
    assert accuracy(TRUTH, predicted)["lesion_conspicuity"] == 0.75


def test_correlations_equal_scipys_and_use_fractions() -> None:
    noise = [1.2, 1.1, 3.9, 2.0]
    found = correlations(TRUTH, predict(noise=noise))
    assert found["plcc"]["noise"] == pytest.approx(np.corrcoef(TRUTH["noise"], noise)[0, 1])
    assert found["srocc"]["noise"] == pytest.approx(stats.spearmanr(TRUTH["noise"], noise).statistic)
    assert found["plcc"]["mean"] == pytest.approx((found["plcc"]["noise"] + 2) / 3)


def test_constant_prediction_has_no_entry_and_no_mean() -> None:
    found = correlations(TRUTH, predict(noise=2.0))
    for values in found.values():
        assert set(values) == {"small_structures", "diagnostic_confidence"}


def test_constant_truth_and_too_few_images_have_no_entry() -> None:
    assert correlations(TRUTH.assign(noise=3), predict())["srocc"].keys() == {
        "small_structures",
        "diagnostic_confidence",
    }
    assert correlations(TRUTH.iloc[:2], predict().iloc[:2]) == {"plcc": {}, "srocc": {}}
    few = predict(unparsed=["noise", "noise", "", ""], noise=[np.nan, np.nan, 3.0, 4.0])
    assert "noise" not in correlations(TRUTH, few)["plcc"]


def test_lesion_conspicuity_has_no_correlation() -> None:
    assert "lesion_conspicuity" not in correlations(TRUTH, predict())["plcc"]


def test_accuracy_by_variant_splits_the_rows() -> None:
    found = accuracy_by_variant(TRUTH, predict(noise=[1, 1, 3, 4]))
    assert list(found) == ["ndct", "ldct"]
    assert found["ndct"]["noise"] == 0.5
    assert found["ldct"]["noise"] == 1.0
    assert found["ndct"]["mean"] == pytest.approx(0.875)
