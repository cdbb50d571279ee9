"""MAP-NN: one small residual module applied again and again, which gives a graded series of qualities.

One of the two denoisers behind the graded qualities (paper 2.1, reference 25); stage ``denoisers`` fits or imports
it, stage ``denoise`` applies it. The module is a conveying-path encoder-decoder (CPCE). All kernels are 3 x 3 (1 x
1 for ``transpose*``), stride 1, no padding, no bias; w is the width (32 as published)::

    input                        (B, 1, H, W)            normalised window, [0, 1]
    conv1 .. conv4               (B, w, H-2, ..) .. (B, w, H-8, ..), ReLU after each
    deconv5, with conv3, ReLU    (B, 2w, H-6, ..)   transpose1, ReLU    (B, w, H-6, ..)
    deconv6, with conv2, ReLU    (B, 2w, H-4, ..)   transpose2, ReLU    (B, w, H-4, ..)
    deconv7, with conv1, ReLU    (B, 2w, H-2, ..)   transpose3, ReLU    (B, w, H-2, ..)
    deconv8                      (B, 1, H, W), + input, clipped to [0, 1]

Level d is the image after d applications of the same weights; the losses see only the last level.

References
----------
Shan et al., Competitive performance of a modularized deep neural network compared to commercial algorithms for
low-dose CT image reconstruction, Nat. Mach. Intell. 2019; layers, losses, recipe and checkpoint from the repository
hmshan/MAP-NN (models.py, MAP_NN_training.py).

Notes
-----
The released script applies the critic's dense layers to every position, without flattening, and sums the gradient
norm of the penalty over one axis only. Here both have the textbook form of WGAN-GP: flattened features, and the
norm over the whole patch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from iqagpt.config import given_file
from iqagpt.ct import apply_window, from_window
from iqagpt.denoise.strips import in_strips
from iqagpt.errors import InputError

PUBLISHED_WIDTH = 32
#: An output pixel of one module depends on no input pixel further away: four 3 x 3 convolutions, and as many back.
HALO_PX = 8
#: Tensors of the published checkpoint in file order (alphabetical), in TensorFlow's layout [h, w, in, out] for
#: convolutions and [h, w, out, in] for transposed ones.
CHECKPOINT = {
    "conv1": (3, 3, 1, 32),
    "conv2": (3, 3, 32, 32),
    "conv3": (3, 3, 32, 32),
    "conv4": (3, 3, 32, 32),
    "deconv5": (3, 3, 32, 32),
    "deconv6": (3, 3, 32, 32),
    "deconv7": (3, 3, 32, 32),
    "deconv8": (3, 3, 1, 32),
    "transpose1": (1, 1, 64, 32),
    "transpose2": (1, 1, 64, 32),
    "transpose3": (1, 1, 64, 32),
}
CHECKPOINT_BYTES = 248_064


@dataclass(frozen=True, slots=True)
class MapNNParams:
    """Section ``denoisers.map_nn`` of ``params.yaml``.

    Attributes
    ----------
    weights : str
        The ``.data-00000-of-00001`` file of a published TensorFlow checkpoint, or ``presets/none.txt`` to fit.
    levels : int
        Applications of the module; 5 in the paper.
    width : int
        Filters of every layer but the last; 32 as published.
    steps, batch_size, patch_size : int
        Generator steps, patches in a step, side of a patch (px).
    lr : float
        Learning rate of Adam, of generator and critic, at the start.
    steps_per_epoch : int
        The rate is ``lr / sqrt(epoch + 1)``, with ``epoch = step // steps_per_epoch``; 1,000 as published.
    critic_steps, critic_width : int
        Critic steps to a generator step (4 as published); filters of its first layers (64 as published).
    gradient_penalty, mse_weight, edge_weight : float
        Weights of the penalty, of the squared error and of the squared error of Sobel edges: 10, 50, 50 as published.
    seed : int
        Of initialisation, patches and penalty.
    """

    weights: str
    levels: int
    width: int
    steps: int
    batch_size: int
    patch_size: int
    lr: float
    steps_per_epoch: int
    critic_steps: int
    critic_width: int
    gradient_penalty: float
    mse_weight: float
    edge_weight: float
    seed: int

    def __post_init__(self) -> None:
        """Check ranges."""
        for key in (
            "levels", "width", "steps", "batch_size", "steps_per_epoch", "critic_steps", "critic_width",
        ):  # fmt: skip
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: expected 1 or more, got {getattr(self, key)}")
        if self.patch_size <= 2 * HALO_PX:
            raise ValueError(f"patch_size: expected more than {2 * HALO_PX}, got {self.patch_size}")
        if self.lr <= 0:
            raise ValueError(f"lr: expected a number above 0, got {self.lr}")
        for key in ("gradient_penalty", "mse_weight", "edge_weight", "seed"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}: expected 0 or more, got {getattr(self, key)}")
        if given_file(self.weights) and self.width != PUBLISHED_WIDTH:
            raise ValueError(
                f"width: expected {PUBLISHED_WIDTH}, the width of the published weights that 'weights' names, "
                f"got {self.width}"
            )


class MapNN(nn.Module):
    """The generator: one CPCE module and how often it is applied.

    Parameters
    ----------
    width : int
        Filters of every layer but the last; 32 gives the published 62,016 parameters, for all levels together.
    levels : int
        Applications of the module.
    window_hu : (lower, upper)
        HU mapped to 0 and 1; what lies outside is clipped, in the output too.

    Notes
    -----
    Not stated in the paper; all kernels start as Xavier draws as in hmshan/MAP-NN, but deconv8 as zeros: the
    network starts as the identity, which spares a short fit the steps in which five random modules drive the image
    out of [0, 1].
    """

    name: ClassVar[str] = "map_nn"

    def __init__(self, width: int, levels: int, window_hu: tuple[float, float]) -> None:
        super().__init__()
        self.width, self.levels, self.window_hu = width, levels, window_hu
        self.conv1 = nn.Conv2d(1, width, 3, bias=False)
        for layer in (2, 3, 4):
            self.add_module(f"conv{layer}", nn.Conv2d(width, width, 3, bias=False))
        for layer in (5, 6, 7):
            self.add_module(f"deconv{layer}", nn.ConvTranspose2d(width, width, 3, bias=False))
        self.deconv8 = nn.ConvTranspose2d(width, 1, 3, bias=False)
        for layer in (1, 2, 3):
            self.add_module(f"transpose{layer}", nn.Conv2d(2 * width, width, 1, bias=False))
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.deconv8.weight)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MapNN":
        """Build the network that `config` describes; weights are random."""
        lower, upper = config["window_hu"]
        return cls(config["width"], config["levels"], (lower, upper))

    @classmethod
    def from_params(cls, params: MapNNParams, window_hu: tuple[float, float]) -> "MapNN":
        """Build an untrained network for images shown in `window_hu`."""
        return cls(params.width, params.levels, window_hu)

    def config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"width": self.width, "levels": self.levels, "window_hu": list(self.window_hu)}

    def module(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the module once: (B, 1, H, W) in [0, 1] to the same; H and W above 8."""
        after1 = self.conv1(images).relu_()
        after2 = self.conv2(after1).relu_()
        after3 = self.conv3(after2).relu_()
        decoded = self.deconv5(self.conv4(after3).relu_()).relu_()
        # ReLU of a concatenation is the concatenation of ReLUs: the skips are those after ReLU.
        decoded = self.transpose1(torch.cat((after3, decoded), dim=1)).relu_()
        decoded = self.deconv6(decoded).relu_()
        decoded = self.transpose2(torch.cat((after2, decoded), dim=1)).relu_()
        decoded = self.deconv7(decoded).relu_()
        decoded = self.transpose3(torch.cat((after1, decoded), dim=1)).relu_()
        return (images + self.deconv8(decoded)).clamp(0.0, 1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Denoise to the last level.

        Parameters
        ----------
        images : Tensor, (B, 1, H, W), float, [0, 1]
            H and W above 8.

        Returns
        -------
        Tensor, (B, 1, H, W), [0, 1]
        """
        for _ in range(self.levels):
            images = self.module(images)
        return images

    def variants(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return every level, ``map_nn_d1`` (mildest) to ``map_nn_d<levels>``; for inference."""
        series = {}
        for level in range(1, self.levels + 1):
            images = in_strips(self.module, images, halo_px=HALO_PX)
            series[f"{self.name}_d{level}"] = images
        return series

    def normalise(self, image_hu: np.ndarray) -> np.ndarray:
        """Map HU to the network's scale, float32."""
        return apply_window(image_hu, self.window_hu)

    def to_hu(self, image: np.ndarray) -> np.ndarray:
        """Map the network's scale to HU, rounded, int16."""
        return from_window(image, self.window_hu)


class Critic(nn.Module):
    """The critic of WGAN-GP: six convolutions and two dense layers, LeakyReLU 0.2 between.

    Parameters
    ----------
    width : int
        Filters of the first two convolutions, doubled twice; 64 as published.
    patch_size : int
        Side of the patches, px.
    """

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for filters in (width, 2 * width, 4 * width):
            for source, stride in ((channels, 1), (filters, 2)):
                layers += [nn.Conv2d(source, filters, 3, stride=stride, padding=1), nn.LeakyReLU(0.2)]
            channels = filters
        side = -(-patch_size // 8)
        layers += [nn.Flatten(), nn.Linear(channels * side**2, 16 * width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(16 * width, 1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Rate patches, (B, 1, P, P) in [0, 1]; returns (B, 1), higher for more like NDCT."""
        return self.layers(patches)


class MapNNFit:
    """Adversarial fit: critic steps, then one generator step on adversarial + squared + edge loss, by Adam.

    Parameters
    ----------
    model : MapNN
        On its device; changed in place.
    params : MapNNParams
    """

    def __init__(self, model: MapNN, params: MapNNParams) -> None:
        self.model, self.params = model, params
        device = model.conv1.weight.device
        self.critic = Critic(params.critic_width, params.patch_size).to(device)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=params.lr)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=params.lr)
        self.generator = torch.Generator().manual_seed(params.seed)

    def step(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], step: int) -> dict[str, float]:
        """Take ``critic_steps + 1`` batches of LDCT and NDCT patches, (B, 1, P, P); return the last losses."""
        rate = self.params.lr / (step // self.params.steps_per_epoch + 1) ** 0.5
        for optimizer in (self.optimizer, self.critic_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate
        for _ in range(self.params.critic_steps):
            critic_loss = self._critic_step(*next(batches))
        return {**self._generator_step(*next(batches)), "critic": critic_loss}

    def _critic_step(self, ldct: torch.Tensor, ndct: torch.Tensor) -> float:
        with torch.no_grad():
            fake = self.model(ldct)
        difference = self.critic(fake).mean() - self.critic(ndct).mean()
        loss = difference + self.params.gradient_penalty * self._penalty(ndct, fake)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.item()

    def _penalty(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        mix = torch.rand((len(real), 1, 1, 1), generator=self.generator).to(real.device)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def _generator_step(self, ldct: torch.Tensor, ndct: torch.Tensor) -> dict[str, float]:
        denoised = self.model(ldct)
        mse = nn.functional.mse_loss(denoised, ndct)
        edge = nn.functional.mse_loss(sobel_edges(denoised), sobel_edges(ndct))
        adversarial = -self.critic(denoised).mean()
        loss = adversarial + self.params.mse_weight * mse + self.params.edge_weight * edge
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item(), "mse": mse.item(), "edge": edge.item(), "adversarial": adversarial.item()}


def sobel_edges(images: torch.Tensor) -> torch.Tensor:
    """Return vertical and horizontal Sobel responses, unscaled, with reflected borders.

    Parameters
    ----------
    images : Tensor, (B, 1, H, W)

    Returns
    -------
    Tensor, (B, 2, H, W)
    """
    vertical = images.new_tensor([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
    kernels = torch.stack((vertical, vertical.T))[:, None]
    return nn.functional.conv2d(nn.functional.pad(images, (1, 1, 1, 1), mode="reflect"), kernels)


def import_weights(file: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Read a published checkpoint without TensorFlow: 62,016 little-endian float32 in alphabetical order.

    Parameters
    ----------
    file : Path
        ``Trained_ABD_Model.ckpt.data-00000-of-00001`` (abdomen) of hmshan/MAP-NN, or its chest twin.

    Returns
    -------
    state : dict of str to Tensor
        For ``MapNN(32, ...)``.
    sha256 : str
        Of the file.

    Raises
    ------
    InputError
        If the file is missing, of another size, or holds values that are not finite.
    """
    where = f"denoisers.map_nn.weights: {file}"
    if not file.is_file():
        raise InputError(f"{where}: no such file; presets/none.txt means: fit")
    size = file.stat().st_size
    if size != CHECKPOINT_BYTES:
        raise InputError(
            f"{where}: {size} bytes, expected {CHECKPOINT_BYTES}; name the .data-00000-of-00001 file of the "
            "checkpoint in hmshan/MAP-NN, not its .index or .meta"
        )
    content = file.read_bytes()
    values = np.frombuffer(content, dtype="<f4")
    if not np.isfinite(values).all():
        raise InputError(f"{where}: holds values that are not finite; get the file again")
    ends = np.cumsum([np.prod(shape) for shape in CHECKPOINT.values()])
    state = {}
    for (layer, shape), kernel in zip(CHECKPOINT.items(), np.split(values, ends[:-1]), strict=True):
        # [h, w, in, out] and, for transposed, [h, w, out, in] both become PyTorch's layout by one reversal.
        ordered = kernel.reshape(shape).transpose(3, 2, 0, 1).astype(np.float32)
        state[f"{layer}.weight"] = torch.from_numpy(np.ascontiguousarray(ordered))
    return state, hashlib.sha256(content).hexdigest()


#: What `iqagpt.denoise.fitting` needs of a denoiser.
PARAMS, MODEL, FIT = MapNNParams, MapNN, MapNNFit
