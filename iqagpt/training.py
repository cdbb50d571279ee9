"""The training recipe that captioner, ViT-C and ViT-R share (paper 2.4), and its loop.

AdamW, linear warm-up, cosine decay, flips and right-angle rotations of full-size images. Arbitrary rotation would interpolate
and so smooth the very noise that is scored.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqagpt.config import check_least
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.scored_images import ScoredImages

logger = logging.getLogger(__name__)

#: Maps a model, images (B, 1, H, W) and their indices in a table to a scalar loss, mean over the batch.
Loss = Callable[[nn.Module, torch.Tensor, np.ndarray], torch.Tensor]
#: Prepares the targets of a table of images on a device, and returns the loss against them.
LossFactory = Callable[[ScoredImages, torch.device], Loss]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is fitted.

    Attributes
    ----------
    epochs, batch_size : int
    lr, min_lr : float
        Learning rate after warm-up, and at the end of the cosine.
    warmup_epochs : float
        Length of the linear warm-up, which starts at `warmup_lr`.
    warmup_lr, weight_decay : float
    beta2 : float
        How long AdamW remembers squared gradients. Not stated in the paper. Learning the template's fixed words gives
        large gradients first; with the usual 0.999 their memory slows learning from the image for a thousand steps.
    clip_norm : float
        Largest norm of the gradient; 0 for no limit. Not stated in the paper.
    augment : bool
        Random flips and right-angle rotations.
    keep : {"last", "best"}
        Weights of the last epoch, or of the epoch with the lowest loss on ``val``.
    seed : int
        Of initialisation, order and augmentation.
    """

    epochs: int
    batch_size: int
    lr: float
    warmup_epochs: float
    warmup_lr: float
    min_lr: float
    weight_decay: float
    beta2: float
    clip_norm: float
    augment: bool
    keep: Literal["last", "best"]
    seed: int

    def __post_init__(self) -> None:
        check_least(self, epochs=1, batch_size=1, warmup_epochs=0, warmup_lr=0, min_lr=0, weight_decay=0, clip_norm=0)
        check_least(self, seed=0)
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2: expected a number between 0 and 1, got {self.beta2}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Return the learning rate at a fractional epoch: linear warm-up, then cosine to ``min_lr``.

    Notes
    -----
    Not stated in the paper; the warm-up rises step by step rather than epoch by epoch.
    """
    if epoch < recipe.warmup_epochs:
        return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * epoch / recipe.warmup_epochs
    done = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def build_seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a model with seeded initial weights, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fit(
    model: nn.Module,
    make_loss: LossFactory,
    *,
    train: ScoredImages,
    val: ScoredImages,
    recipe: Recipe,
    device: torch.device,
) -> pd.DataFrame:
    """Fit a model in place.

    Parameters
    ----------
    model : Module
        Moved to `device`; left in evaluation mode with the kept weights.
    make_loss : callable
        See `LossFactory`; called once for `train` and once for `val`.
    train, val : ScoredImages
        `val` may be empty: then there is no validation loss, and ``keep`` must be ``last``.
    recipe : Recipe
    device : torch.device

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch, lr, train_loss, val_loss``.

    Raises
    ------
    UserError
        If there are no training images, or ``keep: best`` has no ``val`` to look at.
    """
    if not len(train):
        raise ArtifactError(
            "no image is in split 'train': give split.test_patients and split.val_patients fewer patients"
        )
    if recipe.keep == "best" and not len(val):
        raise ParamsError(
            "keep: 'best' needs validation patients, and there are none; set split.val_patients or keep: last"
        )
    model.to(device)
    optimizer = torch.optim.AdamW(_decay_groups(model, recipe.weight_decay), lr=recipe.lr, betas=(0.9, recipe.beta2))
    rng = np.random.default_rng(recipe.seed)
    train_loss, val_loss = make_loss(train, device), make_loss(val, device)
    curve, best_loss, best_state = [], math.inf, None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)  # dropout draws from the global generator
        progress = tqdm(range(recipe.epochs), desc=type(model).__name__, unit="epoch", disable=None)
        for epoch in progress:
            loss = _run_epoch(model, train_loss, optimizer, train, recipe, epoch, rng, device)
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"], "train_loss": loss}
            if len(val):
                row["val_loss"] = evaluate_loss(model, val_loss, val, recipe.batch_size, device)
                if recipe.keep == "best" and row["val_loss"] < best_loss:
                    best_loss = row["val_loss"]
                    best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
            curve.append(row)
            progress.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k.endswith("loss")})
            logger.info("epoch %d of %d: %s", epoch + 1, recipe.epochs, _describe(row))
    if best_state is not None:
        model.load_state_dict(best_state)
    model.eval()
    return pd.DataFrame(curve)


@torch.no_grad()
def evaluate_loss(model: nn.Module, loss: Loss, images: ScoredImages, batch_size: int, device: torch.device) -> float:
    """Return the mean loss over images, without augmentation."""
    model.eval()
    total = 0.0
    for indices in np.array_split(np.arange(len(images)), math.ceil(len(images) / batch_size)):
        batch = torch.from_numpy(images.batch(indices)).to(device)
        total += loss(model, batch, indices).item() * len(indices)
    return total / len(images)


def _run_epoch(
    model: nn.Module,
    loss_of: Loss,
    optimizer: torch.optim.Optimizer,
    images: ScoredImages,
    recipe: Recipe,
    epoch: int,
    rng: np.random.Generator,
    device: torch.device,
) -> float:
    model.train()
    order = rng.permutation(len(images))
    batches = np.array_split(order, math.ceil(len(order) / recipe.batch_size))
    total = 0.0
    for step, indices in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, epoch + step / len(batches))
        batch = torch.from_numpy(images.batch(indices)).to(device)
        if recipe.augment:
            batch = turn_and_flip(batch, rng)
        loss = loss_of(model, batch, indices)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        total += loss.item() * len(indices)
    return total / len(order)


def turn_and_flip(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn each image (B, 1, H, W) by a random right angle and flip it left to right at random."""
    turns, flips = rng.integers(4, size=len(images)), rng.integers(2, size=len(images))
    turned = [torch.rot90(image, int(k), (-2, -1)) for image, k in zip(images, turns, strict=True)]
    return torch.stack([t.flip(-1) if f else t for t, f in zip(turned, flips, strict=True)])


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    # Biases, normalisation and other vectors are not decayed, as in Medical X-VL.
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _describe(row: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")


def summarise_curve(curve: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    """Return the losses of the kept epoch, and which epoch that is, for a metrics file."""
    column = "val_loss" if recipe.keep == "best" else "epoch"
    kept = curve.loc[curve[column].idxmin() if recipe.keep == "best" else curve.index[-1]]
    names = [name for name in ("epoch", "train_loss", "val_loss") if name in curve]
    return {name: int(kept[name]) if name == "epoch" else float(kept[name]) for name in names}
