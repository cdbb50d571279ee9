"""The statistics beyond the paper's tables, for reading: every section, whatever is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from iqagpt.criteria import KEYS
from iqagpt.evaluation import comparison
from iqagpt.evaluation.comparison import Comparison
from iqagpt.evaluation.results import Results, evaluate
from iqagpt.evaluation.statistics_text import render_statistics
from iqagpt.evaluation.tables import EvaluateParams
from tests.evaluation.prediction_tables import count_equal
from tests.evaluation.scored_tables import method, reader, with_probabilities

METHODS = ("vit_r", "majority_by_variant")


@pytest.fixture(scope="module")
def results() -> Results:
    truth = reader(patients=7).assign(score_source="simulated", caption="a b c d")
    tables = {
        "iqagpt": with_probabilities(method(truth, error=0.3)),
        "vit_r": method(truth, error=0.8, fractional=True),
        "majority_by_variant": truth[["image_id", *KEYS]].assign(unparsed=""),
    }
    tables = {name: table.assign(caption="a b c d") for name, table in tables.items()}
    test = Comparison("test", truth, tables, "made for tests")
    empty = Comparison(
        "val", truth.iloc[:0], {name: table.iloc[:0] for name, table in tables.items()}, "made for tests"
    )
    rng = np.random.default_rng(0)
    near = pd.DataFrame(rng.random((len(truth), 3)), columns=["psnr_db", "ssim", "rmse_hu"])
    near[truth["variant"] == "ndct"] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "count_captions", count_equal)
        return evaluate(test, empty, EvaluateParams(METHODS, 200, 1), near)


def section(results: Results, title: str) -> str:
    text = render_statistics(results.test, results.tables, results.metrics)
    return text[text.index(f"## {title}") :].split("\n## ")[0]


def test_rivals_have_differences_tests_and_the_smallest_p(results: Results) -> None:
    text = section(results, "IQAGPT less each rival")
    row = next(line for line in text.splitlines() if line.startswith("| vit_r "))
    difference = results.metrics["vit_r"]["behind_iqagpt"]["difference"]
    assert f"{difference:.3f} [" in row
    assert difference == pytest.approx(
        results.metrics["iqagpt"]["accuracy"]["mean"] - results.metrics["vit_r"]["accuracy"]["mean"]
    )
    assert "over 7 patients" in text
    assert "the smallest it can give is 0.0156" in text
    assert "- (oracle)" in next(line for line in text.splitlines() if line.startswith("| majority_by_variant"))


def test_every_other_section_has_its_numbers(results: Results) -> None:
    kappa = results.metrics["iqagpt"]["kappa_quadratic"]["mean"]
    assert f"{kappa:.3f} [" in section(results, "Ordinal measures")
    assert "have a lesion by the reader's scores" in section(results, "Lesions")
    confusion = section(results, "Confusion of IQAGPT")
    assert all(f"| {name}" in confusion for name in ("Noise", "Small structures", "Lesion", "Confidence"))
    rps = results.metrics["iqagpt"]["rps"]["mean"]
    calibration = section(results, "Calibration")
    assert f"| iqagpt | {rps:.3f} [" in calibration
    assert "vit_r" not in calibration
    fidelity = section(results, "PSNR, SSIM and RMSE")
    assert "| map_nn_d2 |" in fidelity
    assert "| ndct " not in fidelity
    audits = section(results, "Audits")
    assert "| reader " in audits
    assert "chance 0.200" in audits
    assert "falling" in audits


def test_what_is_not_known_is_said(results: Results) -> None:
    tables = {name: table for name, table in results.tables.items() if not name.startswith("fidelity")}
    predictions = {m: t[["image_id", *KEYS, "unparsed"]] for m, t in results.test.predictions.items()}
    data = Comparison("test", results.test.truth, predictions, "made for tests")
    estimates = tables["estimates"]
    tables["estimates"] = estimates[~estimates["measure"].isin(["rps", "brier", "mae_expected"])]
    text = render_statistics(data, tables, results.metrics)
    assert "No method gives probabilities." in text
    assert "No image has a reference to compare it with." in text


def test_a_criterion_that_was_not_asked_for_has_no_column(results: Results) -> None:
    asked = tuple(key for key in KEYS if key != "lesion_conspicuity")
    text = render_statistics(replace(results.test, criteria=asked), results.tables, results.metrics)
    head = text[text.index("## PSNR") :].split("| Measure |", 1)[1].splitlines()[0]
    assert "Noise" in head
    assert "Lesion" not in head


def test_metrics_are_finite_and_have_intervals(results: Results) -> None:
    own = results.metrics["iqagpt"]
    assert {"plcc_expected", "rps", "brier", "calibration_error", "lesion", "variant_guess"} <= set(own)
    for measure, keys in own["interval"].items():
        for key, ends in keys.items():
            assert ends["lower"] <= own[measure][key] + 0.05, (measure, key)
            assert ends["upper"] >= own[measure][key] - 0.05, (measure, key)
    assert results.val == {"n_images": 0}
