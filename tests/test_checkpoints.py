"""Checkpoints: a fit that was stopped ends as if it had not been."""

import dataclasses

import pytest
import torch

from iqagpt import checkpoints
from iqagpt.checkpoints import Checkpoint, key_of, open_checkpoint
from iqagpt.errors import InputError
from iqagpt.scored_images import open_scored_images
from iqagpt.training import Recipe, build_seeded, fit

CPU = torch.device("cpu")
RECIPE = Recipe(
    epochs=6, batch_size=5, lr=0.01, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="best", seed=1,
)  # fmt: skip


class Small(torch.nn.Sequential):
    """Convolution, batch normalisation with running statistics, and dropout."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Conv2d(1, 4, 3, stride=4).to(memory_format=torch.channels_last),
            torch.nn.BatchNorm2d(4),
            torch.nn.Dropout(0.5),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * 16 * 16, 1),
        )


def squared_error(images, device):
    scores = torch.tensor(images.table["noise"].to_numpy(dtype=float), device=device).float()
    return lambda model, batch, indices: (model(batch)[:, 0] - scores[torch.as_tensor(indices)]).square().mean()


class Stopped(Checkpoint):
    """Stops the fit like a signal, after its second checkpoint."""

    saved = 0

    def save(self, state):
        super().save(state)
        self.saved += 1
        if self.saved == 2:
            raise KeyboardInterrupt


@pytest.fixture
def run(scored_run):
    images = open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")

    def run(checkpoint=None, recipe=RECIPE):
        model = build_seeded(Small, 0)
        parts = {"train": images.subset("train"), "val": images.subset("val")}
        curve = fit(model, squared_error, **parts, recipe=recipe, device=CPU, checkpoint=checkpoint)
        return model.state_dict(), curve

    return run


def test_a_stopped_fit_continues_and_ends_in_the_same_bytes(run, tmp_path, caplog):
    weights, curve = run()
    with pytest.raises(KeyboardInterrupt):
        run(Stopped(tmp_path, 0))
    with caplog.at_level("INFO"):
        resumed = Checkpoint(tmp_path, 0)
        again, curve_again = run(resumed)
    assert "continuing after epoch 2 of 6" in caplog.text
    assert curve.equals(curve_again)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    resumed.remove()
    assert not list(tmp_path.iterdir())


def test_another_recipe_starts_anew(run, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(Stopped(tmp_path, 0))
    with caplog.at_level("INFO"):
        run(Checkpoint(tmp_path, 0), dataclasses.replace(RECIPE, lr=0.02))
    assert "continuing" not in caplog.text


def test_a_damaged_checkpoint_is_left_aside(run, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(Stopped(tmp_path, 0))
    (file,) = tmp_path.glob("*/state.pt")
    file.write_bytes(file.read_bytes()[:1000])
    weights, _ = run(Checkpoint(tmp_path, 0))
    assert "starting from the beginning" in caplog.text
    assert all(torch.equal(tensor, run()[0][name]) for name, tensor in weights.items())


def test_checkpoints_keep_their_distance_in_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path, 60)
    assert not checkpoint.due(), "no key yet"
    assert checkpoint.open("key") is None
    assert not checkpoint.due()
    now[0] = 161.0
    assert checkpoint.due()
    checkpoint.save({"epoch": 1})
    assert not checkpoint.due()
    assert checkpoint.open("key") == {"epoch": 1}


def test_key_follows_texts_tensors_and_code(monkeypatch):
    tensors = {"w": torch.zeros(2, 3)}
    keys = {key_of("a", tensors=tensors), key_of("b", tensors=tensors), key_of("a", tensors={"w": torch.ones(2, 3)})}
    keys.add(key_of("a", tensors={"w": torch.zeros(3, 2)}))
    monkeypatch.setattr(checkpoints, "code_version", lambda: "other")
    keys.add(key_of("a", tensors=tensors))
    assert len(keys) == 5


def test_environment_decides_where_and_how_often(monkeypatch, tmp_path):
    monkeypatch.setenv("IQAGPT_CHECKPOINTS", "off")
    assert not open_checkpoint().enabled
    monkeypatch.setenv("IQAGPT_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("IQAGPT_CHECKPOINT_SECONDS", "0")
    checkpoint = open_checkpoint()
    checkpoint.open("key")
    checkpoint.save({})
    assert (tmp_path / "key/state.pt").is_file()


@pytest.mark.parametrize("text", ["often", "-1", "nan"])
def test_a_wrong_interval_is_refused(monkeypatch, text):
    monkeypatch.setenv("IQAGPT_CHECKPOINT_SECONDS", text)
    with pytest.raises(InputError, match=f"IQAGPT_CHECKPOINT_SECONDS: expected seconds from 0, got '{text}'"):
        open_checkpoint()
