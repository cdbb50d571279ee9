import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import open_artifact
from iqagpt.criteria import KEYS
from stages.caption import app as caption_app
from stages.read import app

ROOT = Path(__file__).resolve().parents[2]


FILES = [
    "scores/manifest.csv", "scores/measures.csv", "scores/agreement.csv", "scores/distribution.csv",
    "read.json",
]  # fmt: skip


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
    run(readers=2)
    before = [(tmp_path / name).read_bytes() for name in FILES]
    run(readers=2)
    assert before == [(tmp_path / name).read_bytes() for name in FILES]


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


def test_several_simulated_readers(run, tmp_path):
    run(readers=1)
    alone = open_artifact(tmp_path / "scores", "scores")
    assert not (alone.path / "agreement.csv").exists()
    alone = alone.manifest
    result = run(readers=3, between=0.3)
    assert result.exit_code == 0, result.output
    scores = open_artifact(tmp_path / "scores", "scores")
    assert scores.info["readers"] == ["simulated_1", "simulated_2", "simulated_3"]
    manifest = scores.manifest
    assert len(manifest) == 4 * len(alone)
    first = manifest[manifest["reader"] == "simulated_1"].reset_index(drop=True)
    assert first[list(KEYS)].equals(alone[list(KEYS)]), "further readers change nothing for the first"
    learned = manifest[manifest["consensus"] == 1]
    assert learned["image_id"].tolist() == alone["image_id"].tolist()
    assert set(learned["reader"]) == {"median"}
    metrics = json.loads((tmp_path / "read.json").read_text())["simulated"]
    assert metrics["readers"] == 3
    assert metrics["images"] == len(alone)
    assert {"raw_agreement", "krippendorff_alpha", "icc_2_k"} <= set(metrics["agreement"]["noise"])
    assert "lesion_conspicuity_present" not in metrics["agreement"], "simulated readers are told where lesions are"
    assert set(scores.table("agreement")["readers"]) >= {"all", "simulated_1 / simulated_3"}
    assert len(scores.table("distribution")) == len(alone)


def test_captions_are_made_of_the_consensus(run, tmp_path):
    run(readers=3, between=0.5, consensus="simulated_2")
    (tmp_path / "params.yaml").write_text("caption: {vocabulary: presets/none.txt}")
    names = {"--scores": "scores", "--output": "captions", "--params": "params.yaml"}
    options = [part for key, name in names.items() for part in (key, str(tmp_path / name))]
    result = CliRunner().invoke(caption_app, options)
    assert result.exit_code == 0, result.output
    manifest = open_artifact(tmp_path / "scores", "scores").manifest
    second = manifest[manifest["reader"] == "simulated_2"].reset_index(drop=True)
    captions = open_artifact(tmp_path / "captions", "captions").manifest
    assert captions["image_id"].is_unique
    assert captions[["image_id", *KEYS]].equals(second[["image_id", *KEYS]])
    for kind in ("scores", "captions"):
        assert open_artifact(tmp_path / kind, kind).info["data_source"] == "SYNTHETIC flat images"


def test_two_real_readers_in_a_long_table(run, tmp_path):
    images = open_artifact(tmp_path / "variants", "variants").manifest
    table = pd.DataFrame([
        {"slice_id": image.slice_id, "variant": image.variant, "reader": reader, "criterion": key,
         "score": score if image.has_lesion or key != "lesion_conspicuity" else "N/A"}
        for image in images.itertuples() for reader, score in (("B", 2), ("A", 3)) for key in KEYS
    ])  # fmt: skip
    table.to_csv(tmp_path / "mine.csv", index=False)
    result = run(table=str(tmp_path / "mine.csv"))
    assert result.exit_code == 0, result.output
    scores = open_artifact(tmp_path / "scores", "scores")
    assert scores.manifest["reader"].tolist() == ["A", "B", "median"] * len(images)
    assert set(scores.manifest.loc[scores.manifest["reader"] == "median", "noise"]) == {3}
    metrics = json.loads((tmp_path / "read.json").read_text())["reader"]
    assert metrics["agreement"]["noise"]["raw_agreement"] == 0
    assert metrics["agreement"]["lesion_conspicuity_present"]["kappa"] == 1
    result = run(table=str(tmp_path / "mine.csv"), consensus="C")
    assert result.exit_code == 1
    assert "read.consensus: no reader 'C'; expected median, or one of A, B" in result.output


def test_a_bad_table_ends_in_one_message_and_leaves_nothing(run, tmp_path):
    (tmp_path / "mine.csv").write_text("image_id,noise,small_structures,lesion_conspicuity,diagnostic_confidence\n")
    result = run(table=str(tmp_path / "mine.csv"))
    assert result.exit_code == 1
    assert "mine.csv" in result.output
    assert "no row for 48 of 48 images" in result.output
    assert not (tmp_path / "scores").exists()
    assert not (tmp_path / "read.json").exists()
