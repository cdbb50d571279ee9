"""Where a lesion is: a small convolutional net on differences of Gaussians, for the stem ``focal`` of the image encoder.

A lesion is a faint spot of some millimetres in an image whose noise is as strong. Captions say of a whole image only whether
it has one, which teaches a net nothing about where to look; the masks of simulated lesions do (objective ``lesion`` of
`iqagpt.captioner.objectives`).

Shapes: images (B, 1, H, W) in [0, 1] -> quarter resolution -> channels (B, 8, H/4, W/4) -> features (B, 32, H/8, W/8) ->
logits (B, H/8, W/8). The logits alone go on: with the features too, single fits did no better on phantom or real images
(docs/lessons.md).
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

#: Standard deviations of the Gaussians, pixels of quarter resolution: in a 360 mm field of view 2 to 20 mm.
SIGMAS = (0.7, 1.1, 1.8, 2.9, 4.6, 7.0)
#: Of a difference of Gaussians, in parts of the window: 15 HU of the abdomen window's 400, a faint lesion's contrast.
DIFFERENCE = 0.0375
#: Grey levels that tell fat, organs and vessels apart, in parts of the window (30, 70, 110, 150 HU), and the width of each.
LEVELS, LEVEL_WIDTH = (0.475, 0.575, 0.675, 0.775), 0.075
#: Pixels of the image along one side of a place of the map.
STRIDE = 8
#: Channels of the features.
FEATURES = 32
#: Logit before learning: lesions are rare, and learning that alone would take the first steps.
PRIOR = -5.0
#: Part of a place that a lesion covers at least, to count there.
COVER = 0.3
#: Of places with a lesion in the loss, against those without.
POSITIVE_WEIGHT = 2.0


class FocalPath(nn.Module):
    """Logits of a lesion by place.

    Parameters
    ----------
    image_size : int
        Side of the square images in pixels; a multiple of 8. Weights do not depend on it.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        side = image_size // 4
        # As matrices, one each for rows and columns: faster on a CPU than convolutions of a single channel.
        self.register_buffer("blur", torch.stack([_gaussian(side, sigma) for sigma in SIGMAS]), persistent=False)
        self.register_buffer("levels", torch.tensor(LEVELS)[:, None, None], persistent=False)
        layers = nn.Sequential(
            _block(len(SIGMAS) - 2 + len(LEVELS), 16),
            _block(16, 24, stride=2),
            _block(24, FEATURES),
            _block(FEATURES, FEATURES),
        )
        self.layers = layers.to(memory_format=torch.channels_last)
        self.head = nn.Conv2d(FEATURES, 1, 1)
        nn.init.constant_(self.head.bias, PRIOR)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 1, H, W) to logits (B, H/8, W/8)."""
        return self.head(self.layers(self.channels(images).contiguous(memory_format=torch.channels_last)))[:, 0]

    @torch.no_grad()
    def channels(self, images: torch.Tensor) -> torch.Tensor:
        """Return centre-surround differences of four sizes and four soft grey levels, (B, 8, H/4, W/4), of the order of 1."""
        # In bfloat16 the difference of two nearly equal means would be mostly rounding.
        with torch.autocast(images.device.type, enabled=False):
            rows = images.float().unflatten(-2, (-1, 4)).sum(-2)
            small = rows.unflatten(-1, (-1, 4)).sum(-1).div_(16)
            scales = self.blur @ small @ self.blur.mT
            differences = (scales[:, :-2] - scales[:, 2:]).div_(DIFFERENCE).clamp_(-2, 2)
            levels = (scales[:, 2:3] - self.levels).div_(LEVEL_WIDTH).clamp_(-1, 1)
            return torch.cat([differences, levels], 1)


def lesion_places(masks: np.ndarray) -> torch.Tensor:
    """Return the places of the map that a lesion covers, (N, H/8, W/8), bool, from masks (N, H, W) of 0 and 1."""
    count, height, width = masks.shape
    blocks = masks.reshape(count, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    return torch.from_numpy(blocks.mean((2, 4)) > COVER)


def lesion_loss(logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of logits (B, H/8, W/8) against places, summed over places, mean over images."""
    weight = logits.new_full((), POSITIVE_WEIGHT)
    total = functional.binary_cross_entropy_with_logits(logits, places.float(), reduction="sum", pos_weight=weight)
    return total / len(logits)


def _gaussian(side: int, sigma: float) -> torch.Tensor:
    # A row for each output; what would lie outside is taken from the edge.
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, places, (weights / weights.sum()).expand(side, -1))


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
