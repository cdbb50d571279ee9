"""RED-CNN: a residual encoder-decoder of five convolutions and five transposed convolutions.

One of the two denoisers behind the graded qualities (paper 2.1, reference 37); stage ``denoisers`` fits or imports
it, stage ``denoise`` applies it. All kernels are 5 x 5, stride 1, no padding, with bias; W is the width (96 as
published)::

    input                 (B, 1, H, W)                     values (HU + 1024) / 4096
    conv1 .. conv5        (B, width, H-4, ..) .. (B, width, H-20, ..), ReLU after each
    tconv1 .. tconv4      + output of conv4 after tconv1, + output of conv2 after tconv3, ReLU after each
    tconv5                (B, 1, H, W), + input, ReLU

References
----------
Chen et al., Low-dose CT with a residual encoder-decoder convolutional neural network, IEEE TMI 2017; layers, keys
and recipe from the repository SSinyu/RED-CNN (networks.py, solver.py).
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from iqagpt.config import given_file
from iqagpt.ct import AIR_HU, STORED_RANGE_HU
from iqagpt.denoise.strips import in_strips
from iqagpt.errors import InputError

RANGE_HU = 4096.0
PUBLISHED_WIDTH = 96
LAYERS = 5
#: An output pixel depends on no input pixel further away: five 5 x 5 convolutions, and as many back.
HALO_PX = 20
MAX_WEIGHTS_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class RedCNNParams:
    """Section ``denoisers.red_cnn`` of ``params.yaml``.

    Attributes
    ----------
    weights : str
        A safetensors file with published weights, or ``presets/none.txt`` to fit.
    width : int
        Filters of every layer but the last; 96 as published.
    steps, batch_size, patch_size : int
        Optimiser steps, patches in a step, side of a patch (px).
    lr, final_lr : float
        Learning rate of Adam in the first step and, falling by a constant factor, in the last.
    seed : int
        Of initialisation and patches.

    Notes
    -----
    Not stated in the paper; SSinyu/RED-CNN halves its rate once, after 3,000 steps.
    A steady decay needs no such step count.
    """

    weights: str
    width: int
    steps: int
    batch_size: int
    patch_size: int
    lr: float
    final_lr: float
    seed: int

    def __post_init__(self) -> None:
        """Check ranges."""
        for key in ("width", "steps", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: expected 1 or more, got {getattr(self, key)}")
        if self.patch_size <= HALO_PX + 4:
            raise ValueError(
                f"patch_size: expected more than {HALO_PX + 4} (ten unpadded 5x5 layers), got {self.patch_size}"
            )
        if self.lr <= 0:
            raise ValueError(f"lr: expected a number above 0, got {self.lr}")
        if not 0 < self.final_lr <= self.lr:
            raise ValueError(f"final_lr: expected above 0 and at most lr ({self.lr}), got {self.final_lr}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        if given_file(self.weights) and self.width != PUBLISHED_WIDTH:
            raise ValueError(
                f"width: expected {PUBLISHED_WIDTH}, the width of the published weights that 'weights' names, "
                f"got {self.width}"
            )


class RedCNN(nn.Module):
    """The network, in the scale (HU + 1024) / 4096.

    Parameters
    ----------
    width : int
        Filters of every layer but the last; 96 gives the published 1,848,865 parameters.
    """

    name: ClassVar[str] = "red_cnn"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv2d(1, width, 5)
        for layer in range(2, LAYERS + 1):
            self.add_module(f"conv{layer}", nn.Conv2d(width, width, 5))
        for layer in range(1, LAYERS):
            self.add_module(f"tconv{layer}", nn.ConvTranspose2d(width, width, 5))
        self.tconv5 = nn.ConvTranspose2d(width, 1, 5)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RedCNN":
        """Build the network that `config` describes; weights are random."""
        return cls(config["width"])

    @classmethod
    def from_params(cls, params: RedCNNParams, window_hu: tuple[float, float]) -> "RedCNN":
        """Build an untrained network; its scale does not depend on the window."""
        return cls(params.width)

    def config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"width": self.width}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Denoise.

        Parameters
        ----------
        images : Tensor, (B, 1, H, W), float, (HU + 1024) / 4096
            H and W above 20.

        Returns
        -------
        Tensor, (B, 1, H, W), at least 0
        """
        return (self.residual(images) + images).relu_()

    def residual(self, images: torch.Tensor) -> torch.Tensor:
        """Return what `forward` adds to the images before its last ReLU."""
        after2 = self.conv2(self.conv1(images).relu_()).relu_()
        after4 = self.conv4(self.conv3(after2).relu_()).relu_()
        decoded = (self.tconv1(self.conv5(after4).relu_()) + after4).relu_()
        decoded = (self.tconv3(self.tconv2(decoded).relu_()) + after2).relu_()
        return self.tconv5(self.tconv4(decoded).relu_())

    def variants(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the denoised images under the variant's name; for inference."""
        return {self.name: in_strips(self, images, halo_px=HALO_PX)}

    @staticmethod
    def normalise(image_hu: np.ndarray) -> np.ndarray:
        """Map HU to the network's scale, float32."""
        return (image_hu.astype(np.float32) - AIR_HU) / RANGE_HU

    @staticmethod
    def to_hu(image: np.ndarray) -> np.ndarray:
        """Map the network's scale to HU, rounded and clipped to the stored range, int16."""
        return np.clip(np.rint(image * RANGE_HU + AIR_HU), *STORED_RANGE_HU).astype(np.int16)


class RedCNNFit:
    """One optimiser step after another on the mean squared error, by Adam.

    Parameters
    ----------
    model : RedCNN
        On its device; changed in place.
    params : RedCNNParams

    Notes
    -----
    Not stated in the paper; in the published scale 30 HU of noise are .007 beside a level of .25, which costs Adam
    about 10^5 steps to tell apart. Adam therefore works on a twin of the network that sees HU / 100 and starts as
    the identity; after each step the twin's weights are folded into the model, which is the same function in the
    published scale.
    """

    CENTRE, SCALE = -AIR_HU / RANGE_HU, 100.0 / RANGE_HU

    def __init__(self, model: RedCNN, params: RedCNNParams) -> None:
        self.model = model
        self.twin = copy.deepcopy(model)
        self.params = params
        nn.init.zeros_(self.twin.tconv5.weight)
        nn.init.zeros_(self.twin.tconv5.bias)
        self.optimizer = torch.optim.Adam(self.twin.parameters(), lr=params.lr)
        self._fold()

    def step(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], step: int) -> dict[str, float]:
        """Take one batch of LDCT and NDCT patches, (B, 1, P, P), and one step; return its losses."""
        progress = step / max(self.params.steps - 1, 1)
        rate = self.params.lr * (self.params.final_lr / self.params.lr) ** progress
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        ldct, ndct = next(batches)
        residual = self.twin.residual((ldct - self.CENTRE) / self.SCALE) * self.SCALE
        loss = nn.functional.mse_loss((ldct + residual).relu_(), ndct)
        self.optimizer.zero_grad()
        (loss / self.SCALE**2).backward()
        self.optimizer.step()
        self._fold()
        return {"loss": loss.item()}

    def _fold(self) -> None:
        self.model.load_state_dict(fold_scale(self.twin.state_dict(), self.CENTRE, self.SCALE))


def fold_scale(state: Mapping[str, torch.Tensor], centre: float, scale: float) -> dict[str, torch.Tensor]:
    """Return weights that do in the published scale what `state` does in another.

    Parameters
    ----------
    state : mapping of str to Tensor
        For images (x - `centre`) / `scale`, x being the published scale.
    centre, scale : float

    Returns
    -------
    dict of str to Tensor
        For images x; exact, because no layer pads.
    """
    folded = {key: value.detach().clone() for key, value in state.items()}
    folded["conv1.weight"] /= scale
    folded["conv1.bias"] -= centre * folded["conv1.weight"].sum(dim=(1, 2, 3))
    folded["tconv5.weight"] *= scale
    folded["tconv5.bias"] *= scale
    return folded


def import_weights(file: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Read published weights: safetensors with the keys of SSinyu/RED-CNN at width 96.

    ``iqagpt weights red-cnn`` makes such a file of the checkpoints of SSinyu/RED-CNN and eeulig/ldct-benchmark.

    Parameters
    ----------
    file : Path
        Keys ``conv1`` .. ``conv5``, ``tconv1`` .. ``tconv5``, each with ``.weight`` and ``.bias``.

    Returns
    -------
    state : dict of str to Tensor
        For ``RedCNN(96)``.
    sha256 : str
        Of the file.

    Raises
    ------
    InputError
        If the file is missing, a pickle, or has other keys, shapes or values that are not finite.
    """
    where = f"denoisers.red_cnn.weights: {file}"
    content = _read_safetensors_file(file, where)
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise InputError(f"{where}: not a readable safetensors file ({error}); convert the weights again") from error
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in RedCNN(PUBLISHED_WIDTH).state_dict().items()}
    wrong = sorted(set(tensors) ^ set(expected))
    if wrong:
        raise InputError(
            f"{where}: {'unexpected' if wrong[0] in tensors else 'missing'} tensor '{wrong[0]}'; expected conv1..conv5 "
            "and tconv1..tconv5, each .weight and .bias, and no other"
        )
    for key, tensor in tensors.items():
        if tuple(tensor.shape) != expected[key]:
            raise InputError(f"{where}: '{key}' has shape {tuple(tensor.shape)}, expected {expected[key]}")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise InputError(f"{where}: '{key}' holds values that are not finite numbers; get the file again")
    return {key: tensors[key].float() for key in expected}, hashlib.sha256(content).hexdigest()


def _read_safetensors_file(file: Path, where: str) -> bytes:
    if not file.is_file():
        raise InputError(f"{where}: no such file; presets/none.txt means: fit")
    if file.suffix != ".safetensors":
        raise InputError(
            f"{where}: only .safetensors is read, because a .ckpt, .pth or .pt file is a pickle and can run foreign code; "
            f"convert it: iqagpt weights red-cnn {file.name} {file.stem}.safetensors --source ssinyu|ldct-benchmark"
        )
    if file.stat().st_size > MAX_WEIGHTS_BYTES:
        raise InputError(f"{where}: {file.stat().st_size} bytes; RED-CNN's weights have about 7.4 million bytes")
    return file.read_bytes()


#: What `iqagpt.denoise.fitting` needs of a denoiser.
PARAMS, MODEL, FIT = RedCNNParams, RedCNN, RedCNNFit
