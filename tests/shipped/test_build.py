"""Shipping: a finished run's captioner goes into the package with a card that states its own figures."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact
from iqagpt.criteria import KEYS
from iqagpt.shipped import build

INFO = {
    "config": {"image_size": 512},
    "window_hu": [-160.0, 240.0],
    "weights_sha256": "5b6b",
}
PARAMS = {
    "phantom": {"patients": 40, "seed": 20241},
    "ingest": {"pairs": 480},
    "split": {"test_patients": 4, "val_patients": 3},
    "denoise": {"extra": ["gauss", "tv"]},
    "train": {"epochs": 9, "batch_size": 16, "lr": 0.001, "seed": 1},
}


@pytest.fixture
def run(tmp_path):
    """A finished run's files, with numbers that can be found again."""
    with create_artifact(tmp_path / "models", "captioner") as writer:
        writer.info |= INFO
        (writer.path / "weights.safetensors").write_bytes(b"w" * 2_500_000)
        (writer.path / "tokenizer.json").write_text("{}")
        (writer.path / "curve.csv").write_text("epoch\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    keys = [*KEYS, "mean"]
    own = {
        "accuracy": {key: 0.7 + i / 1000 for i, key in enumerate(keys)},
        "plcc_expected": {key: 0.8 + i / 1000 for i, key in enumerate(keys) if key != "lesion_conspicuity"},
        "srocc_expected": {key: 0.9 + i / 1000 for i, key in enumerate(keys) if key != "lesion_conspicuity"},
    }
    evaluated = {"iqagpt": own, "majority": {"accuracy": {"mean": 0.357}}, "n_images": 960, "n_patients": 4}
    metrics = {
        "evaluate": {**evaluated, "score_source": "simulated"},
        "read": {"simulated": {"ceiling": {"accuracy": {key: 0.95 + i / 1000 for i, key in enumerate(keys)}}}},
        "train": {"epoch": 6},
    }
    (tmp_path / "metrics").mkdir()
    for name, values in metrics.items():
        (tmp_path / "metrics" / f"{name}.json").write_text(json.dumps(values))
    return tmp_path


def ship(run):
    options = [f"--{name}={run / path}" for name, path in (("model", "models"), ("params", "params.yaml"))]
    target = run / "captioner"
    return CliRunner().invoke(build.app, [*options, f"--metrics={run / 'metrics'}", f"--target={target}"]), target


def test_files_and_card(run):
    result, target = ship(run)
    assert result.exit_code == 0, result.output
    assert {path.name for path in target.iterdir()} == {*build.FILES, build.CARD}
    card = (target / build.CARD).read_text()
    for stated in (
        "not for diagnosis",
        "simulated reader",
        "40 phantom patients",
        "480 slices",
        "gauss, tv",
        "2.5 MB",
        "5b6b",
    ):
        assert stated in card
    assert "| Subjective visual lesion conspicuity | 0.702 | 0.952 | - | - |" in card
    assert "| mean | 0.704 | 0.954 | 0.804 | 0.904 |" in card
    assert "`majority` 0.357" in card
    assert "epoch 6" in card


def test_an_unfinished_run_ships_nothing(run):
    (run / "metrics" / "evaluate.json").unlink()
    result, target = ship(run)
    assert result.exit_code == 1
    assert "evaluate.json: missing; run dvc repro" in result.stderr
    assert not target.exists()


def test_large_weights_are_refused(run):
    (run / "models" / "weights.safetensors").write_bytes(b"w" * (build.MAX_BYTES + 1))
    result, target = ship(run)
    assert result.exit_code == 1
    assert "at most 16000000" in result.stderr
    assert not target.exists()
