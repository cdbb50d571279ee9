"""The stages `pretrain` and `train` as commands: what one writes, the other starts from."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import open_artifact
from stages import pretrain, train

REPOSITORY = Path(__file__).resolve().parents[2]


def run(folder, scored_run, **changes):
    params = yaml.safe_load((REPOSITORY / "presets/smoke.yaml").read_text(encoding="utf-8"))
    params["pretrain"] |= changes
    params["train"] |= {"epochs": 1}
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    names = ("variants", "captions", "split")
    inputs = [word for name in names for word in (f"--{name}", str(scored_run / name))] + ["--params", str(file)]
    written = ["--output", str(folder / "pretrained"), "--metrics", str(folder / "pretrain.json")]
    result = CliRunner().invoke(pretrain.app, [*inputs, *written])
    if result.exit_code == 0:
        start = ["--pretrained", str(folder / "pretrained")]
        written = ["--output", str(folder / "iqagpt"), "--metrics", str(folder / "train.json")]
        after = CliRunner().invoke(train.app, [*inputs, *start, *written])
        assert after.exit_code == 0, after.output
    return result


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("IQAGPT_DEVICE", "cpu")
    monkeypatch.chdir(REPOSITORY)


def test_pretrained_weights_reach_the_captioner(tmp_path, scored_run):
    for name, source in (("none", "none"), ("objectives", "objectives")):
        (tmp_path / name).mkdir()
        result = run(tmp_path / name, scored_run, source=source)
        assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "objectives/pretrain.json").read_text())
    assert set(metrics["losses"]) == {"contrast", "language", "image", "matching"}
    assert json.loads((tmp_path / "none/pretrain.json").read_text()) == {"source": "none"}
    curve = open_artifact(tmp_path / "objectives/pretrained", "pretrained").table("curve")
    assert list(curve.columns) == ["epoch", "lr", "contrast", "language", "image", "matching", "lesion"]
    shas = [open_artifact(tmp_path / n / "iqagpt", "captioner").info["weights_sha256"] for n in ("none", "objectives")]
    assert shas[0] != shas[1]


def test_bad_source_leaves_no_output(tmp_path, scored_run):
    result = run(tmp_path, scored_run, source="checkpoint", weights=str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert "pretrain.weights" in result.output
    assert not (tmp_path / "pretrained").exists()
    assert not (tmp_path / "pretrain.json").exists()
