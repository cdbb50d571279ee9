"""ViT-C: image-only multi-task classification with cross-entropy (paper 3.2, Fig. 5a)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.baselines.absence import NO_LESION
from iqagpt.baselines.vit_heads import HeadsParams, fit_heads, load_heads, score_classes
from iqagpt.criteria import CRITERIA, SCORES
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer
from iqagpt.training import Loss

#: Class numbers 0..3 are scores 1..4; lesion conspicuity has a fifth class for "no lesion".
OUTPUTS = {c.key: len(SCORES) + (c.absent is not None) for c in CRITERIA}


@dataclass(frozen=True, slots=True)
class Params(HeadsParams):
    """Section ``baseline.vit_c``; see `HeadsParams`."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    asked = [images.held_out()]
    return _scores(*fit_heads(params, images, pretrained, OUTPUTS, cross_entropy, writer, asked))


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    return load_heads(artifact, OUTPUTS, _scores, "whole scores")


def _scores(logits: dict[str, np.ndarray]) -> pd.DataFrame:
    scores = pd.DataFrame({key: 1.0 + np.argmax(values, axis=1) for key, values in logits.items()})
    return scores.mask(scores == NO_LESION)


def cross_entropy(images: ScoredImages, device: torch.device) -> Loss:
    """Return the sum over criteria of the cross-entropy, mean over images."""
    classes = score_classes(images.table, NO_LESION).to(device) - 1

    def loss(model: nn.Module, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        targets = classes[indices]
        logits = model(batch)
        return torch.stack([functional.cross_entropy(logits[k], targets[:, i]) for i, k in enumerate(OUTPUTS)]).sum()

    return loss
