"""The stage ``page``: what it writes, and one message for what it cannot use."""

import shutil
from pathlib import Path

import pytest

from iqagpt.artifacts import open_artifact
from tests.page.conftest import build_page


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("page", "again"))


def test_writes_a_page_and_one_for_every_patient(run: Path) -> None:
    result = build_page(run)
    assert result.exit_code == 0
    page = open_artifact(run / "page", "page")
    assert page.manifest["file"].tolist() == ["index.html", "patient_P5.html", "patient_P6.html"]
    assert page.info["score_source"] == "simulated"


def test_fewer_slices_make_a_smaller_page(run: Path) -> None:
    assert build_page(run, "two").exit_code == 0
    assert build_page(run, "one", slices=1).exit_code == 0
    sizes = [len((run / name / "index.html").read_bytes()) for name in ("one", "two")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": 0}, "page.slices: expected 1 to 100, got 0"),
        ({"slice": 3}, "page.slice: unknown key"),
        ({"range_hu": [-100, 100]}, "page.range_hu: expected to include the display window"),
    ],
)
def test_bad_params_are_one_line_and_leave_nothing(changes: dict, message: str, run: Path) -> None:
    result = build_page(run, **changes)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (run / "page").exists()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("figures/figures.json", "run dvc repro explain"),
        ("metrics/evaluate.json", "evaluate.json: cannot be read"),
        ("results/artifact.json", "no 'results' artifact"),
        ("predictions/iqagpt.csv", "no such table"),
        ("variants/ndct.npy", "ndct.npy: cannot be read as an array"),
    ],
)
def test_missing_input_is_one_line(lost: str, message: str, run: Path) -> None:
    (run / lost).unlink()
    result = build_page(run)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (run / "page").exists()
