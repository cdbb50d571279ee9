"""Fit the captioner by next-token prediction (paper 2.2, Eq. 1; recipe of 2.4)."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.checkpoints import Checkpoint
from iqagpt.scored_images import ScoredImages
from iqagpt.training import Loss, Recipe, build_seeded, fit

IGNORE = -100


@dataclass(frozen=True, slots=True)
class TrainParams(Recipe):
    """Section ``train``: the `Recipe` of the captioner; its geometry is that of ``models/pretrained``."""


def fit_captioner(
    params: TrainParams,
    images: ScoredImages,
    tokenizer: CaptionTokenizer,
    pretrained: Pretrained,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> tuple[Captioner, pd.DataFrame]:
    """Build a captioner, start it from what is pre-trained, and fit it on the ``train`` images.

    See `iqagpt.training.fit` for `checkpoint`.

    Returns
    -------
    Captioner
        In evaluation mode.
    DataFrame
        The learning curve, one row per epoch; losses are nats per caption.
    """
    model = build_seeded(
        lambda: Captioner(
            pretrained.encoder, pretrained.text, image_size=images.image_size, vocabulary_size=tokenizer.size
        ),
        params.seed,
    )
    pretrained.start(model)
    curve = fit(
        model,
        lambda subset, where: caption_loss(subset, tokenizer, where),
        train=images.subset("train"),
        val=images.subset("val"),
        recipe=params,
        device=device,
        checkpoint=checkpoint,
    )
    return model, curve


def caption_loss(images: ScoredImages, tokenizer: CaptionTokenizer, device: torch.device) -> Loss:
    """Return the loss of Eq. 1: minus the log-likelihood of a caption, summed over tokens, mean over images."""
    ids = pad(tokenizer.encode(images.table["caption"].tolist()), tokenizer.pad_id).to(device)

    def loss(model: nn.Module, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        tokens = ids[indices]
        logits = model(batch, tokens[:, :-1])
        targets = tokens[:, 1:].masked_fill(tokens[:, 1:] == tokenizer.pad_id, IGNORE)
        total = functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORE, reduction="sum")
        return total / len(batch)

    return loss


def pad(sequences: list[list[int]], pad_id: int) -> torch.Tensor:
    """Pad token ids on the right to one length, (B, T), int64."""
    if not sequences:
        return torch.zeros((0, 0), dtype=torch.long)
    rows = [torch.tensor(sequence) for sequence in sequences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id)
