"""The four pre-training objectives of Medical X-VL, and one of ours, on the captioner's own modules (paper 2.2, reference 13).

* **contrast** draws the embeddings of an image and its caption together, across and within the modalities, against
  a queue of earlier ones from a slowly following copy of the model (the teacher);
* **language** restores masked words of the caption, seeing the image;
* **image** restores masked patches, told the caption;
* **matching** tells whether image and caption belong together;
* **lesion**, not one of the four; ours: says where a lesion is, from the masks of simulated ones. It alone teaches the path of
  the stem ``focal``, and touches nothing else.

The text stack sees whole captions here, not only what went before: its layers serve as BERT's.

Notes
-----
Not stated in the paper; where this departs from Medical X-VL, and why:

* Template captions repeat, so images of equal captions count as belonging together in ``contrast`` and are no negatives
  in ``matching``.
* Words that not every caption has, which carry the scores, are masked more often, as Medical X-VL does with MeSH terms.
* ``image`` restores the mean and the strength of texture by frequency band of a masked patch, not a teacher's codes: noise
  itself cannot be predicted, its strength can, and that is what is scored. Pixels are masked before the stem, since
  convolutions would see them from neighbouring patches. The caption enters through the embedding of its [CLS]: image tokens are
  narrower than the text stack, so they cannot pass through its layers.
* ``matching`` is decided on the text side only, for the same reason.
"""

from copy import deepcopy
from dataclasses import astuple, dataclass, fields

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.contrast import TEMPERATURES, Contrast
from iqagpt.captioner.focal_path import lesion_loss
from iqagpt.captioner.image_encoder import texture_energy
from iqagpt.captioner.masking import WordMask, masked_blocks
from iqagpt.captioner.text_stack import TextStack
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.config import check_least

#: Of a masked pixel: the middle of the window.
GREY = 0.5


@dataclass(frozen=True, slots=True)
class Weights:
    """Weight of each objective in the loss; 0 turns it off."""

    contrast: float
    language: float
    image: float
    matching: float
    lesion: float

    def __post_init__(self) -> None:
        check_least(self, contrast=0, language=0, image=0, matching=0, lesion=0)
        if not self.active:
            raise ValueError("contrast: expected at least one objective with a weight above 0, got 0 for all")

    @property
    def active(self) -> dict[str, float]:
        """The weights above 0, by name."""
        return {field.name: value for field, value in zip(fields(self), astuple(self), strict=True) if value}


@dataclass(frozen=True, slots=True)
class ObjectiveParams:
    """Settings of the objectives.

    Attributes
    ----------
    embedding : int
        Width of the embeddings that are contrasted.
    queue : int
        Earlier embeddings of each modality that are kept.
    momentum : float
        Part of the teacher that stays at each step, 0 to 1.
    distillation : float
        Part of the targets of contrast and language that comes from the teacher, 0 to 1; rises from 0 during the first epoch.
    temperature : float
        First temperature of contrast; learnt.
    masked_words : float
        Part of the words that is masked, 0 to 1.
    emphasis : float
        How many times as often words that not every caption has are masked, at least 1.
    masked_patches : float
        Part of the image that is masked, in blocks, 0 to 1.
    """

    embedding: int
    queue: int
    momentum: float
    distillation: float
    temperature: float
    masked_words: float
    emphasis: float
    masked_patches: float

    def __post_init__(self) -> None:
        check_least(self, embedding=1, queue=1, emphasis=1)
        for name in ("momentum", "distillation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")
        for name in ("masked_words", "masked_patches"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number between 0 and 1, got {getattr(self, name)}")
        if not TEMPERATURES[0] <= self.temperature <= TEMPERATURES[1]:
            raise ValueError(f"temperature: expected {TEMPERATURES[0]} to {TEMPERATURES[1]}, got {self.temperature}")


OBJECTIVES = tuple(field.name for field in fields(Weights))


@dataclass(frozen=True)
class Batch:
    """One step's images and captions.

    Attributes
    ----------
    images, turned : Tensor, (B, 1, H, W), in [0, 1]
        The same images, turned and flipped in two ways: for the model and for its teacher.
    ids : Tensor, (B, T), int64
        Captions, padded on the right.
    keys : Tensor, (B,), int64
        Equal where captions are.
    lesions : Tensor, (B, H / 8, W / 8), bool, optional
        Where a lesion is, placed as `images`; needed for the objective ``lesion``.
    """

    images: torch.Tensor
    turned: torch.Tensor
    ids: torch.Tensor
    keys: torch.Tensor
    lesions: torch.Tensor | None = None


class Objectives(nn.Module):
    """The captioner to be pre-trained with what the objectives add to it: teacher, heads, queue.

    Attributes
    ----------
    student, teacher : Captioner
        The teacher follows the student and is not fitted.
    """

    def __init__(
        self, captioner: Captioner, weights: Weights, settings: ObjectiveParams, tokenizer: CaptionTokenizer
    ) -> None:
        super().__init__()
        image_width = captioner.config["encoder"]["width"]
        text_width = captioner.config["text"]["width"]
        self.weights, self.settings = weights.active, settings
        self.patch_size = captioner.config["encoder"]["patch_size"]
        self.pad_id = tokenizer.pad_id
        self.student = captioner
        self.contrast = Contrast(
            image_width, text_width, settings.embedding, length=settings.queue, temperature=settings.temperature
        )
        self.words = WordMask(tokenizer, settings.masked_words, settings.emphasis)
        if "image" in self.weights:
            self.restore = RestorePatches(image_width, text_width, self.patch_size)
        self.match = nn.Linear(text_width, 2)
        self.teacher = deepcopy(captioner).requires_grad_(False)
        if captioner.config["encoder"]["stem"] == "focal":
            # One path: it uses its running statistics, which do not follow (see `_follow`).
            self.teacher.image_encoder.patch_embed.focal = captioner.image_encoder.patch_embed.focal

    def forward(self, batch: Batch, *, trust: float, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return the loss of each active objective, without its weight.

        Parameters
        ----------
        batch : Batch
        trust : float
            Part of ``distillation`` that holds yet, 0 to 1.
        rng : numpy.random.Generator
            For the masked patches.
        """
        losses = self._of_captions(batch, trust, rng) if self.weights.keys() - {"lesion"} else {}
        if "lesion" in self.weights:
            losses["lesion"] = self._lesion(batch)
        return losses

    def _of_captions(self, batch: Batch, trust: float, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        self._follow()
        seen = batch.ids != self.pad_id
        trust = trust * self.settings.distillation
        losses, similarity, active = {}, None, self.weights.keys() - {"lesion"}
        image = None if active == {"image"} else self.student.encode_image(batch.images)
        text = None if active == {"language"} else read_text(self.student.text, batch.ids, seen)
        with torch.no_grad():
            image_taught = self.teacher.encode_image(batch.turned) if {"contrast", "language"} & active else None
        if "contrast" in self.weights:
            with torch.no_grad():
                text_taught = read_text(self.teacher.text, batch.ids, seen)
            taught = image_taught[:, 0], text_taught[:, 0]
            losses["contrast"], similarity = self.contrast(image[:, 0], text[:, 0], taught, batch.keys, trust)
        if "language" in self.weights:
            losses["language"] = self._language(batch.ids, seen, image, image_taught, trust)
        if "image" in self.weights:
            losses["image"] = self._image(batch.images, text[:, 0], rng)
        if "matching" in self.weights:
            losses["matching"] = self._matching(image, text, seen, batch.keys, similarity)
        return losses

    def total(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of the losses."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    @torch.no_grad()
    def _follow(self) -> None:
        # Buffers do not follow: the running statistics of batch normalisation are each model's own.
        pairs = [(self.teacher, self.student)]
        if "contrast" in self.weights:
            pairs += [
                (self.contrast.image_taught, self.contrast.image),
                (self.contrast.text_taught, self.contrast.text),
            ]
        for teacher, student in pairs:
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 1 - self.settings.momentum)

    def _language(
        self,
        ids: torch.Tensor,
        seen: torch.Tensor,
        image: torch.Tensor,
        image_taught: torch.Tensor,
        trust: float,
    ) -> torch.Tensor:
        masked, chosen = self.words(ids)
        logits = restore_words(self.student.text, masked, seen, image)[chosen]
        loss = functional.cross_entropy(logits, ids[chosen])
        if trust:
            with torch.no_grad():
                taught = restore_words(self.teacher.text, masked, seen, image_taught)[chosen].softmax(-1)
            loss = (1 - trust) * loss + trust * functional.cross_entropy(logits, taught)
        return loss

    def _image(self, images: torch.Tensor, caption: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        side = images.shape[-1] // self.patch_size
        blocks = [masked_blocks(side, self.settings.masked_patches, rng) for _ in images]
        hidden = torch.from_numpy(np.stack(blocks)).to(images.device)
        pixels = hidden.repeat_interleave(self.patch_size, 1).repeat_interleave(self.patch_size, 2)
        tokens = self.student.encode_image(images.masked_fill(pixels[:, None], GREY))[:, 1:]
        target = texture_energy(images, self.patch_size).flatten(2).transpose(1, 2)
        hidden = hidden.flatten(1)
        return functional.smooth_l1_loss(self.restore(tokens, caption)[hidden], target[hidden])

    def _lesion(self, batch: Batch) -> torch.Tensor:
        path = self.student.image_encoder.patch_embed.focal
        logits = path.train(self.training)(batch.images)
        path.eval()
        return lesion_loss(logits, batch.lesions)

    def _matching(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        seen: torch.Tensor,
        keys: torch.Tensor,
        similarity: torch.Tensor | None,
    ) -> torch.Tensor:
        other = keys[:, None] != keys[None]
        able = other.any(1).nonzero()[:, 0]  # images and captions that have a negative in this batch
        logits = torch.zeros_like(other, dtype=torch.float) if similarity is None else similarity.detach()
        texts, images, marks = [text], [image], [seen]
        if len(able):
            wrong_text, wrong_image = (
                torch.multinomial(likeness.masked_fill(~other, -torch.inf)[able].softmax(1), 1)[:, 0]
                for likeness in (logits, logits.T)
            )
            texts += [text[wrong_text], text[able]]
            images += [image[able], image[wrong_image]]
            marks += [seen[wrong_text], seen[able]]
        fused = fuse(self.student.text, torch.cat(texts), torch.cat(marks), torch.cat(images))
        truth = torch.zeros(len(fused), dtype=torch.long, device=fused.device)
        truth[: len(text)] = 1
        return functional.cross_entropy(self.match(fused[:, 0]), truth)


class RestorePatches(nn.Module):
    """Texture of a patch from its token and the caption's [CLS]."""

    def __init__(self, image_width: int, text_width: int, patch_size: int) -> None:
        super().__init__()
        # Measured, not computed, so that the number of bands is known in one place.
        blank = torch.zeros(1, 1, patch_size, patch_size)
        outputs = texture_energy(blank, patch_size).shape[1]
        self.caption = nn.Linear(text_width, image_width)
        self.layers = nn.Sequential(nn.Linear(image_width, image_width), nn.GELU(), nn.Linear(image_width, outputs))

    def forward(self, tokens: torch.Tensor, caption: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, N, width) and captions (B, text width) to texture (B, N, bands)."""
        return self.layers(tokens + self.caption(caption)[:, None])


def read_text(stack: TextStack, ids: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Run the layers without cross-attention in both directions, (B, T, width); `seen` (B, T) hides padding."""
    hidden = stack.embeddings(input_ids=ids)
    for layer in stack.layers:
        if not layer.add_cross_attention:
            hidden = layer(hidden, _attention(seen))
    return hidden


def fuse(stack: TextStack, hidden: torch.Tensor, seen: torch.Tensor, image_tokens: torch.Tensor) -> torch.Tensor:
    """Run the layers with cross-attention to the image in both directions, (B, T, width)."""
    for layer in stack.layers:
        if layer.add_cross_attention:
            hidden = layer(hidden, _attention(seen), image_tokens)
    return hidden


def restore_words(stack: TextStack, ids: torch.Tensor, seen: torch.Tensor, image_tokens: torch.Tensor) -> torch.Tensor:
    """Return logits (B, T, vocabulary) for the words at, not after, the places of `ids`."""
    return stack.head(fuse(stack, read_text(stack, ids, seen), seen, image_tokens))


def _attention(seen: torch.Tensor) -> torch.Tensor:
    return seen[:, None, None].expand(-1, 1, seen.shape[1], -1)
