"""The commonest training score of each criterion for every image: what a result must beat to mean anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.artifacts import Artifact, ArtifactWriter, read_json
from iqagpt.baselines.commonest import commonest_scores
from iqagpt.criteria import KEYS
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.majority``: nothing to set."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    scores = commonest_scores(images.subset("train").table)
    writer.json("scores", scores)
    return pd.DataFrame([scores] * len(images.held_out()), columns=list(KEYS))


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    scores = read_json(artifact.path / "scores.json")

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        return pd.DataFrame([scores] * len(images_hu), columns=list(KEYS)).astype("Float64")

    return Scorer(score, tuple(artifact.info["window_hu"]), None, "whole scores")
