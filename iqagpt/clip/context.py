"""Learned context of CLIP-IQA+: vectors around a pair of antonym prompts, fitted to the scores of one criterion (CoOp).

Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022; Wang et al., AAAI 2023: 16 vectors, the same around both
texts, the mean squared error of the better text's probability. Everything else is frozen, so that the images are encoded once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from iqagpt.batches import Draw, in_batches, load_images, shuffled
from iqagpt.clip.model import Clip
from iqagpt.clip.quality import probabilities
from iqagpt.clip.tokens import ClipTokens
from iqagpt.scored_images import ScoredImages
from iqagpt.training import Recipe, learning_rate, set_learning_rate

#: SD of the context at the start, as in CoOp.
START_SD = 0.02


@dataclass(frozen=True)
class Seen:
    """Images as the frozen tower sees them, and what is to be learned of them.

    Attributes
    ----------
    vectors : Tensor, (views, N, D)
        Unit vectors of every image, turned and flipped in as many ways as are used.
    quality : Tensor, (N,), float32
        Probability that the better text should have.
    """

    vectors: torch.Tensor
    quality: torch.Tensor


def encode(clip: Clip, images: ScoredImages, *, batch_size: int, device: torch.device, views: int = 1) -> torch.Tensor:
    """Return unit vectors (views, N, D) of images: as they are, or in all eight ways to turn and flip them.

    View ``2 * turns + flip`` is turned by so many right angles, then flipped.
    """
    found = []
    for view in range(views):
        turns, flip = divmod(view, 2)
        batches = [
            Draw(batch, np.full(len(batch), turns), np.full(len(batch), flip))
            for batch in (in_batches(len(images), batch_size) if len(images) else [])
        ]
        loaded = load_images(images, batches, device)
        found.append(encode_batches(clip, tqdm(loaded, "CLIP images", len(batches), unit="batch", disable=None)))
    return torch.stack(found)


@torch.no_grad()
def encode_batches(clip: Clip, batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return unit vectors (N, D) of batches of images (B, 1, H, W) in [0, 1]."""
    parts = [clip.encode_images(batch) for batch in batches]
    return torch.cat(parts) if parts else torch.empty(0, clip.config["embedding"])


def fit_context(
    clip: Clip,
    tokens: ClipTokens,
    pair: tuple[str, str],
    *,
    train: Seen,
    val: Seen,
    recipe: Recipe,
    count: int,
    name: str,
) -> tuple[torch.Tensor, pd.DataFrame]:
    """Learn the context of one criterion.

    Parameters
    ----------
    clip : Clip
        Frozen.
    pair : (str, str)
        The better text first.
    train, val : Seen
        `val` may be empty, unless ``keep`` is ``best``.
    recipe : Recipe
    count : int
        Vectors to learn.
    name : str
        For the progress bar.

    Returns
    -------
    context : Tensor, (count, text width)
    curve : DataFrame
        ``epoch, train_loss, val_loss``.
    """
    device = clip.logit_scale.device
    ids, slots = (tensor.to(device) for tensor in tokens.ids(pair, count))
    generator = torch.Generator().manual_seed(recipe.seed)
    start = torch.randn(count, clip.config["text"]["width"], generator=generator) * START_SD
    context = start.to(device).requires_grad_()
    optimizer = torch.optim.AdamW([context], lr=recipe.lr, betas=(0.9, recipe.beta2), weight_decay=recipe.weight_decay)

    def loss(seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        texts = clip.encode_texts(ids, slots, context)
        return functional.mse_loss(probabilities(seen, texts, clip.logit_scale.exp())[:, 0], wanted)

    curve, best = [], None
    for epoch in tqdm(range(recipe.epochs), f"context of {name}", unit="epoch", disable=None):
        draw = shuffled(len(train.quality), recipe.seed, epoch, augment=recipe.augment)
        batches = in_batches(len(draw), recipe.batch_size)
        total = 0.0
        for step, batch in enumerate(batches):
            part = draw[batch]
            set_learning_rate(optimizer, learning_rate(recipe, epoch + step / len(batches)))
            found = loss(train.vectors[2 * part.turns + part.flips, part.indices], train.quality[part.indices])
            optimizer.zero_grad(set_to_none=True)
            found.backward()
            if recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_([context], recipe.clip_norm)
            optimizer.step()
            total += found.item() * len(part) / len(draw)
        row = {"epoch": epoch + 1, "train_loss": total}
        if len(val.quality):
            with torch.no_grad():
                row["val_loss"] = loss(val.vectors[0], val.quality).item()
        curve.append(row)
        if recipe.keep == "best" and (best is None or row["val_loss"] < best[0]):
            best = row["val_loss"], context.detach().clone()
    return (context.detach() if best is None else best[1]), pd.DataFrame(curve)
