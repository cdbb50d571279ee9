"""The commonest training score of each criterion for every image: what a result must beat to mean anything."""

from dataclasses import dataclass

import pandas as pd

from iqagpt.artifacts import ArtifactWriter
from iqagpt.baselines.commonest import commonest_scores
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.criteria import KEYS
from iqagpt.scored_images import ScoredImages


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.majority``: nothing to set."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Pretrained, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    scores = commonest_scores(images.subset("train").table)
    writer.json("scores", scores)
    return pd.DataFrame([scores] * len(images.held_out()), columns=list(KEYS))
