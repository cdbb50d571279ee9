"""Published checkpoints: both repositories' keys and scales, nothing run from a pickle."""

import argparse
import os
import pickle

import pytest
import torch
from typer.testing import CliRunner

from iqagpt.cli import app
from iqagpt.denoise import red_cnn_checkpoint
from iqagpt.denoise.red_cnn import RedCNN, import_weights
from iqagpt.denoise.red_cnn_checkpoint import BENCHMARK_MEAN, BENCHMARK_SD, Source, convert_checkpoint
from iqagpt.errors import InputError


@pytest.fixture(scope="module")
def published():
    """Random weights of the published shapes, of which the residual is about as strong as the image."""
    torch.manual_seed(0)
    return RedCNN(96)


def imported(checkpoint, tmp_path, source):
    file = tmp_path / "in.ckpt"
    torch.save(checkpoint, file)
    convert_checkpoint(file, tmp_path / "out.safetensors", source)
    model = RedCNN(96)
    model.load_state_dict(import_weights(tmp_path / "out.safetensors")[0])
    return model


@pytest.mark.parametrize("prefix", ["", "module."])
def test_ssinyu_is_taken_as_it_is(prefix, published, tmp_path):
    state = {f"{prefix}{key}": value for key, value in published.state_dict().items()}
    model = imported(state, tmp_path, Source.SSINYU)
    for key, value in model.state_dict().items():
        assert torch.equal(value, published.state_dict()[key]), key


@torch.no_grad()
def test_ldct_benchmark_gives_the_same_hu_though_its_scale_differs(published, tmp_path):
    args = argparse.Namespace(trainer="redcnn", lr=9.583e-5)
    checkpoint = {"args": args, "iteration": 5, "model_state_dict": published.state_dict()}
    model = imported(checkpoint, tmp_path, Source.LDCT_BENCHMARK)
    raw = 1024 + 200 * torch.randn(1, 1, 40, 40)
    theirs = (raw - BENCHMARK_MEAN) / BENCHMARK_SD
    wanted = (published.residual(theirs) + theirs) * BENCHMARK_SD + BENCHMARK_MEAN
    assert (wanted - raw).abs().max() > 1
    assert torch.allclose(model(raw / 4096) * 4096, wanted.clamp(min=0), atol=0.05)


def test_what_cannot_be_used_is_named(published, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        convert_checkpoint(tmp_path / "none.pt", tmp_path / "out.safetensors", Source.SSINYU)
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        convert_checkpoint(tmp_path / "none.pt", tmp_path / "out.pt", Source.SSINYU)
    with pytest.raises(InputError, match="use --source ldct-benchmark"):
        imported({"model_state_dict": published.state_dict()}, tmp_path, Source.SSINYU)
    with pytest.raises(InputError, match="no weights inside"):
        imported({"epoch": 3}, tmp_path, Source.SSINYU)
    with pytest.raises(InputError, match=r"no tensor 'conv1\.weight'"):
        imported({"layer.weight": torch.zeros(1)}, tmp_path, Source.LDCT_BENCHMARK)
    (tmp_path / "in.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        convert_checkpoint(tmp_path / "in.ckpt", tmp_path / "out.safetensors", Source.SSINYU)


class Hostile:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)


def test_code_in_a_pickle_does_not_run(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(InputError, match="without running code from it"):
        imported({"conv1.weight": Hostile(mark)}, tmp_path, Source.SSINYU)
    (tmp_path / "in.ckpt").write_bytes(pickle.dumps(Hostile(mark), protocol=2))
    with pytest.raises(InputError, match="without running code from it"):
        convert_checkpoint(tmp_path / "in.ckpt", tmp_path / "out.safetensors", Source.SSINYU)
    assert not mark.exists()


def test_oversized_files_are_not_opened(tmp_path, monkeypatch):
    (tmp_path / "in.ckpt").write_bytes(b"x" * 11)
    monkeypatch.setattr(red_cnn_checkpoint, "MAX_WEIGHTS_BYTES", 10)
    with pytest.raises(InputError, match="11 bytes"):
        convert_checkpoint(tmp_path / "in.ckpt", tmp_path / "out.safetensors", Source.SSINYU)


def test_command(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "in.ckpt")
    words = ["weights", "red-cnn", str(tmp_path / "in.ckpt"), str(tmp_path / "new/out.safetensors"), "--source"]
    result = CliRunner().invoke(app, [*words, "ssinyu"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new/out.safetensors").is_file()
    assert CliRunner().invoke(app, [*words, "elsewhere"]).exit_code == 1
    (tmp_path / "in.ckpt").unlink()
    result = CliRunner().invoke(app, [*words, "ssinyu"])
    assert result.exit_code == 1
    assert "no such file" in result.output
