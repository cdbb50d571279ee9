"""The image encoder: a vision transformer on full-size windowed CT slices.

As published it is ViT-S/16 (paper 2.2) with one input channel: ``stem: linear``, patch 16, width 384, depth 12, 6 heads; at
512 x 512 that is 1,025 tokens. The small default puts a convolutional stem before the transformer, since a linear patch
embedding learns the local statistics of noise slowly (Xiao et al., Early convolutions help transformers see better, 2021).
``focal`` adds to it a path that masks have taught where lesions are (`iqagpt.captioner.focal_path`).

Shapes: images (B, 1, H, W) in [0, 1] -> tokens (B, 1 + H W / patch^2, width); token 0 is CLS.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from iqagpt.captioner.focal_path import STRIDE, FocalPath
from iqagpt.config import check_least
from iqagpt.errors import ParamsError

#: Floor of a mean square in [0, 1] images: 0.4 HU in the abdomen window, less than any noise.
ENERGY_FLOOR = 1e-6
#: Blocks along one side of a patch over which texture is averaged.
BLOCKS = 4
#: Of a lesion or of none: surer is as good as sure, and large inputs would drown the others.
LARGEST_LOGIT = 6.0


@dataclass(frozen=True, slots=True)
class EncoderParams:
    """Geometry of the image encoder.

    Attributes
    ----------
    stem : {"linear", "conv", "focal"}
        One linear patch embedding; stride-2 convolutions down to the patch grid; these and a path for lesions.
    patch_size : int
        Pixels along one side of a patch; a power of two from 8 except for ``linear``. The image side must be a multiple of it.
    width, depth, heads : int
        Token width, number of blocks, attention heads.
    """

    stem: Literal["linear", "conv", "focal"]
    patch_size: int
    width: int
    depth: int
    heads: int

    def __post_init__(self) -> None:
        check_least(self, patch_size=1, width=1, depth=1, heads=1)
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of width {self.width}, got {self.heads}")
        if self.stem != "linear" and (self.patch_size < 8 or self.patch_size & (self.patch_size - 1)):
            raise ValueError(
                f"patch_size: expected a power of two from 8 with stem '{self.stem}', got {self.patch_size}"
            )


class ConvStem(nn.Module):
    """Patch tokens from two paths: learned convolutions, and the strength of texture by frequency band.

    Noise differs by a few per cent between neighbouring scores; convolutions alone learn to measure that slowly (see
    docs/lessons.md). Batch normalisation, not normalisation of each image, which would erase the noise level to be judged.
    """

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **unused: Any) -> None:
        super().__init__()
        stages = int(math.log2(patch_size)) - 1
        widths = [max(16, embed_dim >> (stages - 1 - i)) for i in range(stages)]
        layers: list[nn.Module] = [_Halve()]
        for before, after in zip([in_chans, *widths], widths, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        # Channels last halves the time of the first layers on a CPU.
        self.structure = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.patch_size = patch_size
        # One projection each: in a common one the few texture channels would start with little weight.
        self.structure_proj = nn.Conv2d(widths[-1], embed_dim, 1)
        self.texture_proj = nn.Conv2d(1 + 2 * int(math.log2(patch_size // BLOCKS)), embed_dim, 1)
        self.num_patches = (img_size // patch_size) ** 2

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 1, H, W) to tokens (B, N, width)."""
        return self.grid(images).flatten(2).transpose(1, 2)

    def grid(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 1, H, W) to the tokens' grid (B, width, H / patch_size, W / patch_size)."""
        images = images.contiguous(memory_format=torch.channels_last)
        structure = self.structure_proj(self.structure(images))
        texture = self.texture_proj(texture_energy(images, self.patch_size))
        return structure + texture


class FocalStem(ConvStem):
    """The convolutional stem, and what a path taught with masks says of lesions in each patch."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **unused: Any) -> None:
        super().__init__(img_size, patch_size, in_chans, embed_dim, **unused)
        self.focal = FocalPath(img_size)
        # Without a bias: where there is surely no lesion, tokens start as without the path.
        self.focal_proj = nn.Conv2d(2, embed_dim, 1, bias=False)

    def train(self, mode: bool = True) -> "FocalStem":
        """Set the mode of all but the path, which stays in evaluation mode: its batch statistics are part of what it learnt."""
        super().train(mode)
        self.focal.eval()
        return self

    def grid(self, images: torch.Tensor) -> torch.Tensor:
        """Add the strongest evidence of a lesion, within each patch and within the image, to structure and texture."""
        # No gradient reaches the path from here: captions would unlearn what masks taught, as they do not say where a lesion is.
        # It also saves the backward pass. The objective `lesion` calls the path itself.
        with torch.no_grad():
            evidence = 1 + self.focal(images)[:, None].clamp(-LARGEST_LOGIT, LARGEST_LOGIT) / LARGEST_LOGIT
            nearby = functional.max_pool2d(evidence, self.patch_size // STRIDE)
            # Every patch is told of the image's strongest place: a lesion there is a matter of the whole image.
            strongest = evidence.amax((2, 3), keepdim=True).expand_as(nearby)
        return super().grid(images) + self.focal_proj(torch.cat([nearby, strongest], 1))


@torch.no_grad()
def texture_energy(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Measure the texture of each patch in octave bands.

    The variance within 2 x 2 pixels, of the image and of the image averaged down again and again (Haar wavelet energy), is averaged
    over blocks of a quarter patch. Its logarithm makes noise levels equally spaced; mean and lower quartile over the blocks
    of a patch tell noise, which is everywhere, from edges, which are not.

    Parameters
    ----------
    images : Tensor, (B, 1, H, W), in [0, 1]
    patch_size : int
        A power of two, at least 8.

    Returns
    -------
    Tensor, (B, 1 + 2 log2(patch_size / 4), H / patch_size, W / patch_size)
        The patch mean, then mean and lower quartile of every band, finest first, all of the order of 1.
    """
    block = patch_size // BLOCKS
    bands = []
    for level in range(int(math.log2(block))):
        images, variance = _halve_with_variance(images)
        energy = torch.log(_halve(variance, times=int(math.log2(block)) - level - 1) + ENERGY_FLOOR) + 9
        blocks = functional.pixel_unshuffle(energy, BLOCKS).sort(1).values
        bands += [blocks.mean(1, keepdim=True), blocks[:, BLOCKS - 1 : BLOCKS]]
    return torch.cat([_halve(images, times=int(math.log2(BLOCKS))) * 4 - 2, *bands], 1)


class _Halve(nn.Module):
    """Average 2 x 2 pixels, (B, 1, H, W) to (B, 1, H / 2, W / 2)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return _halve(images)


# Sums of slices: several times faster on a CPU than avg_pool2d of one channel. Differences rather than the mean of squares
# minus the square of the mean, which cancels in float32.
def _halve(images: torch.Tensor, times: int = 1) -> torch.Tensor:
    for _ in range(times):
        rows = images[..., 0::2, :] + images[..., 1::2, :]
        images = (rows[..., 0::2] + rows[..., 1::2]).mul_(0.25)
    return images


def _halve_with_variance(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    upper, lower = images[..., 0::2, :], images[..., 1::2, :]
    total, difference = upper + lower, upper - lower
    mean = (total[..., 0::2] + total[..., 1::2]).mul_(0.25)
    across = total[..., 0::2] - total[..., 1::2]
    variance = difference[..., 0::2].square().addcmul_(difference[..., 1::2], difference[..., 1::2]).mul_(2)
    return mean, variance.addcmul_(across, across).mul_(1 / 16)


def build_image_encoder(params: EncoderParams, image_size: int) -> VisionTransformer:
    """Build the encoder for square images.

    Parameters
    ----------
    params : EncoderParams
    image_size : int
        Side of the image in pixels.

    Returns
    -------
    timm VisionTransformer without a head; ``forward_features`` returns all normed tokens.

    Raises
    ------
    ParamsError
        If the image side is not a multiple of the patch size.
    """
    if image_size % params.patch_size:
        raise ParamsError(
            f"encoder.patch_size: expected a divisor of the image side {image_size}, got {params.patch_size}"
        )
    embed = {"linear": PatchEmbed, "conv": ConvStem, "focal": FocalStem}[params.stem]
    return VisionTransformer(
        img_size=image_size,
        patch_size=params.patch_size,
        in_chans=1,
        num_classes=0,
        embed_dim=params.width,
        depth=params.depth,
        num_heads=params.heads,
        embed_layer=embed,
    )
