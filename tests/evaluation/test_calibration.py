"""Calibration: against scikit-learn where it has the measure, else against the definition written out."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from iqagpt.criteria import KEYS
from iqagpt.evaluation.calibration import (
    calibration_errors,
    calibration_estimates,
    ranked_probability_score,
    reliability_table,
)
from iqagpt.predictions import expected_scores, labels, probability_columns
from tests.evaluation.scored_tables import method, reader, with_probabilities

TRUTH = reader()
TABLE = with_probabilities(method(TRUTH, error=0.9))


def test_rps_is_the_definition_written_out() -> None:
    found = calibration_estimates(TRUTH, TABLE)["rps", "noise"].value
    expected = []
    for score, row in zip(TRUTH["noise"], TABLE[probability_columns("noise")].to_numpy(), strict=True):
        steps = [(row[:k].sum() - (score <= k)) ** 2 for k in (1, 2, 3)]
        expected.append(sum(steps) / 3)
    assert found == pytest.approx(np.mean(expected))


def test_rps_of_two_classes_is_a_third_of_scikit_learns_brier_score() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(50)
    score = rng.integers(1, 3, 50)
    shares = np.column_stack([first, 1 - first, np.zeros(50), np.zeros(50)])
    rps = ranked_probability_score(shares, score.astype(float)).mean()
    assert rps == pytest.approx(metrics.brier_score_loss(score == 1, first) / 3)


def test_certainty_that_is_right_is_perfect_and_that_is_wrong_the_worst() -> None:
    shares = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    assert ranked_probability_score(shares, np.array([1.0, 4.0])).tolist() == [0, 1]


def test_lesions_are_judged_given_a_lesion_and_their_absence_by_brier() -> None:
    found = calibration_estimates(TRUTH, TABLE)
    present = TRUTH["lesion_conspicuity"].notna()
    assert found["rps", "lesion_conspicuity"].used.tolist() == present.tolist()
    brier = metrics.brier_score_loss(~present, TABLE["lesion_conspicuity_none"])
    assert found["brier", "no_lesion"].value == pytest.approx(brier)
    error = np.abs(expected_scores(TABLE)["noise"] - TRUTH["noise"]).mean()
    assert found["mae_expected", "noise"].value == pytest.approx(error)


def test_reliability_curve_is_scikit_learns() -> None:
    curves = reliability_table(TRUTH, {"a": TABLE})
    own = curves[(curves["criterion"] == "noise") & (curves["curve"] == "class")]
    stated = labels(TABLE)["noise"]
    columns = np.array(probability_columns("noise"))
    confidence = np.array(
        [row[columns[int(c) - 1]] if c.isdigit() else 0.0 for c, (_, row) in zip(stated, TABLE.iterrows(), strict=True)]
    )
    right = (stated == labels(TRUTH)["noise"]).to_numpy()
    observed, predicted = calibration_curve(right, confidence, n_bins=10)
    assert own["observed"].to_numpy() == pytest.approx(observed)
    assert own["predicted"].to_numpy() == pytest.approx(predicted)
    assert own["images"].sum() == len(TRUTH)
    gap = np.sum(np.abs(own["predicted"] - own["observed"]) * own["images"]) / len(TRUTH)
    assert calibration_errors(TRUTH, TABLE)["noise"] == pytest.approx(gap)
    scores = curves[(curves["criterion"] == "noise") & (curves["curve"] == "score")]
    assert (scores["lower"] <= scores["predicted"]).all()
    assert (scores["predicted"] <= scores["upper"]).all()


def test_methods_without_probabilities_have_none_of_it() -> None:
    table = method(TRUTH, error=0.9)
    assert calibration_estimates(TRUTH, table) == {}
    assert calibration_errors(TRUTH, table) == {}
    assert list(reliability_table(TRUTH, {"a": table}).columns) == list(reliability_table(TRUTH, {"a": TABLE}).columns)
    assert set(calibration_errors(TRUTH, TABLE)) == set(KEYS)
