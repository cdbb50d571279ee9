from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact, open_artifact
from stages.simulate import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path):
    rows, cols = np.mgrid[:96, :96] * 2.0 - 96
    liver = np.hypot(rows, cols) < 45
    with create_artifact(tmp_path / "pairs", "pairs") as writer:
        for name, value in (("ndct", 110), ("ldct", 112)):
            writer.array(name, (5, 96, 96), np.int16)[:] = np.where(liver, value, -90)
        writer.array("organs", (5, 96, 96), np.uint8)[:] = np.where(liver, 5, 0)
        table = {"slice_id": [f"A_{k:03d}" for k in range(5)], "patient_id": "A", "pixel_spacing_mm": 2.0}
        writer.manifest(pd.DataFrame({**table, "has_organ_map": 1, "row": range(5)}))
        writer.info |= {"window_hu": [-160.0, 240.0], "data_source": "made for tests"}

    def run(**changes):
        section = yaml.safe_load((ROOT / "params.yaml").read_text())["simulate"] | changes
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"simulate": section}))
        options = {"--pairs": "pairs", "--output": "lesions", "--params": "params.yaml"}
        return CliRunner().invoke(app, [part for key, name in options.items() for part in (key, str(tmp_path / name))])

    return run


def test_the_stage_writes_its_artifact(run, tmp_path):
    result = run()
    assert result.exit_code == 0, result.output
    lesions = open_artifact(tmp_path / "lesions", "lesions")
    assert lesions.info["window_hu"] == [-160.0, 240.0]
    assert lesions.info["data_source"] == "made for tests"
    assert lesions.manifest["has_lesion"].sum() == 2
    assert lesions.manifest.columns[-5:].tolist() == [
        "has_lesion", "lesion_row_px", "lesion_col_px", "lesion_diameter_mm", "lesion_contrast_hu",
    ]  # fmt: skip
    types = {name: lesions.array(name).dtype for name in ("ndct", "ldct", "lesion_mask")}
    assert types == {"ndct": np.int16, "ldct": np.int16, "lesion_mask": np.uint8}


def test_a_second_run_gives_equal_bytes(run, tmp_path):
    run()
    before = {file.name: file.read_bytes() for file in (tmp_path / "lesions").iterdir()}
    assert run().exit_code == 0
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "lesions").iterdir()}


def test_a_bad_value_ends_in_one_message(run, tmp_path):
    result = run(fraction=40)
    assert result.exit_code == 1
    assert "simulate.fraction: expected 0 to 1, got 40" in result.output
    assert not (tmp_path / "lesions").exists()


def test_missing_pairs_end_in_one_message(run, tmp_path):
    (tmp_path / "pairs" / "artifact.json").unlink()
    result = run()
    assert result.exit_code == 1
    assert "run dvc repro" in result.output
