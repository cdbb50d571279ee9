"""All numbers with intervals, and the content of the metrics files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iqagpt.criteria import KEYS
from iqagpt.evaluation.comparison import SHUFFLED, Comparison, load_comparison
from iqagpt.evaluation.measurement import (
    collect,
    interval_table,
    measure_by_variant,
    metrics_of,
    val_metrics,
    variant_estimates,
)
from iqagpt.evaluation.rivals import compare_rivals, right_by_patient
from iqagpt.score_metrics import accuracy_by_variant
from tests.evaluation.prediction_tables import METHODS, counts_of_equal, write_predictions


@pytest.fixture
def data(tmp_path: Path, scored_run: Path) -> Comparison:
    folder = write_predictions(tmp_path / "predictions", scored_run)
    return load_comparison(folder, scored_run / "captions", scored_run / "split", baselines=METHODS[1:], name="test")


def text_of(data: Comparison) -> dict[str, np.ndarray]:
    references = data.truth["caption"].tolist()
    made = {m: counts_of_equal(references, t["caption"].tolist()) for m, t in data.predictions.items()}
    return made | {SHUFFLED: counts_of_equal(references, references[::-1])}


def several_patients(data: Comparison) -> Comparison:
    """The eight images as those of four patients."""
    return replace(data, truth=data.truth.assign(patient_id=[f"P{i // 2}" for i in range(8)]))


def test_metrics_have_the_agreed_shape(data: Comparison) -> None:
    data = several_patients(data)
    found = collect(data, text_of(data))
    table = interval_table(found, data, draws=200, seed=1)
    right = {m: right_by_patient(data.truth, t)[list(KEYS)].sum(axis=1).to_numpy() for m, t in data.predictions.items()}
    estimates = {method: found[method] for method in METHODS}
    rivals = compare_rivals(estimates, right, method="iqagpt", oracles=("majority_by_variant",), draws=200, seed=1)
    metrics = metrics_of(data, table, rivals)
    assert set(metrics) == {*METHODS, "score_source", "n_images", "n_patients", "lower_is_better"}
    assert (metrics["score_source"], metrics["n_images"], metrics["n_patients"]) == ("simulated", 8, 4)
    assert {"captioning", "accuracy", "plcc", "srocc", "unparsed", "interval"} <= set(metrics["iqagpt"])
    assert set(metrics["iqagpt"]["accuracy"]) == {*KEYS, "mean"}
    assert metrics["majority"]["plcc"] == metrics["majority"]["srocc"] == {}
    assert metrics["vit_r"]["accuracy"]["mean"] == 1.0
    ends = metrics["majority"]["interval"]["accuracy"]["mean"]
    assert ends["lower"] <= metrics["majority"]["accuracy"]["mean"] <= ends["upper"]
    assert metrics["majority"]["behind_iqagpt"]["p"] == 0.125
    assert metrics["vit_r"]["behind_iqagpt"]["p_holm"] == 1
    assert "p_holm" not in metrics["majority_by_variant"]["behind_iqagpt"]
    assert "behind_iqagpt" not in metrics["iqagpt"]


def test_val_has_the_same_numbers_without_intervals(data: Comparison) -> None:
    metrics = val_metrics(data, text_of(data))
    assert metrics["iqagpt"]["accuracy"]["mean"] == 1
    assert "interval" not in metrics["iqagpt"]
    empty = replace(
        data, split="val", truth=data.truth.iloc[:0], predictions={m: t.iloc[:0] for m, t in data.predictions.items()}
    )
    assert val_metrics(empty, {}) == {"n_images": 0}


def test_one_patient_gives_numbers_and_no_interval(data: Comparison) -> None:
    table = interval_table(collect(data, text_of(data)), data, draws=200, seed=1)
    assert (table["interval"] == "none").all()
    assert table["lower"].isna().all()
    assert table.set_index(["method", "measure", "key"]).loc[("iqagpt", "accuracy", "mean"), "value"] == 1


def test_denominators_are_those_that_count(data: Comparison) -> None:
    data = several_patients(data)
    table = interval_table(collect(data, text_of(data)), data, draws=100, seed=1)
    images = table.set_index(["method", "measure", "key"])["images"]
    assert images["iqagpt", "accuracy", "lesion_conspicuity"] == 8
    assert images["iqagpt", "mae", "lesion_conspicuity"] == images["iqagpt", "lesion", "sensitivity"] == 4
    assert images["majority", "mae", "lesion_conspicuity"] == 0


def test_the_cells_of_table_4_are_the_accuracies_by_variant(data: Comparison) -> None:
    found = {place: one.value for place, one in variant_estimates(data, "majority").items()}
    expected = accuracy_by_variant(data.truth, data.predictions["majority"])
    for variant, row in expected.items():
        for key, value in row.items():
            assert found[variant, key] == pytest.approx(value)
    assert found["mean", "noise"] == pytest.approx(np.mean([row["noise"] for row in expected.values()]))
    by_variant = measure_by_variant(data)
    assert set(by_variant) == {*METHODS, "score_source"}
    assert by_variant["majority"]["map_nn_d5"]["noise"] == 1.0
    assert by_variant["majority"]["ldct"]["noise"] == 0.0
