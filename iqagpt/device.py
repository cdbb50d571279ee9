"""Which processor PyTorch code runs on; a setting of the machine, never a parameter of an experiment.

Used by every stage that fits or applies a network. The environment variable ``IQAGPT_DEVICE`` decides (``cpu``,
``cuda``, ``cuda:1``); without it CUDA is used where there is one.
"""

import os

import torch

from iqagpt.errors import InputError

VARIABLE = "IQAGPT_DEVICE"


def pick_device() -> torch.device:
    """Return the device named by ``IQAGPT_DEVICE``, else CUDA if there is one, else the CPU.

    Raises
    ------
    InputError
        If the variable names a device that this machine does not have.
    """
    name = os.environ.get(VARIABLE, "").strip()
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("neither cpu nor cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{VARIABLE}: '{name}' is not a device of this machine ({reason}); use cpu, cuda or cuda:N, or unset it"
        ) from error
    return device
