"""ViT-R: image-only multi-task regression with the mean squared error (paper 3.2, Fig. 5b).

Not stated in the paper: how regression treats "no lesion". Here it continues the scale of lesion conspicuity as 5, beyond
the least conspicuous lesion, and is read back above the output that is right most often on the training images.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.baselines.absence import LESION, NO_LESION, absence_cut
from iqagpt.baselines.vit_heads import HeadsParams, fit_heads, load_heads, score_classes
from iqagpt.criteria import BEST, KEYS, WORST
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer
from iqagpt.training import Loss

#: Heads predict the distance from here, so that an untrained model starts in the middle of the scale.
MIDDLE = (BEST + WORST) / 2
OUTPUTS = dict.fromkeys(KEYS, 1)


@dataclass(frozen=True, slots=True)
class Params(HeadsParams):
    """Section ``baseline.vit_r``; see `HeadsParams`."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    train = images.subset("train")
    asked = [train, images.held_out()]
    learned, found = fit_heads(params, images, pretrained, OUTPUTS, squared_error, writer, asked)
    absent_above = absence_cut(_continuous(learned)[LESION].to_numpy(), train.table[LESION].isna().to_numpy())
    writer.info["absent_above"] = absent_above
    return _scores(found, absent_above)


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    # Models of older versions say "no lesion" half way between 4 and 5.
    absent_above = artifact.info.get("absent_above", NO_LESION - 0.5)
    return load_heads(artifact, OUTPUTS, partial(_scores, absent_above=absent_above), "fractional scores")


def _continuous(outputs: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({key: MIDDLE + values[:, 0].astype(float) for key, values in outputs.items()})


def _scores(outputs: dict[str, np.ndarray], absent_above: float) -> pd.DataFrame:
    scores = _continuous(outputs)
    return scores.assign(**{LESION: scores[LESION].mask(scores[LESION] > absent_above)})


def squared_error(images: ScoredImages, device: torch.device) -> Loss:
    """Return the sum over criteria of the mean squared error."""
    scores = score_classes(images.table, NO_LESION).to(device).float() - MIDDLE

    def loss(model: nn.Module, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        targets = scores[indices]
        outputs = model(batch)
        return torch.stack([functional.mse_loss(outputs[k][:, 0], targets[:, i]) for i, k in enumerate(KEYS)]).sum()

    return loss
