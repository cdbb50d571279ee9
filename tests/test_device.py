"""The device: named by the environment, refused when this machine lacks it."""

import pytest
import torch

from iqagpt.device import pick_device
from iqagpt.errors import InputError


def test_environment_decides(monkeypatch):
    monkeypatch.setenv("IQAGPT_DEVICE", "cpu")
    assert pick_device() == torch.device("cpu")


@pytest.mark.parametrize("available", [True, False])
def test_without_environment_cuda_where_there_is_one(monkeypatch, available):
    monkeypatch.delenv("IQAGPT_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device().type == ("cuda" if available else "cpu")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setenv("IQAGPT_DEVICE", name)
    with pytest.raises(InputError, match=f"IQAGPT_DEVICE: '{name}' is not a device of this machine"):
        pick_device()
