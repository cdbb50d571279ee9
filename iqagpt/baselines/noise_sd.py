"""A trivial measure as a baseline: the SD of noise in flat soft tissue, seen without a reference.

On the public CT-IQA challenge a bare signal-to-noise ratio reaches SROCC .87, so every learned method must be seen beside
one (LDCTIQAC 2023). A small decision tree per criterion, fitted on the training images, turns the SD into a score.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from iqagpt.artifacts import Artifact, ArtifactWriter, read_json
from iqagpt.baselines.one_measure import apply_steps, fit_steps
from iqagpt.config import check_least
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.noise_sd``.

    Attributes
    ----------
    bands_px : (float, float)
        Scales, in pixels, of the two Gaussians whose difference isolates noise.
    leaves : int
        Largest number of leaves of each tree.
    min_leaf : int
        Fewest training images in a leaf.
    """

    bands_px: tuple[float, float]
    leaves: int
    min_leaf: int

    def __post_init__(self) -> None:
        if not 0 < self.bands_px[0] < self.bands_px[1]:
            raise ValueError(f"bands_px: expected two rising numbers > 0, got {list(self.bands_px)}")
        check_least(self, leaves=2, min_leaf=1)


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    train = images.subset("train")
    seen = _log_noise(train.pixels_hu, len(train), params.bands_px, train.window_hu)
    steps = fit_steps(seen, train.table, leaves=params.leaves, min_leaf=params.min_leaf)
    writer.json("steps", steps)
    writer.info["params"] = {**asdict(params), "bands_px": list(params.bands_px)}
    held_out = images.held_out()
    return apply_steps(_log_noise(held_out.pixels_hu, len(held_out), params.bands_px, held_out.window_hu), steps)


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    steps = read_json(artifact.path / "steps.json")
    bands_px, window_hu = tuple(artifact.info["params"]["bands_px"]), tuple(artifact.info["window_hu"])

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        return apply_steps(_log_noise(images_hu.__getitem__, len(images_hu), bands_px, window_hu), steps)

    return Scorer(score, window_hu, None, "whole scores")


def noise_sd(image_hu: np.ndarray, bands_px: tuple[float, float]) -> float:
    """Measure the SD of noise in flat soft tissue.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    bands_px : (float, float)
        See `Params`.

    Returns
    -------
    float
        Robust SD, in HU, of the difference of two Gaussians over the flattest 40 % of the soft tissue (0 to 200 HU after
        smoothing); of the whole image where there is no such tissue.
    """
    image = image_hu.astype(np.float32)
    band = ndimage.gaussian_filter(image, bands_px[0]) - ndimage.gaussian_filter(image, bands_px[1])
    smooth = ndimage.gaussian_filter(image, 3.0)
    tissue = (smooth > 0) & (smooth < 200)
    if not tissue.any():
        tissue = np.ones_like(tissue)
    gradient = ndimage.gaussian_gradient_magnitude(image, 3.0)
    values = band[tissue & (gradient <= np.quantile(gradient[tissue], 0.4))]
    # 1.4826 makes the median absolute deviation an SD for Gaussian noise; edges and vessels hardly move it.
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _log_noise(
    image: Callable[[int], np.ndarray], count: int, bands_px: tuple[float, float], window_hu: tuple[float, float]
) -> np.ndarray:
    def measured(index: int) -> float:
        return noise_sd(np.clip(image(index), *window_hu), bands_px)

    # Threads, as scipy's filters release the lock; by number, so that each reads the image it measures.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        values = list(pool.map(measured, range(count)))
    return np.log(np.maximum(values, 1e-3)).astype(np.float32)  # scikit-learn's trees compare in this precision
