"""Fitting the projection: MiniGPT-4's second stage, on features that are computed once.

All before the projection is frozen, and images are not augmented, so an image has the same features at every step. They lie in a
temporary file, in half precision.
"""

import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqagpt.batches import in_batches, in_order, load_images
from iqagpt.config import check_least
from iqagpt.device import mixed_precision
from iqagpt.minigpt import prompt
from iqagpt.minigpt.bridge import Bridge
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng

logger = logging.getLogger(__name__)

#: Images encoded together.
_ENCODED_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class StageTwo:
    """How the projection is fitted; the values of MiniGPT-4 are in ``presets/paper.yaml``.

    Attributes
    ----------
    epochs, iterations : int
        `iterations` steps make an epoch, whatever the number of images.
    batch_size : int
    lr, min_lr : float
        Ends of a cosine over all steps.
    warmup_steps : int
        Steps that rise from `warmup_lr` to `lr` instead; the cosine goes on meanwhile.
    warmup_lr, weight_decay, beta2 : float
    max_text : int
        Longest caption in tokens.
    seed : int
        Of first weights, order and instructions, and of the builtin language model.
    """

    epochs: int
    iterations: int
    batch_size: int
    lr: float
    min_lr: float
    warmup_steps: int
    warmup_lr: float
    weight_decay: float
    beta2: float
    max_text: int
    seed: int

    def __post_init__(self) -> None:
        check_least(self, epochs=1, iterations=1, batch_size=1, min_lr=0, warmup_steps=0, warmup_lr=0, weight_decay=0)
        check_least(self, max_text=1, seed=0)
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2: expected a number between 0 and 1, got {self.beta2}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


def learning_rate(recipe: StageTwo, step: int) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then the cosine where it is by then."""
    if step < recipe.warmup_steps:
        return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * step / recipe.warmup_steps
    share = step / (recipe.epochs * recipe.iterations)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


class Learned:
    """What is learned of images: their features, (len, N, seen), float16, in a temporary file, and their captions.

    Attributes
    ----------
    captions : list of str
    values : ndarray, (len, N, seen), float16
    """

    def __init__(self, eyes: nn.Module, images: ScoredImages, device: torch.device) -> None:
        self.captions = list(images.table["caption"])
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self.values = np.zeros((0, 1, eyes.width), np.float16)
        draws = (
            [in_order(len(images))[batch] for batch in in_batches(len(images), _ENCODED_TOGETHER)]
            if len(images)
            else []
        )
        begin = 0
        for batch in tqdm(load_images(images, draws, device), "features", len(draws), unit="batch", disable=None):
            found = encode(eyes, batch).half().cpu().numpy()
            if not begin:
                shape = (len(images), *found.shape[1:])
                self.values = np.memmap(self._file, np.float16, "w+", shape=shape)
            self.values[begin : begin + len(found)] = found
            begin += len(found)

    def __len__(self) -> int:
        return len(self.values)

    def features(self, indices: np.ndarray, device: torch.device) -> torch.Tensor:
        """Return the features of some images, (B, N, seen), float32."""
        return torch.from_numpy(np.asarray(self.values[indices], np.float32)).to(device)


@torch.inference_mode()
def encode(eyes: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the features of images (B, 1, H, W) in [0, 1], on their device."""
    with mixed_precision(images.device):
        return eyes(images)


def fit_projection(
    model: Bridge, recipe: StageTwo, *, train: Learned, val: Learned, device: torch.device
) -> pd.DataFrame:
    """Fit the projection in place; the last step's is kept, as in MiniGPT-4.

    Parameters
    ----------
    model : Bridge
        On the device.
    recipe : StageTwo
    train, val : Learned
        `val` may be empty.
    device : torch.device

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch, lr, train_loss`` and, with `val`, ``val_loss``; a token's cross-entropy.
    """
    optimizer = _optimizer(model, recipe)
    batches = _batches(len(train), recipe)
    rows = []
    progress = tqdm(range(recipe.epochs), "projection", unit="epoch", disable=None)
    for epoch in progress:
        model.train()
        losses = []
        for iteration in range(recipe.iterations):
            indices, instruction = next(batches)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch * recipe.iterations + iteration)
            with mixed_precision(device):
                loss = model.loss(
                    train.features(indices, device), [train.captions[i] for i in indices], instruction, recipe.max_text
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
        row["train_loss"] = float(torch.stack(losses).mean())
        if len(val):
            row["val_loss"] = _loss(model, recipe, val, device)
        rows.append(row)
        progress.set_postfix({key: f"{value:.3f}" for key, value in row.items() if key.endswith("loss")})
        losses = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
        logger.info("epoch %d of %d: %s", epoch + 1, recipe.epochs, losses)
    model.eval()
    return pd.DataFrame(rows)


def _optimizer(model: Bridge, recipe: StageTwo) -> torch.optim.AdamW:
    weight, bias = model.projection.weight, model.projection.bias
    groups = [
        {"params": [weight], "weight_decay": recipe.weight_decay},
        {"params": [bias], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, recipe.beta2))


def _batches(count: int, recipe: StageTwo) -> Iterator[tuple[np.ndarray, str]]:
    """Yield rows to learn from, all images before any again, and the step's instruction; without end."""
    rng = item_rng(recipe.seed, "projection")
    waiting = np.zeros(0, int)
    while True:
        while len(waiting) < recipe.batch_size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[: recipe.batch_size], prompt.INSTRUCTIONS[int(rng.integers(len(prompt.INSTRUCTIONS)))]
        waiting = waiting[recipe.batch_size :]


@torch.inference_mode()
def _loss(model: Bridge, recipe: StageTwo, images: Learned, device: torch.device) -> float:
    model.eval()
    total = 0.0
    for indices in in_batches(len(images), recipe.batch_size):
        with mixed_precision(device):
            captions = [images.captions[i] for i in indices]
            loss = model.loss(images.features(indices, device), captions, prompt.INSTRUCTIONS[0], recipe.max_text)
        total += loss.item() * len(indices)
    return total / len(images)
