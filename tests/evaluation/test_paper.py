"""Printed figures of the paper, checked against the paper's text where it lies beside the repository."""

import re
from pathlib import Path

import pytest

from iqagpt.criteria import KEYS
from iqagpt.evaluation import paper

PAPER = Path(__file__).resolve().parents[2] / "../shared/paper"


@pytest.fixture(scope="module")
def text() -> str:
    files = sorted(PAPER.glob("*.txt"))
    if not files:
        pytest.skip("the paper's text is not beside the repository")
    return re.sub(r"</?b>", "", files[0].read_text(encoding="utf-8"))


def numbers(text: str, start: str, end: str, row: str) -> list[float]:
    table = text[text.index(start) : text.index(end)]
    line = next(line for line in table.splitlines() if line.split("\t")[0].strip() == row)
    return [float(value) for value in re.findall(r"\d\.\d+", line)]


@pytest.mark.parametrize("method", ["iqagpt", "minigpt4"])
def test_table_1(text: str, method: str) -> None:
    printed = numbers(text, "Table 1:", "In Figure 4", paper.NAMES[method])
    assert list(paper.PRINTED[method]["captioning"].values()) == printed


@pytest.mark.parametrize("key", [*KEYS, "mean"])
def test_tables_2_and_3(text: str, key: str) -> None:
    rows = {
        "noise": "Image noise and structural fidelity",
        "small_structures": "Visibility of small structures",
        "lesion_conspicuity": "Subjective visual lesion conspicuity",
        "diagnostic_confidence": "Diagnostic confidence",
        "mean": "Mean",
    }
    accuracies = [paper.PRINTED[method]["accuracy"][key] for method in ("vit_c", "iqagpt")]
    assert accuracies == numbers(text, "Table 2: Performance", "Table 3: Performance", rows[key])
    if key != "lesion_conspicuity":
        methods = ("clip_iqa", "clip_iqa_plus", "vit_r", "iqagpt")
        found = [paper.PRINTED[method][name][key] for method in methods for name in ("plcc", "srocc")]
        assert found == numbers(text, "Table 3: Performance", "Table 4: Accuracy", rows[key])


@pytest.mark.parametrize(("row", "key"), [*((f"Metric {i}", key) for i, key in enumerate(KEYS, 1)), ("Mean", "mean")])
def test_table_4(text: str, row: str, key: str) -> None:
    found = [values[key] for values in paper.PRINTED_BY_VARIANT.values()]
    assert found == numbers(text, "Table 4: Accuracy", "For each image quality level", row)


def test_recomputed_means_show_where_the_paper_does_not_add_up() -> None:
    mean = {
        (method, name): paper.recomputed_mean(values)
        for method, parts in paper.PRINTED.items()
        for name, values in parts.items()
        if "mean" in values
    }
    assert mean["clip_iqa", "srocc"] == pytest.approx(0.152, abs=5e-4)  # printed .114
    assert mean["vit_r", "plcc"] == pytest.approx(0.507, abs=5e-4)  # printed .531
    assert mean["vit_r", "srocc"] == pytest.approx(0.432, abs=5e-4)  # printed .519
    wrong = {key for key, value in mean.items() if abs(value - paper.PRINTED[key[0]][key[1]]["mean"]) > 1.1e-3}
    assert wrong == {("clip_iqa", "srocc"), ("vit_r", "plcc"), ("vit_r", "srocc")}


def test_recomputed_means_of_table_4() -> None:
    found = paper.recomputed_by_variant()
    assert found["mean"]["noise"] == pytest.approx(0.770)  # printed .765
    assert found["mean"]["lesion_conspicuity"] == pytest.approx(0.835)  # printed .820
    assert found["mean"]["small_structures"] == pytest.approx(0.620)
    assert found["map_nn_d3"]["mean"] == pytest.approx(0.530)  # printed .520
    assert found["red_cnn"]["mean"] == pytest.approx(0.870)  # printed .840
    assert found["mean"]["mean"] == pytest.approx(0.7075)  # printed .702
