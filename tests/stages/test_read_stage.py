import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import open_artifact
from iqagpt.criteria import KEYS
from stages.read import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path, scored_run):
    variants = tmp_path / "variants"
    variants.mkdir()
    for file in (scored_run / "variants").iterdir():
        (variants / file.name).symlink_to(file)
    mask = np.zeros_like(np.load(variants / "ndct.npy"), np.uint8)
    mask[:, 25:35, 25:35] = 1
    np.save(variants / "lesion_mask.npy", mask)

    def run(**changes):
        section = yaml.safe_load((ROOT / "params.yaml").read_text())["read"] | changes
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"read": section}))
        names = {"--variants": "variants", "--output": "scores", "--metrics": "read.json", "--params": "params.yaml"}
        return CliRunner().invoke(app, [part for key, name in names.items() for part in (key, str(tmp_path / name))])

    return run


def test_the_simulated_reader_says_so(run, tmp_path):
    result = run()
    assert result.exit_code == 0, result.output
    scores = open_artifact(tmp_path / "scores", "scores")
    assert scores.info["score_source"] == "simulated"
    assert set(scores.manifest["score_source"]) == {"simulated"}
    metrics = json.loads((tmp_path / "read.json").read_text())["simulated"]
    assert metrics["images"] == len(scores.manifest)
    assert 0 < metrics["ceiling"]["accuracy"]["mean"] <= 1
    measures = scores.table("measures")
    assert measures["image_id"].tolist() == scores.manifest["image_id"].tolist()
    assert {f"{key}_severity" for key in KEYS} <= set(measures.columns)


def test_a_second_run_gives_equal_bytes(run, tmp_path):
    run()
    before = [(tmp_path / name).read_bytes() for name in ("scores/manifest.csv", "scores/measures.csv", "read.json")]
    run()
    assert before == [
        (tmp_path / name).read_bytes() for name in ("scores/manifest.csv", "scores/measures.csv", "read.json")
    ]


def test_a_readers_table_takes_the_place_of_the_simulated_reader(run, tmp_path):
    images = open_artifact(tmp_path / "variants", "variants").manifest
    table = images[["image_id"]].assign(
        noise=2,
        small_structures=3,
        lesion_conspicuity=np.where(images["has_lesion"] == 1, "4", "N/A"),
        diagnostic_confidence=1,
    )
    table.to_csv(tmp_path / "mine.csv", index=False)
    result = run(table=str(tmp_path / "mine.csv"))
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "read.json").read_text())
    assert list(metrics) == ["reader"]
    assert "ceiling" not in metrics["reader"]
    assert metrics["reader"]["distribution"]["lesion_conspicuity"]["no lesion"] == 0.5
    assert set(open_artifact(tmp_path / "scores", "scores").manifest["score_source"]) == {"reader"}


def test_a_bad_table_ends_in_one_message_and_leaves_nothing(run, tmp_path):
    (tmp_path / "mine.csv").write_text("image_id,noise,small_structures,lesion_conspicuity,diagnostic_confidence\n")
    result = run(table=str(tmp_path / "mine.csv"))
    assert result.exit_code == 1
    assert "mine.csv" in result.output
    assert "no row for 48 of 48 images" in result.output
    assert not (tmp_path / "scores").exists()
    assert not (tmp_path / "read.json").exists()
