"""An oracle, not a baseline: the commonest training score of each variant, told how the image was made.

It shows how much of the scores the kind of image explains by itself. No method that sees only the image can be told that.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import ArtifactWriter
from iqagpt.baselines.commonest import commonest_scores
from iqagpt.criteria import KEYS
from iqagpt.scored_images import ScoredImages


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.majority_by_variant``: nothing to set."""


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    train = images.subset("train").table
    scores = {variant: commonest_scores(rows) for variant, rows in train.groupby("variant")}
    writer.json("scores", scores)
    # A variant that no training image has, as in a reader study: the commonest scores of all.
    unseen = commonest_scores(train)
    return pd.DataFrame([scores.get(v, unseen) for v in images.held_out().table["variant"]], columns=list(KEYS))
