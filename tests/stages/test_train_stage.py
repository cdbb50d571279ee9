"""Stage ``train``: killed and started again; in several processes. Stages ``pretrain`` and ``baseline`` likewise."""

import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from iqagpt.artifacts import create_artifact
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.objectives import OBJECTIVES
from iqagpt.captioner.pretrained import KIND, save_pretrained
from iqagpt.captioner.text_stack import TextParams

REPOSITORY = Path(__file__).resolve().parents[2]
ENCODER = EncoderParams("conv", 16, 32, 1, 2)
RECIPE = {
    "epochs": 24, "batch_size": 8, "lr": 2.0e-3, "warmup_epochs": 1, "warmup_lr": 1.0e-5, "min_lr": 1.0e-6,
    "weight_decay": 0.02, "beta2": 0.95, "clip_norm": 1.0, "augment": True, "keep": "best", "seed": 1,
}  # fmt: skip
TEXT = TextParams(32, 1, 1, 2, 64, 0.1)
PRETRAINING = {
    "source": "objectives", "weights": "presets/none.txt", "encoder": dataclasses.asdict(ENCODER),
    "text": dataclasses.asdict(TEXT), "objectives": dict.fromkeys(OBJECTIVES, 1.0) | {"lesion": 0.0},
    "settings": {
        "embedding": 16, "queue": 64, "momentum": 0.9, "distillation": 0.4, "temperature": 0.07, "masked_words": 0.15,
        "emphasis": 6.0, "masked_patches": 0.3,
    },
    **{key: value for key, value in RECIPE.items() if key not in ("augment", "keep")},
}  # fmt: skip
PARAMS = {
    "pretrain": PRETRAINING,
    "train": RECIPE,
    "baseline": {"vit_c": {"hidden": 16, **RECIPE}},
}
#: Options of each stage beside those of all.
STAGES = {
    "pretrain": ["--metrics", "metrics.json"],
    "train": ["--pretrained=../pretrained", "--metrics", "metrics.json"],
    "baseline vit_c": ["--pretrained=../pretrained", "--predictions", "predictions.csv"],
}


@pytest.fixture
def start(scored_run, tmp_path):
    """Start a stage in a process of its own, in a new folder, with checkpoints after every epoch."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    with create_artifact(tmp_path / "pretrained", KIND) as writer:
        save_pretrained(writer, ENCODER, TEXT)
    inputs = [f"--{kind}={scored_run / kind}" for kind in ("variants", "captions", "split")]

    def start(
        stage: str, folder: str, epochs: int = RECIPE["epochs"], batch_size: int = 8, **variables: str
    ) -> subprocess.Popen:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        params = yaml.safe_load((tmp_path / "params.yaml").read_text())
        for section in (params["pretrain"], params["train"], params["baseline"]["vit_c"]):
            section.update(epochs=epochs, batch_size=batch_size)
        (place / "params.yaml").write_text(yaml.safe_dump(params))
        name, *item = stage.split()
        command = [sys.executable, "-m", f"stages.{name}", *item, *inputs, "--output", "model", *STAGES[stage]]
        environment = {
            "IQAGPT_CHECKPOINT_SECONDS": "0",
            "IQAGPT_DEVICE": "cpu",
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "PYTHONPATH": str(REPOSITORY),
        }
        return subprocess.Popen(
            command, cwd=place, env={**os.environ, **environment, **variables}, stderr=subprocess.PIPE, text=True
        )

    return start


def outputs(place: Path) -> dict[str, str]:
    files = [file for file in place.rglob("*") if file.is_file()]
    return {file.relative_to(place).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_started_again_it_ends_in_the_same_bytes(stage, start, tmp_path):
    undisturbed = start(stage, "undisturbed")
    assert undisturbed.wait() == 0, undisturbed.stderr.read()
    killed = start(stage, "killed")
    while not list((tmp_path / "killed").glob(".iqagpt/checkpoints/*/state.pt")):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "killed/model").exists()
    again = start(stage, "killed")
    messages = again.communicate()[1]
    assert again.returncode == 0, messages
    assert "continuing after epoch" in messages
    assert "model/weights.safetensors" in outputs(tmp_path / "killed")
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "undisturbed")


def test_two_processes_write_one_artifact(start, tmp_path):
    stage = start("train", "two", epochs=2, IQAGPT_PROCESSES="2", OMP_NUM_THREADS="1")
    messages = stage.communicate()[1]
    assert stage.returncode == 0, messages
    assert "2 processes share each batch" in messages
    assert messages.count("epoch 2 of 2") == 1
    assert {"model/weights.safetensors", "model/curve.csv", "metrics.json"} < set(outputs(tmp_path / "two"))


def test_processes_without_an_image_each_are_refused_without_a_traceback(start):
    stage = start("train", "many", epochs=1, batch_size=1, IQAGPT_PROCESSES="2", OMP_NUM_THREADS="1")
    messages = stage.communicate()[1]
    assert stage.returncode == 1
    assert "train: error: IQAGPT_PROCESSES: 2 processes, but a batch has 1 images; use at most 1" in messages
    assert "Traceback" not in messages
