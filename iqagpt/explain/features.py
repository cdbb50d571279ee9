"""The CLS features of captioner, ViT-C and ViT-R in the plane (paper, Fig. 7), and how far they are ordered by score.

What the eye sees in the figure is a number here, over several runs of t-SNE, since one run is one draw: the silhouette of the
scores as clusters, and the rank correlation of an image's score with the mean score of its nearest neighbours, those of its own
slice left out, since the same anatomy lies near itself whatever its quality.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import nn
from tqdm import tqdm

from iqagpt.artifacts import open_artifact
from iqagpt.baselines import vit_c, vit_r
from iqagpt.baselines.vit_heads import open_heads
from iqagpt.batches import in_batches
from iqagpt.captioner.captioner import Captioner
from iqagpt.config import check_least
from iqagpt.scored_images import ScoredImages

logger = logging.getLogger(__name__)

#: Baselines with an image encoder like the captioner's, and the outputs of their heads.
ENCODERS = {"vit_c": vit_c.OUTPUTS, "vit_r": vit_r.OUTPUTS}
_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class EmbeddingParams:
    """Part ``embedding`` of section ``explain``.

    Attributes
    ----------
    seeds : int
        Runs of t-SNE; the first is drawn.
    perplexity : float
        Of t-SNE, about the number of neighbours that it keeps near; less for fewer than three times as many images.
    neighbours : int
        Of each image, whose mean score is compared with its own.
    seed : int
        Of the first run; the others count on from it.
    """

    seeds: int
    perplexity: float
    neighbours: int
    seed: int

    def __post_init__(self) -> None:
        check_least(self, seeds=1, perplexity=1, neighbours=1, seed=0)


@dataclass(frozen=True)
class Embedding:
    """One model's features of N images in the plane.

    Attributes
    ----------
    points : ndarray, (seeds, N, 2), float64
        One t-SNE a seed; axes have no unit.
    silhouette, neighbours : ndarray, (seeds,)
        Of each; empty where undefined (all scores equal, too few images).
    own_silhouette, own_neighbours : float or None
        The same of the features themselves, without t-SNE.
    """

    points: np.ndarray
    silhouette: np.ndarray
    neighbours: np.ndarray
    own_silhouette: float | None
    own_neighbours: float | None


def image_encoders(captioner: Captioner, baselines: Path, methods: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the image encoders to compare: the captioner's, and those of `methods` that have one like it.

    Parameters
    ----------
    captioner : Captioner
    baselines : path
        Folder of the baselines' artifacts.
    methods : list of str
        Names of methods; others than ViT-C and ViT-R have no such features.
    """
    yield "iqagpt", captioner.image_encoder
    for name, outputs in ENCODERS.items():
        if name in methods:
            yield name, open_heads(open_artifact(baselines / name, "baseline"), outputs).image_encoder


def cls_features(encoder: nn.Module, images: ScoredImages) -> np.ndarray:
    """Return the CLS token of every image, (N, width), float32."""
    device = next(encoder.parameters()).device
    found = []
    with torch.inference_mode():
        for batch in in_batches(len(images), _TOGETHER):
            pixels = torch.from_numpy(images.batch(batch)).to(device)
            found.append(encoder.forward_features(pixels)[:, 0].float().cpu().numpy())
    return np.concatenate(found)


def embed(features: np.ndarray, scores: np.ndarray, slices: np.ndarray, params: EmbeddingParams) -> Embedding:
    """Lay features out in the plane once per seed, and measure each layout.

    Parameters
    ----------
    features : ndarray, (N, width), float32
    scores : ndarray, (N,), integer
        One criterion, 1 (best) to 4 (worst).
    slices : ndarray, (N,)
        The slice that each image shows.
    params : EmbeddingParams

    Returns
    -------
    Embedding
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    count = len(features)

    def layout_of(seed: int) -> np.ndarray:
        perplexity = min(params.perplexity, (count - 1) / 3)
        return TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(features.astype(np.float64))

    points = np.zeros((params.seeds, count, 2))
    # Several layouts at once, one thread each: threads of one would add up in another order each time, and t-SNE makes another
    # picture of that. OpenMP's limit holds for the thread that sets it, so each sets its own.
    one = partial(threadpool_limits, 1)
    with one(), ThreadPoolExecutor(os.cpu_count(), initializer=one) as pool:
        if count > 2:
            layouts = pool.map(layout_of, range(params.seed, params.seed + params.seeds))
            points[:] = list(tqdm(layouts, "t-SNE", params.seeds, unit="seed", disable=None))
        silhouettes = [silhouette(layout, scores) for layout in points]
        neighbours = [neighbour_correlation(layout, scores, slices, params.neighbours) for layout in points]
        return Embedding(
            points,
            np.array([value for value in silhouettes if value is not None]),
            np.array([value for value in neighbours if value is not None]),
            silhouette(features, scores),
            neighbour_correlation(features, scores, slices, params.neighbours),
        )


def silhouette(points: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the mean silhouette, -1 to 1, of the scores as clusters; None with fewer than two scores, or one for each image."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(scores)) < len(scores):
        return None
    return float(silhouette_score(points.astype(np.float64), scores))


def neighbour_correlation(points: np.ndarray, scores: np.ndarray, slices: np.ndarray, count: int) -> float | None:
    """Return the rank correlation of every image's score with the mean score of its nearest neighbours from other slices.

    Parameters
    ----------
    points : ndarray, (N, D)
    scores, slices : ndarray, (N,)
    count : int
        Neighbours of each image.

    Returns
    -------
    float or None
        -1 to 1; None where it is undefined (all scores equal, no other slice).
    """
    points = points.astype(np.float64)
    means = np.full(len(points), np.nan)
    for index, point in enumerate(points):
        others = np.flatnonzero(slices != slices[index])
        distances = ((points[others] - point) ** 2).sum(1)
        nearest = others[np.argsort(distances, kind="stable")[:count]]
        if len(nearest):
            means[index] = scores[nearest].mean()
    if not len(means) or np.isnan(means).any() or np.ptp(means) == 0 or np.ptp(scores) == 0:
        return None
    return float(stats.spearmanr(scores, means).statistic)


def summarise_embedding(found: Embedding) -> dict[str, Any]:
    """Return mean and SD over the seeds of silhouette and neighbours' correlation, and both without t-SNE (``features``)."""
    summary: dict[str, Any] = {}
    for name, values, own in (
        ("silhouette", found.silhouette, found.own_silhouette),
        ("neighbours", found.neighbours, found.own_neighbours),
    ):
        numbers = {"mean": float(values.mean()), "sd": float(values.std())} if len(values) else {}
        summary[name] = numbers | ({} if own is None else {"features": own})
    return summary


def embedding_table(embeddings: dict[str, Embedding], images: pd.DataFrame, key: str) -> pd.DataFrame:
    """List the plotted points, of the first seed.

    Parameters
    ----------
    embeddings : dict
        By model.
    images : DataFrame
        Rows as in the embeddings.
    key : str
        The criterion that colours the points.

    Returns
    -------
    DataFrame
        ``model, image_id, variant``, the score by the name of its criterion, ``x, y`` (no unit).
    """
    parts = [
        images[["image_id", "variant", key]].assign(model=model, x=found.points[0][:, 0], y=found.points[0][:, 1])
        for model, found in embeddings.items()
    ]
    return pd.concat(parts, ignore_index=True)[["model", "image_id", "variant", key, "x", "y"]]
