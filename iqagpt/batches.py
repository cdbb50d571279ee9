"""Batches of images, turned, flipped and windowed, where the model wants them.

On a GPU the images live in its memory as int16 HU where they fit, and are turned and windowed there. Otherwise the next batch
is read and prepared by one background thread while the model works on the last.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from iqagpt.device import move
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng

logger = logging.getLogger(__name__)

T, R = TypeVar("T"), TypeVar("R")

#: Part of a GPU's free memory that images may take.
MEMORY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Draw:
    """Which images to load and how to place them.

    Attributes
    ----------
    indices : ndarray, (B,)
        Rows of a table of images.
    turns, flips : ndarray, (B,), integer
        Quarter turns against the clock, then whether to flip left to right.
    """

    indices: np.ndarray
    turns: np.ndarray
    flips: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, where: np.ndarray) -> "Draw":
        return Draw(self.indices[where], self.turns[where], self.flips[where])


def in_order(count: int) -> Draw:
    """Return all images as they lie, neither turned nor flipped."""
    return Draw(np.arange(count), np.zeros(count, int), np.zeros(count, int))


def shuffled(count: int, seed: int, epoch: int, *, augment: bool) -> Draw:
    """Return one epoch's order, turns and flips.

    They follow from seed and epoch alone, so that a run which continues from a checkpoint, or which shares its batches among
    processes, draws the same.
    """
    rng = item_rng(seed, "epoch", str(epoch))
    order = rng.permutation(count)
    if not augment:
        return in_order(count)[order]
    return Draw(order, rng.integers(4, size=count), rng.integers(2, size=count))


def in_batches(count: int, batch_size: int) -> list[np.ndarray]:
    """Cut 0 to ``count - 1`` into batches whose sizes differ by one at most."""
    return np.array_split(np.arange(count), max(1, math.ceil(count / batch_size)))


def load_images(images: ScoredImages, draws: Iterable[Draw], device: torch.device) -> Iterator[torch.Tensor]:
    """Yield the windowed images of each draw, (B, 1, H, W), float32, in [0, 1], on a device."""
    return feeder(images, device)(draws)


def feeder(images: ScoredImages, device: torch.device) -> Callable[[Iterable[Draw]], Iterator[torch.Tensor]]:
    """Return `load_images` for many rounds over the same images; on a GPU this moves them there, where they fit."""
    if device.type != "cuda":
        return lambda draws: ahead(lambda draw: torch.from_numpy(_windowed(images, draw)), draws)
    held = len(images) * images.image_size**2 * np.dtype(np.int16).itemsize if len(images) else 0
    if held <= MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        stored = _to_device(images, device)
        return lambda draws: (_from_device(stored, draw, images.window_hu) for draw in draws)
    logger.info("%d images of %.1f GB stay outside the GPU's memory", len(images), held / 1e9)

    def fetch(draw: Draw) -> torch.Tensor:
        return move(_turned(images, draw, np.int16), device)

    return lambda draws: (_window(batch, images.window_hu) for batch in ahead(fetch, draws))


def turn(images: torch.Tensor, turns: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Turn each image (B, 1, H, H) by quarter turns against the clock, then flip it left to right where asked.

    For whole batches without a loop over images: every such movement is a transposition, a flip of rows and a flip of columns.

    Parameters
    ----------
    images : Tensor, (B, 1, H, H)
    turns, flips : Tensor, (B,), on the same device
        0 to 3, and 0 or 1.
    """
    turns, flips = turns[:, None, None, None], flips[:, None, None, None].bool()
    images = torch.where(turns % 2 == 1, images.transpose(-2, -1), images)
    images = torch.where((turns == 1) | (turns == 2), images.flip(-2), images)
    return torch.where((turns >= 2) ^ flips, images.flip(-1), images)


def ahead(load: Callable[[T], R], draws: Iterable[T]) -> Iterator[R]:
    """Yield ``load(draw)`` of each of `draws`; one background thread works on the next while the caller has the last."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        waiting = None
        for draw in draws:
            following = thread.submit(load, draw)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _turned(images: ScoredImages, draw: Draw, dtype: type) -> np.ndarray:
    batch = np.empty((len(draw), 1, images.image_size, images.image_size), dtype)
    for place, index, turns, flip in zip(batch, draw.indices, draw.turns, draw.flips, strict=True):
        pixels = np.rot90(images.pixels_hu(int(index)), int(turns))
        place[0] = pixels[:, ::-1] if flip else pixels
    return batch


def _windowed(images: ScoredImages, draw: Draw) -> np.ndarray:
    # The arithmetic of `iqagpt.ct.apply_window`, in place; not torch's, whose threads would compete with the model's.
    batch = _turned(images, draw, np.float32)
    lower, upper = images.window_hu
    batch -= lower
    batch /= upper - lower
    return np.clip(batch, 0.0, 1.0, out=batch)


def _window(pixels_hu: torch.Tensor, window_hu: tuple[float, float]) -> torch.Tensor:
    lower, upper = window_hu
    return pixels_hu.float().sub_(lower).div_(upper - lower).clamp_(0.0, 1.0)


def _to_device(images: ScoredImages, device: torch.device) -> torch.Tensor:
    side = images.image_size if len(images) else 0
    stored = torch.empty((len(images), 1, side, side), dtype=torch.int16, device=device)
    for index in range(len(images)):
        stored[index, 0].copy_(torch.from_numpy(np.array(images.pixels_hu(index))))
    return stored


def _from_device(stored: torch.Tensor, draw: Draw, window_hu: tuple[float, float]) -> torch.Tensor:
    indices, turns, flips = (move(array, stored.device) for array in (draw.indices, draw.turns, draw.flips))
    return _window(turn(stored[indices], turns, flips), window_hu)
