"""Which processor PyTorch code runs on, and how; settings of the machine, never parameters of an experiment.

Used by every stage that fits or applies a network. The environment variable ``IQAGPT_DEVICE`` decides (``cpu``,
``cuda``, ``cuda:1``); without it CUDA is used where there is one. Of several processes each has a GPU of its own.
"""

import os
from typing import Any

import numpy as np
import torch
from torch import nn

from iqagpt.errors import InputError

VARIABLE, COMPILE_VARIABLE = "IQAGPT_DEVICE", "IQAGPT_COMPILE"


def pick_device() -> torch.device:
    """Return the device named by ``IQAGPT_DEVICE``, else CUDA if there is one, else the CPU.

    Raises
    ------
    InputError
        If the variable names a device that this machine does not have.
    """
    name = os.environ.get(VARIABLE, "").strip()
    if not name:
        return torch.device(_of_this_process("cuda") if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(_of_this_process(name))
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("neither cpu nor cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{VARIABLE}: '{name}' is not a device of this machine ({reason}); use cpu, cuda or cuda:N, or unset it"
        ) from error
    return device


def _of_this_process(name: str) -> str:
    local = os.environ.get("LOCAL_RANK")
    if local is None or int(os.environ.get("WORLD_SIZE", "1")) == 1 or not name.startswith("cuda"):
        return name
    if name != "cuda":
        raise RuntimeError("one GPU for several processes")
    return f"cuda:{local}"


def move(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy an array to a device without waiting for the work that a GPU still has to do."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the context to fit in: bfloat16 where a GPU calculates in it, float32 elsewhere; weights stay float32."""
    wanted = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def compiled(model: nn.Module, device: torch.device) -> Any:
    """Return a model to call in its place: on a GPU, with ``IQAGPT_COMPILE=1``, compiled; it shares all weights.

    Compiling takes a minute or so and needs a C compiler, so it is for long runs.
    """
    wanted = device.type == "cuda" and os.environ.get(COMPILE_VARIABLE, "").strip() == "1"
    return torch.compile(model) if wanted else model
