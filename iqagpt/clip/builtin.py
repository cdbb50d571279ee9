"""The small CLIP that stands in for published weights: fitted to descriptions of facts, never to scores, then frozen.

CLIP's contrastive loss on crops of the training patients and sentences about them (`iqagpt.clip.facts`). Sentences repeat, so
equal sentences of a batch are one text; all of a batch tell the same kinds of facts, so a sentence is never right by halves.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from iqagpt.batches import ahead
from iqagpt.clip.facts import WORDS, FactCrops, Facts, candidates
from iqagpt.clip.model import Clip, ImageTower, TextTower
from iqagpt.clip.quality import probabilities
from iqagpt.clip.stored import frozen
from iqagpt.clip.tokens import ClipTokens, word_tokens
from iqagpt.config import check_least
from iqagpt.errors import ArtifactError
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng
from iqagpt.training import build_seeded

logger = logging.getLogger(__name__)

#: The text tower: a handful of words needs no more.
TEXT = TextTower(width=64, layers=2, heads=2, intermediate=128, positions=77)
#: Largest scale of the cosines, as published.
MAX_SCALE = 100.0
#: Crops of validation slices on which the facts are asked.
ASKED = 96


@dataclass(frozen=True, slots=True)
class BuiltinParams:
    """The builtin CLIP; both CLIP rivals have the same.

    Attributes
    ----------
    width, stem : int
        Of the image tower, 64 in RN50; see `ImageTower`.
    embedding : int
        Width of the common space, 1024 with RN50.
    crop_px : int
        Side of a training crop, at least 64.
    steps, batch_size : int
    lr : float
        After a tenth of the steps; a cosine to zero follows.
    seed : int
    """

    width: int
    stem: int
    embedding: int
    crop_px: int
    steps: int
    batch_size: int
    lr: float
    seed: int

    def __post_init__(self) -> None:
        check_least(self, width=8, stem=2, embedding=1, crop_px=64, steps=1, batch_size=2, seed=0)
        for name, multiple in (("width", 8), ("stem", 2)):
            if getattr(self, name) % multiple:
                raise ValueError(f"{name}: expected a multiple of {multiple}, got {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


@dataclass(frozen=True)
class Builtin:
    """A fitted builtin CLIP.

    Attributes
    ----------
    clip : Clip
    tokens : ClipTokens
    facts : tuple of str
        Kinds of facts that it was told, of `iqagpt.clip.facts.KINDS`.
    curve : DataFrame
        ``step, loss``, means over a tenth of the steps.
    known : DataFrame
        How often it tells a fact of unseen slices right: ``fact, crops, sentences, accuracy, commonest`` (accuracy of always saying
        the commonest); empty without validation slices.
    """

    clip: Clip
    tokens: ClipTokens
    facts: tuple[str, ...]
    curve: pd.DataFrame
    known: pd.DataFrame


def fit_builtin(images: ScoredImages, params: BuiltinParams, device: torch.device) -> Builtin:
    """Fit the builtin CLIP on the training slices, on `device`, and freeze it.

    Raises
    ------
    ArtifactError
        If no slice trains.
    """
    crops = FactCrops(images.subset("train"), params.crop_px)
    if not len(crops):
        raise ArtifactError(
            "no image is in split 'train': give split.test_patients and split.val_patients fewer patients"
        )
    tokens = word_tokens(WORDS)
    tower = ImageTower(params.width, params.stem, (1, 1, 1, 1))
    clip = build_seeded(
        lambda: Clip(tower, TEXT, embedding=params.embedding, vocabulary_size=tokens.size, eos=tokens.end), params.seed
    ).to(device)
    losses = _fit(clip, tokens, crops, params)
    frozen(clip)
    parts = np.array_split(np.arange(params.steps), min(10, params.steps))
    curve = pd.DataFrame([(int(part[-1]) + 1, losses[part].mean()) for part in parts], columns=["step", "loss"])
    val = FactCrops(images.subset("val"), params.crop_px)
    return Builtin(clip, tokens, crops.kinds, curve, _ask(clip, tokens, val, params))


def _fit(clip: Clip, tokens: ClipTokens, crops: FactCrops, params: BuiltinParams) -> np.ndarray:
    device = clip.logit_scale.device
    optimizer = torch.optim.AdamW(clip.parameters(), lr=params.lr, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    warmup = max(1, params.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 * (1 + np.cos(np.pi * step / params.steps)))
    )
    clip.train()
    losses = []

    def draw(step: int) -> tuple[torch.Tensor, list[str]]:
        rng = item_rng(params.seed, "clip", str(step))
        pixels, facts = crops.draw(params.batch_size, rng)
        kinds = _kinds(crops.kinds, rng)
        return torch.from_numpy(pixels), [fact.text(kinds) for fact in facts]

    for pixels, texts in ahead(draw, tqdm(range(params.steps), "builtin CLIP", unit="step", disable=None)):
        loss = contrastive_loss(clip, tokens, pixels.to(device), texts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=float(np.log(MAX_SCALE)))
        losses.append(loss.detach())
    return torch.stack(losses).double().cpu().numpy()


def contrastive_loss(clip: Clip, tokens: ClipTokens, images: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Return CLIP's loss in both directions, equal texts being one text with several images.

    Parameters
    ----------
    images : Tensor, (B, 1, H, W)
    texts : list of B str
    """
    different = sorted(set(texts))
    place = torch.tensor([different.index(text) for text in texts], device=images.device)
    ids, _ = tokens.ids(different)
    logits = clip.logit_scale.exp() * clip.encode_images(images) @ clip.encode_texts(ids.to(images.device)).T
    belongs = functional.one_hot(place, len(different)).float()
    to_images = -(logits.log_softmax(dim=0) * belongs).sum(dim=0) / belongs.sum(dim=0)
    return 0.5 * (functional.cross_entropy(logits, place) + to_images.mean())


def _kinds(known: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Choose which kinds of facts a batch tells: any but none."""
    told = [kind for kind in known if rng.integers(2)]
    return told or [known[rng.integers(len(known))]]


@torch.inference_mode()
def _ask(clip: Clip, tokens: ClipTokens, crops: FactCrops, params: BuiltinParams) -> pd.DataFrame:
    rows = []
    if len(crops):
        device = clip.logit_scale.device
        pixels, facts = crops.draw(ASKED, item_rng(params.seed, "clip", "val"))
        parts = torch.from_numpy(pixels).to(device).split(params.batch_size)
        seen = torch.cat([clip.encode_images(part) for part in parts])
        for kind in crops.kinds:
            rows.append((kind, len(facts), *_accuracy(clip, tokens, seen, kind, facts)))
            logger.info("builtin CLIP: %s of unseen slices right in %.0f %%", kind, 100 * rows[-1][3])
    return pd.DataFrame(rows, columns=["fact", "crops", "sentences", "accuracy", "commonest"])


def _accuracy(
    clip: Clip, tokens: ClipTokens, seen: torch.Tensor, kind: str, facts: list[Facts]
) -> tuple[int, float, float]:
    texts = candidates(kind, facts)
    truth = np.array([texts.index(fact.text([kind])) for fact in facts])
    ids, _ = tokens.ids(texts)
    told = (
        probabilities(seen, clip.encode_texts(ids.to(seen.device)), clip.logit_scale.exp()).argmax(dim=1).cpu().numpy()
    )
    return len(texts), float((told == truth).mean()), float(np.bincount(truth).max() / len(truth))
