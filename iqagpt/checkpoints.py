"""The epochs of a fit and its checkpoints, so that a killed stage continues where it was.

They lie outside a stage's ``outs``, which DVC deletes before the stage runs: in ``.iqagpt/checkpoints`` of the working folder,
or where ``IQAGPT_CHECKPOINTS`` says (``off``: nowhere). Its key is a hash of everything that decides the result: parameters,
initial weights, images with their targets, code and PyTorch's version. Device and number of processes decide
nothing and are not in it.
"""

import hashlib
import logging
import os
import pickle
import shutil
import time
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from iqagpt import processes
from iqagpt.errors import InputError

logger = logging.getLogger(__name__)

FOLDER_VARIABLE, INTERVAL_VARIABLE = "IQAGPT_CHECKPOINTS", "IQAGPT_CHECKPOINT_SECONDS"
FOLDER, INTERVAL_S = Path(".iqagpt/checkpoints"), 60.0


class Checkpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    folder : path, optional
        Where checkpoints lie, each in a folder named by its key. None: keep none.
    interval_s : float
        Least time between two, in seconds: the weights of a large model take seconds to write. 0: after every epoch.
    """

    def __init__(self, folder: str | Path | None, interval_s: float = INTERVAL_S) -> None:
        self._folder = None if folder is None else Path(folder)
        self._interval_s = interval_s
        self._last = time.monotonic()
        self._file: Path | None = None

    @property
    def enabled(self) -> bool:
        """Whether checkpoints are kept at all."""
        return self._folder is not None

    def open(self, key: str) -> dict[str, Any] | None:
        """Return the state stored under a key, on the CPU, or None; `save` then writes under this key."""
        if self._folder is None:
            return None
        self._file = self._folder / key / "state.pt"
        if not self._file.is_file():
            return None
        try:
            return torch.load(self._file, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            logger.warning("%s: cannot be read (%s); starting from the beginning", self._file, error)
            return None

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._file is not None and time.monotonic() - self._last >= self._interval_s

    def save(self, state: dict[str, Any]) -> None:
        """Write a state in place of the last one, complete or not at all."""
        partial = self._file.with_name(f".{self._file.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        os.replace(partial, self._file)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the checkpoint: the fit is over and its result is stored."""
        if self._file is not None:
            shutil.rmtree(self._file.parent, ignore_errors=True)


class Resumable(Protocol):
    """A fit under way.

    Attributes
    ----------
    epoch : int
        Epochs done.
    """

    epoch: int

    def run_epoch(self) -> dict[str, float]:
        """Run one epoch and return its row of the curve: ``epoch, lr`` and losses."""

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs; tensors may be the live ones."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state, whose tensors lie on the CPU."""


def run_epochs(
    fitting: Resumable,
    epochs: int,
    name: str,
    device: torch.device,
    checkpoint: Checkpoint,
    state: dict[str, Any] | None,
) -> None:
    """Run a fit to its end, and leave the global random state as it was.

    Parameters
    ----------
    fitting : Resumable
    epochs : int
        That it has in all.
    name : str
        Shown beside the progress.
    device : torch.device
        That it draws on.
    checkpoint : Checkpoint
        Written between epochs. The caller removes it once the result is stored.
    state : dict or None
        To go on from, as ``checkpoint.open`` returned it.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if state is not None:
            fitting.restore(state)
            logger.info("continuing after epoch %d of %d", fitting.epoch, epochs)
        quiet = True if processes.rank() else None
        left = range(fitting.epoch, epochs)
        progress = tqdm(left, name, epochs, initial=fitting.epoch, unit="epoch", disable=quiet)
        for _ in progress:
            row = {key: value for key, value in fitting.run_epoch().items() if key != "epoch"}
            progress.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key != "lr"})
            values = ", ".join(f"{key} {value:.4g}" for key, value in row.items())
            logger.info("epoch %d of %d: %s", fitting.epoch, epochs, values)
            if processes.rank() == 0 and checkpoint.due():
                checkpoint.save(fitting.state())


def open_checkpoint() -> Checkpoint:
    """Return the checkpoint that the environment asks for.

    Raises
    ------
    InputError
        If ``IQAGPT_CHECKPOINT_SECONDS`` is not a number from 0.
    """
    folder = os.environ.get(FOLDER_VARIABLE, "").strip() or FOLDER
    text = os.environ.get(INTERVAL_VARIABLE, "").strip() or str(INTERVAL_S)
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = -1.0
    if not interval_s >= 0:
        raise InputError(f"{INTERVAL_VARIABLE}: expected seconds from 0, got '{text}'; set it or unset it")
    return Checkpoint(None if folder == "off" else folder, interval_s)


def key_of(*parts: str, tensors: dict[str, torch.Tensor]) -> str:
    """Return the key of a fit: a hash of texts, of named tensors, of this package's code and of PyTorch's version."""
    digest = hashlib.sha256("\0".join([*parts, code_version(), torch.__version__]).encode())
    for name, tensor in tensors.items():
        digest.update(f"\0{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


@cache
def code_version() -> str:
    """Return a hash of this package's source files."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
