"""Truth and predictions brought together; the content of the metrics files."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iqagpt.artifacts import write_table
from iqagpt.errors import ArtifactError
from iqagpt.evaluation import comparison
from iqagpt.evaluation.comparison import (
    SHUFFLED,
    Comparison,
    captioning,
    class_table,
    load_comparison,
    score_table,
)
from tests.evaluation.prediction_tables import METHODS, count_equal, from_captions, perfect, write_predictions

BASELINES = METHODS[1:]


@pytest.fixture
def folder(tmp_path: Path, scored_run: Path) -> Path:
    return write_predictions(tmp_path / "predictions", scored_run)


def load(folder: Path, run: Path, name: str = "test", baselines: tuple[str, ...] = BASELINES) -> Comparison:
    return load_comparison(folder, run / "captions", run / "split", baselines=baselines, name=name)


def test_rows_follow_the_truth_whatever_the_order_in_the_table(folder: Path, scored_run: Path) -> None:
    write_table(folder / "iqagpt.csv", perfect(scored_run, "iqagpt").iloc[::-1])
    data = load(folder, scored_run)
    assert data.predictions["iqagpt"]["image_id"].tolist() == data.truth["image_id"].tolist()
    assert data.truth["patient_id"].unique().tolist() == ["P6"]
    assert list(data.predictions) == list(METHODS)
    assert data.score_source == "simulated"


def test_only_the_listed_methods_are_read(folder: Path, scored_run: Path) -> None:
    (folder / "stale.csv").write_text("not,a,table\n")
    assert list(load(folder, scored_run, baselines=("vit_r",)).predictions) == ["iqagpt", "vit_r"]


@pytest.mark.parametrize(("name", "stage"), [("iqagpt", "predict"), ("vit_r", "baseline@vit_r")])
def test_missing_table_names_the_stage_to_run(folder: Path, scored_run: Path, name: str, stage: str) -> None:
    (folder / f"{name}.csv").unlink()
    with pytest.raises(ArtifactError, match=f"no predictions of '{name}'.*dvc repro {stage}"):
        load(folder, scored_run)


def test_missing_image_is_named(folder: Path, scored_run: Path) -> None:
    table = perfect(scored_run, "vit_r")
    write_table(folder / "vit_r.csv", table[table["image_id"] != "P6_000_ldct"])
    with pytest.raises(ArtifactError, match="no prediction for test image 'P6_000_ldct' \\(1 missing of 8\\)"):
        load(folder, scored_run)


def test_missing_truth_is_an_error(folder: Path, scored_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(scored_run, tmp_path / "run", ignore=shutil.ignore_patterns("variants"))
    file = run / "captions/manifest.csv"
    lines = file.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("P6_000_ldct,"))
    noise = lines[0].split(",").index("noise")
    cells = lines[row].split(",")
    lines[row] = ",".join([*cells[:noise], "", *cells[noise + 1 :]])
    file.write_text("\n".join(lines))
    with pytest.raises(ArtifactError, match="noise of 'P6_000_ldct' is empty"):
        load(folder, run)


def test_a_patient_on_two_sides_stops_the_evaluation(folder: Path, scored_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(scored_run, tmp_path / "run", ignore=shutil.ignore_patterns("variants"))
    file = run / "split/manifest.csv"
    file.write_text(file.read_text().replace("P6_001,P6,test", "P6_001,P6,train"))
    with pytest.raises(ArtifactError, match="patient_id 'P6' is in test and train"):
        load(folder, run)


def test_all_splits_and_methods_are_scored_in_one_call(
    folder: Path, scored_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def record(corpora: dict[str, tuple[list[str], list[str]]]) -> dict[str, np.ndarray]:
        calls.append(corpora)
        return count_equal(corpora)

    monkeypatch.setattr(comparison, "count_captions", record)
    found = captioning([load(folder, scored_run), load(folder, scored_run, name="val")])
    assert len(calls) == 1
    assert set(found["test"]) == set(found["val"]) == {*METHODS, SHUFFLED}
    rouge = {method: counts[:, 1].mean() for method, counts in found["test"].items()}
    assert rouge["iqagpt"] == 1
    assert rouge[SHUFFLED] < 1
    references, shuffled = calls[0][f"test: {SHUFFLED}"]
    assert sorted(references) == sorted(shuffled)
    captioning([load(folder, scored_run)])
    assert calls[1][f"test: {SHUFFLED}"] == (references, shuffled)


def test_no_val_image_needs_no_java(scored_run: Path, folder: Path) -> None:
    data = load(folder, scored_run, name="val")
    empty = replace(
        data, split="val", truth=data.truth.iloc[:0], predictions={m: t.iloc[:0] for m, t in data.predictions.items()}
    )
    assert captioning([empty]) == {"val": {}}


def test_plot_tables(folder: Path, scored_run: Path) -> None:
    table = perfect(scored_run, "iqagpt")
    captions = table["caption"].str.replace("fidelity", "fidelty").tolist()
    write_table(folder / "iqagpt.csv", from_captions(table, captions))
    data = load(folder, scored_run)
    classes = class_table(data)
    assert list(classes) == ["criterion", "truth", "predicted"]
    assert len(classes) == 8 * 4
    assert set(classes.loc[classes["criterion"] == "noise", "predicted"]) == {"unparsed"}
    assert set(classes.loc[classes["criterion"] == "lesion_conspicuity", "truth"]) == {"none", "1", "2", "3", "4"}
    pairs = score_table(data)
    assert list(pairs) == ["image_id", "method", "criterion", "variant", "truth", "predicted"]
    assert pairs["criterion"].value_counts().to_dict() == {
        "small_structures": 8, "diagnostic_confidence": 8, "lesion_conspicuity": 4,
    }  # fmt: skip
    assert pairs.notna().all(axis=None)
