"""The stage `split` as a command."""

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact, open_artifact
from stages.split import app


def run(tmp_path, **changes):
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"split": {"test_patients": 2, "val_patients": 1, "fold": 1, **changes}}))
    arguments = ["--pairs", tmp_path / "pairs", "--output", tmp_path / "split", "--params", params]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def write_pairs(tmp_path, patients, *, same=False, pretrain=()):
    ids = [patient for patient in patients for _ in range(2)]
    with create_artifact(tmp_path / "pairs", "pairs") as writer:
        ndct = writer.array("ndct", (len(ids), 8, 8), np.int16)
        ndct[:] = np.random.default_rng(0).integers(-160, 240, size=ndct.shape)
        if same:
            ndct[-1] = ndct[0]
        marked = [int(patient in pretrain) for patient in ids]
        slice_ids = [f"{patient}_{i % 2:03d}" for i, patient in enumerate(ids)]
        writer.manifest(
            pd.DataFrame({"slice_id": slice_ids, "patient_id": ids, "row": range(len(ids)), "pretrain": marked})
        )


def test_split_table_and_fold(tmp_path):
    write_pairs(tmp_path, ["L001", "L002", "L003", "L004"])
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "split", "split")
    assert artifact.info["fold"] == 1
    table = artifact.manifest
    assert list(table.columns) == ["slice_id", "patient_id", "split"]
    assert list(table["split"]) == ["train"] * 2 + ["val"] * 2 + ["test"] * 4
    first = {path.name: path.read_bytes() for path in artifact.path.iterdir()}
    run(tmp_path)
    assert {path.name: path.read_bytes() for path in artifact.path.iterdir()} == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 2}, "split.fold: expected 0 to 1"),
        ({"val_patients": 3}, "need 6 patients, but there are 4"),
        ({"test_patients": "two"}, "split.test_patients: expected a whole number, got 'two'"),
        ({"folds": 1}, "split.folds: unknown key (did you mean 'fold'?)"),
    ],
)
def test_bad_params_leave_no_output(tmp_path, changes, message):
    write_pairs(tmp_path, ["L001", "L002", "L003", "L004"])
    result = run(tmp_path, **changes)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "split").exists()


def test_missing_pairs(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "no 'pairs' artifact here" in result.output


def test_leak_between_patients_is_refused(tmp_path):
    write_pairs(tmp_path, ["L001", "L002", "L003", "L004"], same=True)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "L001_000 and L004_001 are the same image" in result.output
    assert not (tmp_path / "split").exists()


def test_marked_patients_neither_train_nor_test(tmp_path):
    write_pairs(tmp_path, ["L001", "L002", "L003", "L004", "L005", "L006"], pretrain=["L002", "L006"])
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    table = open_artifact(tmp_path / "split", "split").manifest
    sides = dict(zip(table["patient_id"], table["split"], strict=True))
    assert sides == {
        "L001": "train", "L002": "pretrain", "L003": "val", "L004": "test", "L005": "test", "L006": "pretrain",
    }  # fmt: skip
