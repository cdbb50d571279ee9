"""Pickles from outside (``.pth``, ``.pt``, ``.bin``, ``.ckpt``), read so that no code in them can run.

They go through PyTorch's restricted loader, which rebuilds tensors, plain containers and ``argparse.Namespace`` only. Read only
where a user names one.
"""

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from iqagpt.errors import InputError


def load_pickle(file: Path) -> Any:
    """Load what ``torch.save`` wrote: tensors and plain values, on the CPU.

    Raises
    ------
    InputError
        If the file is damaged, or needs anything else to be read.
    """
    try:
        # Training scripts keep their arguments, a namespace of plain values, beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Mapped, so that an optimiser beside the weights is never read.
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    # A damaged pickle raises anything: assertions, index and type errors from inside the loader.
    except Exception as error:
        needs = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it needs {needs[1]}" if needs else " ".join(ascii(str(error)).split())[:160]
        raise InputError(
            f"{file}: cannot be read without running code from it ({reason}); "
            "have its maker save the bare state_dict, or safetensors, and convert that"
        ) from error
