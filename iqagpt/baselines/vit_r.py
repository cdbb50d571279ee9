"""ViT-R: image-only multi-task regression with the mean squared error (paper 3.2, Fig. 5b).

Not stated in the paper: how regression treats "no lesion". Here it continues the scale of lesion conspicuity as 5, beyond
the least conspicuous lesion, and an output above 4.5 is read back as "no lesion".
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from iqagpt.artifacts import ArtifactWriter
from iqagpt.baselines.vit_heads import HeadsParams, fit_heads, score_classes
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.criteria import BEST, KEYS, SCORES, WORST
from iqagpt.device import move
from iqagpt.scored_images import ScoredImages
from iqagpt.training import Loss

NO_LESION = len(SCORES) + 1
#: Heads predict the distance from here, so that an untrained model starts in the middle of the scale.
MIDDLE = (BEST + WORST) / 2


@dataclass(frozen=True, slots=True)
class Params(HeadsParams):
    """Section ``baseline.vit_r``; see `HeadsParams`."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Pretrained, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    outputs = fit_heads(params, images, pretrained, dict.fromkeys(KEYS, 1), squared_error, writer)
    scores = pd.DataFrame({key: MIDDLE + values[:, 0].astype(float) for key, values in outputs.items()})
    absent = scores["lesion_conspicuity"] > NO_LESION - 0.5
    return scores.assign(lesion_conspicuity=scores["lesion_conspicuity"].mask(absent))


def squared_error(images: ScoredImages, device: torch.device) -> Loss:
    """Return the sum over criteria of the mean squared error."""
    scores = score_classes(images.table, NO_LESION).to(device).float() - MIDDLE

    def loss(model: nn.Module, batch: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        targets = scores[move(indices, device)]
        outputs = model(batch)
        return torch.stack([functional.mse_loss(outputs[k][:, 0], targets[:, i]) for i, k in enumerate(KEYS)]).sum()

    return loss
