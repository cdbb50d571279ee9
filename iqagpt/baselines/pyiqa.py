"""Any no-reference metric of pyiqa by name (IQA-PyTorch; Chen and Mo), for those who have installed that package.

It is no dependency of this package: its licence (PolyForm Noncommercial) is for the user to accept. It fetches a metric's weights
into a cache of its own. The metric sees the windowed image, grey as three equal channels in [0, 1], at its own size. A small
decision tree per criterion, fitted on the training images, turns it into scores, so that it does not matter whether lower or
higher is better.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from iqagpt.artifacts import Artifact, ArtifactWriter, read_json
from iqagpt.baselines.one_measure import apply_steps, fit_steps
from iqagpt.batches import in_batches, in_order, load_images
from iqagpt.config import check_least, suggest
from iqagpt.device import pick_device
from iqagpt.errors import InputError
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer, window_batches

TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.pyiqa``.

    Attributes
    ----------
    metric : str
        Name of a no-reference metric in pyiqa.
    leaves : int
        Largest number of leaves of each tree.
    min_leaf : int
        Fewest training images in a leaf.
    """

    metric: str
    leaves: int
    min_leaf: int

    def __post_init__(self) -> None:
        check_least(self, leaves=2, min_leaf=1)


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    device = pick_device()
    metric = open_metric(params.metric, device)
    train, held_out = images.subset("train"), images.held_out()
    seen = _measure_all(metric, train, params.metric, device)
    steps = fit_steps(seen, train.table, leaves=params.leaves, min_leaf=params.min_leaf)
    writer.json("steps", steps)
    writer.info["metric"] = params.metric
    return apply_steps(_measure_all(metric, held_out, params.metric, device), steps)


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`. The package pyiqa is needed again."""
    steps, window_hu = read_json(artifact.path / "steps.json"), tuple(artifact.info["window_hu"])
    name, device = artifact.info["metric"], pick_device()
    metric = open_metric(name, device)

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        batches = (torch.from_numpy(batch).to(device) for batch in window_batches(images_hu, window_hu, TOGETHER))
        return apply_steps(_measure(metric, batches, name), steps)

    return Scorer(score, window_hu, None, "whole scores")


def open_metric(name: str, device: torch.device) -> Any:
    """Return a metric of pyiqa: a callable of images (B, 3, H, W) in [0, 1].

    Raises
    ------
    InputError
        If pyiqa is not installed, or has no such no-reference metric, or cannot get its weights.
    """
    try:
        # Found under its own name: within this module, `pyiqa` is not this module.
        import pyiqa
    except ImportError as error:
        raise InputError(
            f"baseline.pyiqa needs the package pyiqa ({error}); install it (pip install pyiqa; its licence is non-commercial), or "
            "take pyiqa out of evaluate.baselines"
        ) from error
    known = list(pyiqa.list_models(metric_mode="NR"))
    if name not in known:
        raise InputError(
            f"baseline.pyiqa.metric: pyiqa has no no-reference metric '{name}'{suggest(name, known)}; "
            "pyiqa.list_models(metric_mode='NR') lists them"
        )
    try:
        return pyiqa.create_metric(name, device=device)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"baseline.pyiqa.metric: '{name}' cannot be opened ({' '.join(str(error).split())[:160]}); pyiqa fetches weights at "
            "the first use: connect once, or take another metric"
        ) from error


def _measure_all(metric: Any, images: ScoredImages, name: str, device: torch.device) -> np.ndarray:
    draws = [in_order(len(images))[batch] for batch in in_batches(len(images), TOGETHER)] if len(images) else []
    return _measure(
        metric, tqdm(load_images(images, draws, device), name, len(draws), unit="batch", disable=None), name
    )


@torch.no_grad()
def _measure(metric: Any, batches: Iterable[torch.Tensor], name: str) -> np.ndarray:
    parts = [metric(batch.expand(-1, 3, -1, -1)).reshape(len(batch), -1).mean(dim=1).cpu() for batch in batches]
    values = torch.cat(parts).float().numpy() if parts else np.empty(0, np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"baseline.pyiqa.metric: '{name}' is not a finite number for some images; take another metric")
    return values
