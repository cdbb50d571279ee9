"""The training recipe that captioner, ViT-C and ViT-R share (paper 2.4), and its loop.

AdamW, linear warm-up, cosine decay, flips and right-angle rotations of full-size images. Arbitrary rotation would interpolate
and so smooth the very noise that is scored.

On the CPU equal inputs give equal bytes, also when a fit is killed and continues from its checkpoint: every draw follows from the
seed and the epoch. Several processes share each batch (`iqagpt.processes`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqagpt import processes
from iqagpt.batches import Draw, feeder, in_batches, in_order, load_images, shuffled
from iqagpt.checkpoints import Checkpoint, key_of, run_epochs
from iqagpt.config import check_least
from iqagpt.device import compiled, mixed_precision, move
from iqagpt.errors import ArtifactError, InputError, ParamsError
from iqagpt.recording import Recorded
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng

#: Maps a model, images (B, 1, H, W) and their indices in a table (B,), on the same device, to a scalar loss, mean over the batch.
#: The model is called as the one given to `fit` would be, and has its methods. On a GPU nothing may be read back (`recording`).
Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
#: Prepares the targets of a table of images on a device, and returns the loss against them.
LossFactory = Callable[[ScoredImages, torch.device], Loss]
#: Yields the images of draws, see `iqagpt.batches.feeder`.
Feeder = Callable[[Iterable[Draw]], Iterator[torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How weights are moved: what fine-tuning and pre-training share.

    Attributes
    ----------
    epochs, batch_size : int
        `batch_size` images make a step, whatever the number of processes.
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
    seed: int

    def __post_init__(self) -> None:
        check_least(self, epochs=1, batch_size=1, warmup_epochs=0, warmup_lr=0, min_lr=0, weight_decay=0, clip_norm=0)
        check_least(self, seed=0)
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2: expected a number between 0 and 1, got {self.beta2}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


@dataclass(frozen=True, slots=True)
class Recipe(Optimisation):
    """How a model is fitted.

    Attributes
    ----------
    augment : bool
        Random flips and right-angle rotations.
    keep : {"last", "best"}
        Weights of the last epoch, or of the epoch with the lowest loss on ``val``.
    """

    augment: bool
    keep: Literal["last", "best"]


def learning_rate(recipe: Optimisation, epoch: float) -> float:
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
    checkpoint: Checkpoint | None = None,
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
    checkpoint : Checkpoint, optional
        Continued from, where it fits, and written between epochs. The caller removes it once the result is stored.

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch, lr, train_loss, val_loss``.

    Raises
    ------
    UserError
        If there are no training images, or ``keep: best`` has no ``val`` to look at, or a batch has fewer images than there are
        processes.
    """
    _check(train, val, recipe)
    checkpoint = checkpoint or Checkpoint(None)
    state = checkpoint.open(_key(model, recipe, train, val)) if checkpoint.enabled else None
    fitting = Fitting(model, make_loss, train=train, val=val, recipe=recipe, device=device)
    run_epochs(fitting, recipe.epochs, type(model).__name__, device, checkpoint, state)
    return fitting.finish()


class Fitting:
    """A fit under way: everything that changes from epoch to epoch; see `fit`, which drives it.

    Attributes
    ----------
    epoch : int
        Epochs done.
    curve : list of dict
        One row per epoch.
    step_losses : ndarray, (steps,)
        Loss of every step of the last epoch, before the step.
    """

    def __init__(
        self,
        model: nn.Module,
        make_loss: LossFactory,
        *,
        train: ScoredImages,
        val: ScoredImages,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        self.model, self.recipe, self.device = model.to(device), recipe, device
        processes.share_batch_norm(model)
        self.epoch, self.curve, self.step_losses = 0, [], np.zeros(0)
        self._best: tuple[float, dict[str, torch.Tensor]] | None = None
        self._called = compiled(model, device)
        self._train, self._val = train, val
        self._train_loss, self._val_loss = make_loss(train, device), make_loss(val, device)
        self._load = feeder(train, device)
        self._load_val = feeder(val, device)
        self._optimizer = adamw(model, recipe, device)
        self._update = Recorded(self._update_once, device)

    def run_epoch(self) -> dict[str, float]:
        """Run one epoch and return its row of the curve. Sets the global random state, from which dropout draws."""
        stream = item_rng(self.recipe.seed, "dropout", str(self.epoch), str(processes.rank()))
        torch.manual_seed(int(stream.integers(2**63)))
        loss = self._run_steps()
        row = {"epoch": self.epoch + 1, "lr": float(self._optimizer.param_groups[0]["lr"]), "train_loss": loss}
        if len(self._val):
            row["val_loss"] = _mean_loss(
                self._called, self._val_loss, self._load_val, len(self._val), self.recipe.batch_size, self.device
            )
            if self.recipe.keep == "best" and (self._best is None or row["val_loss"] < self._best[0]):
                weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
                self._best = row["val_loss"], weights
        self.epoch += 1
        self.curve.append(row)
        return row

    def _run_steps(self) -> float:
        self.model.train()
        draw = shuffled(len(self._train), self.recipe.seed, self.epoch, augment=self.recipe.augment)
        batches = in_batches(len(draw), self.recipe.batch_size)
        shares = [draw[processes.share(batch)] for batch in batches]
        losses = []
        for step, images in enumerate(self._load(shares)):
            set_learning_rate(self._optimizer, learning_rate(self.recipe, self.epoch + step / len(batches)))
            indices = move(shares[step].indices, self.device)
            if processes.count() == 1:
                losses.append(self._update(images, indices))
            else:
                losses.append(self._update_once(images, indices, len(shares[step]) / len(batches[step])))
        # Read once an epoch: reading every step would stop a GPU every step.
        self.step_losses = processes.add_up(torch.stack(losses)).double().cpu().numpy()
        return float(np.average(self.step_losses, weights=[len(batch) for batch in batches]))

    def _update_once(self, images: torch.Tensor, indices: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
        with mixed_precision(self.device):
            loss = self._train_loss(self._called, images, indices)
        loss = loss * weight if weight != 1 else loss
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        processes.add_up_gradients(self.model.parameters())
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self._optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs; tensors are the live ones, not copies."""
        return {
            "epoch": self.epoch,
            "curve": self.curve,
            "best": self._best,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.epoch, self.curve, self._best = state["epoch"], state["curve"], state["best"]
        self.model.load_state_dict(state["model"])
        restore_optimizer(self._optimizer, state["optimizer"])

    def finish(self) -> pd.DataFrame:
        """Put the kept weights into the model, in evaluation mode, and return the curve."""
        if self._best is not None:
            self.model.load_state_dict(self._best[1])
        self.model.eval()
        return pd.DataFrame(self.curve)


def evaluate_loss(model: nn.Module, loss: Loss, images: ScoredImages, batch_size: int, device: torch.device) -> float:
    """Return the mean loss over images, without augmentation."""

    def load(draws: Iterable[Draw]) -> Iterator[torch.Tensor]:
        return load_images(images, draws, device)

    return _mean_loss(model, loss, load, len(images), batch_size, device)


@torch.no_grad()
def _mean_loss(model: nn.Module, loss: Loss, load: Feeder, count: int, batch_size: int, device: torch.device) -> float:
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    own = in_order(count)[processes.share(np.arange(count))]
    draws = [own[batch] for batch in in_batches(len(own), batch_size)] if len(own) else []
    for draw, images in zip(draws, load(draws), strict=True):
        with mixed_precision(device):
            total += loss(model, images, move(draw.indices, device)).double() * len(draw)
    return processes.add_up(total).item() / count


def _check(train: ScoredImages, val: ScoredImages, recipe: Recipe) -> None:
    if not len(train):
        raise ArtifactError(
            "no image is in split 'train': give split.test_patients and split.val_patients fewer patients"
        )
    if recipe.keep == "best" and not len(val):
        raise ParamsError(
            "keep: 'best' needs validation patients, and there are none; set split.val_patients or keep: last"
        )
    least = min(map(len, in_batches(len(train), recipe.batch_size)))
    if least < processes.count():
        raise InputError(
            f"{processes.VARIABLE}: {processes.count()} processes, but a batch has {least} images; use at most {least}"
        )


def _key(model: nn.Module, recipe: Recipe, train: ScoredImages, val: ScoredImages) -> str:
    kinds = [f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in (model, recipe)]
    return key_of(*kinds, repr(recipe), train.fingerprint(), val.fingerprint(), tensors=model.state_dict())


def adamw(model: nn.Module, recipe: Optimisation, device: torch.device) -> torch.optim.AdamW:
    """Return a recipe's optimizer; on a GPU its learning rate is a tensor there, so that steps can be recorded."""
    gpu = device.type == "cuda"
    lr = torch.tensor(recipe.lr, device=device) if gpu else recipe.lr
    groups = decay_groups(model, recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, recipe.beta2), fused=True, capturable=gpu)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state that another device may have written; where the steps run stays this optimizer's own matter."""
    own = [{key: group[key] for key in ("lr", "fused", "capturable")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Sort a model's parameters for AdamW: biases, normalisation and other vectors are not decayed, as in Medical X-VL."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def summarise_curve(curve: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    """Return the losses of the kept epoch, and which epoch that is, for a metrics file."""
    column = "val_loss" if recipe.keep == "best" else "epoch"
    kept = curve.loc[curve[column].idxmin() if recipe.keep == "best" else curve.index[-1]]
    names = [name for name in ("epoch", "train_loss", "val_loss") if name in curve]
    return {name: int(kept[name]) if name == "epoch" else float(kept[name]) for name in names}
