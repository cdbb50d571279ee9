"""Several processes that fit one model together, one a GPU; how many is a setting of the machine, never a parameter.

``IQAGPT_PROCESSES=4 dvc repro train`` starts the stage four times through ``torchrun``; ``torchrun`` or ``accelerate launch`` may
be called by hand instead. Every process holds the whole model and takes its share of each batch, so the effective batch stays
``batch_size``. Gradients are added up after the backward pass rather than by ``DistributedDataParallel``, which would hide the
model's own methods from the losses.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn

import numpy as np
import torch
from torch import distributed, nn

from iqagpt.device import pick_device
from iqagpt.errors import InputError

logger = logging.getLogger(__name__)

VARIABLE = "IQAGPT_PROCESSES"


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Return how many processes fit the model together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(indices: np.ndarray) -> np.ndarray:
    """Return this process's part of a batch; sizes differ by one at most."""
    return np.array_split(indices, count())[rank()]


def add_up(tensor: torch.Tensor) -> torch.Tensor:
    """Replace a tensor, in place, by its sum over the processes."""
    if count() > 1:
        distributed.all_reduce(tensor)
    return tensor


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their sums over the processes, in one message."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = add_up(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@contextlib.contextmanager
def process_group() -> Iterator[bool]:
    """Join the other processes, where there are any, for the length of a stage.

    With ``IQAGPT_PROCESSES`` above 1 and no group to join, this process is ``torchrun``: it starts the stage anew and ends with it.

    Yields
    ------
    bool
        Whether this process is the first: the one that writes.

    Raises
    ------
    InputError
        If the variable is not a whole number above 0, or there are fewer GPUs than processes.
    """
    wanted = _wanted()
    if "WORLD_SIZE" not in os.environ and wanted > 1:
        _run_under_torchrun(wanted)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    device = pick_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if rank():
        logging.disable(logging.INFO)
    logger.info("%d processes share each batch", count())
    try:
        yield rank() == 0
    finally:
        distributed.destroy_process_group()


def _wanted() -> int:
    text = os.environ.get(VARIABLE, "1").strip() or "1"
    if not text.isdecimal() or not int(text):
        raise InputError(f"{VARIABLE}: expected a whole number above 0, got '{text}'; set it or unset it")
    gpus = torch.cuda.device_count()
    if pick_device().type == "cuda" and int(text) > gpus:
        raise InputError(f"{VARIABLE}: {text} processes, but {gpus} GPU(s) here; use at most {gpus}")
    return int(text)


def _run_under_torchrun(processes: int) -> NoReturn:
    # Imported here: nobody else needs it, and it takes a while.
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    module = sys.modules["__main__"].__spec__.name
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    try:
        torchrun(["--standalone", f"--nproc-per-node={processes}", "-m", module, *sys.argv[1:]])
    except ChildFailedError:
        sys.exit(1)  # each process has said why
    sys.exit(0)


def share_batch_norm(model: nn.Module) -> None:
    """Let batch normalisation see the whole batch rather than each process its own share; nothing with one process."""
    if count() > 1:
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.BatchNorm2d:
                    setattr(parent, name, SharedBatchNorm2d.like(child))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over all processes; PyTorch's own works on GPUs only. (B, C, H, W) to the same."""

    @classmethod
    def like(cls, other: nn.BatchNorm2d) -> "SharedBatchNorm2d":
        """Return one with the weights and statistics of `other`."""
        new = cls(other.num_features, eps=other.eps, momentum=other.momentum).to(other.weight.device)
        new.load_state_dict(other.state_dict())
        return new.train(other.training)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise with the mean and the variance of the batch of all processes."""
        if not self.training:
            return super().forward(images)
        images = images.float()
        number = add_up(torch.tensor(float(images.numel() // images.shape[1]), device=images.device))
        mean = _AddUp.apply(images.sum((0, 2, 3))) / number
        centred = images - mean[:, None, None]
        variance = _AddUp.apply(centred.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None])


class _AddUp(torch.autograd.Function):
    """`add_up` with its derivative: each process's loss depends on every process's summand."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: torch.Tensor) -> torch.Tensor:
        return add_up(tensor.clone())

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        return add_up(gradient.clone())
