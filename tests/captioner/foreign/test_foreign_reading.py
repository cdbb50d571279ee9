"""Nothing in a checkpoint runs; what cannot be read says why and what to do."""

import argparse
import contextlib
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from iqagpt.captioner.foreign import hub, reading
from iqagpt.captioner.foreign.report import Report
from iqagpt.errors import InputError


class Hostile:
    def __init__(self, file: Path):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)


def read(file: Path) -> dict[str, torch.Tensor]:
    return reading.read_tensors(reading.find_model_file(file))


@pytest.mark.parametrize("entry", [None, "model", "state_dict", "model_state_dict", "student"])
@pytest.mark.parametrize("zipped", [True, False])
def test_entries_of_training_scripts(entry, zipped, tmp_path):
    state = {"module.a": torch.arange(3.0), "step": 7}
    content = {entry: state, "args": argparse.Namespace(lr=1e-4), "epoch": 3} if entry else state
    torch.save(content, tmp_path / "in.pth", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "in.pth")
    assert list(found) == ["a"]
    assert torch.equal(found["a"], torch.arange(3.0))


@pytest.mark.parametrize("where", ["beside", "inside", "optimizer", "bare"])
def test_code_in_a_pickle_does_not_run(where, tmp_path):
    mark, file = tmp_path / "ran", tmp_path / "in.pth"
    hostile, tensor = Hostile(mark), torch.ones(2)
    if where == "bare":
        file.write_bytes(pickle.dumps(hostile, protocol=2))
    else:
        content = {"beside": {"model": {"a": tensor}, "x": hostile}, "inside": {"model": {"a": hostile}},
                   "optimizer": {"model": {"a": tensor}, "optimizer": {"state": [hostile]}}}  # fmt: skip
        torch.save(content[where], file)
    with pytest.raises(InputError, match=r"without running code from it .*; have its maker save the bare state_dict"):
        read(file)
    assert not mark.exists()


def test_what_a_pickle_needs_is_named(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}, "process": os.mkdir}, tmp_path / "in.pth")
    with pytest.raises(InputError, match=r"it needs \w+\.mkdir"):
        read(tmp_path / "in.pth")


def test_folder_takes_safetensors_before_a_pickle(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert read(tmp_path)["a"] == 0
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert read(tmp_path)["a"] == 1


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_pickles_are_one_message_wherever_they_are_damaged(tmp_path):
    file = tmp_path / "in.pth"
    torch.save({"model": {"a": torch.ones(2), "b": torch.ones(3)}}, file, _use_new_zipfile_serialization=False)
    content, rng = file.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        file.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read(file)


def test_what_cannot_be_used_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no model\.safetensors or pytorch_model\.bin inside"):
        read(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "absent.pth")
    for content, message in (
        ([1, 2], "holds a list"),
        ({"epoch": 3}, "no weights inside"),
        ({"a\x1b[2J": torch.ones(1)}, "control characters"),
    ):
        torch.save(content, tmp_path / "in.pth")
        with pytest.raises(InputError, match=message):
            read(tmp_path / "in.pth")
    for name in ("in.pth", "in.safetensors"):
        (tmp_path / name).write_bytes(b"not a checkpoint")
        with pytest.raises(InputError, match=r"cannot be read|not a readable"):
            read(tmp_path / name)
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="16 bytes; at most 10"):
        read(tmp_path / "in.pth")


def test_numbers_are_checked_before_they_take_memory():
    file = Path("in.pth")
    with pytest.raises(InputError, match="claims more numbers than the file holds"):
        reading.as_float(file, "a", torch.zeros(1).expand(10**6, 10**6))
    with pytest.raises(InputError, match="expected floating-point"):
        reading.as_float(file, "a", torch.zeros(2, dtype=torch.int64))
    assert reading.as_float(file, "a", torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32


def test_hub_is_asked_only_when_named(tmp_path, monkeypatch):
    asked = []

    def download(name, revision, allow_patterns):
        asked.append((name, revision, allow_patterns[-1]))
        if allow_patterns[-1] == "pytorch_model.bin":
            (tmp_path / "pytorch_model.bin").touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hub.local_path("owner/name") == Path("owner/name")
    assert asked == []
    assert hub.local_path("hf:owner/name@v1") == tmp_path
    assert asked == [("owner/name", "v1", "model.safetensors"), ("owner/name", "v1", "pytorch_model.bin")]


def test_hub_that_cannot_be_asked_is_one_message(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf:owner/absent: not found on the hub .* give a local folder"):
        hub.local_path("hf:owner/absent")


def test_report_gathers_layers_and_keeps_every_name():
    report = Report()
    for index in (0, 1, 2, 5):
        report.add("loaded", f"a.{index}.weight", f"b.{index}.weight")
    report.add("dropped", "head.3.weight", detail="head")
    assert report.text() == "loaded: 4\n  a.{0-2,5}.weight\ndropped: 1\n  head.3.weight: head"
    assert report.text(only_counted=("loaded",)).splitlines()[:2] == ["loaded: 4", "dropped: 1"]
    assert list(report.table()["became"]) == ["b.0.weight", "b.1.weight", "b.2.weight", "b.5.weight", ""]
