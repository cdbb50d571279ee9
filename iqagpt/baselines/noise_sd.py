"""A trivial measure as a baseline: the SD of noise in flat soft tissue, seen without a reference.

On the public CT-IQA challenge a bare signal-to-noise ratio reaches SROCC .87, so every learned method must be seen beside
one (LDCTIQAC 2023). A small decision tree per criterion, fitted on the training images, turns the SD into a score.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.tree import DecisionTreeClassifier, export_text

from iqagpt.artifacts import ArtifactWriter
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.config import check_least
from iqagpt.criteria import KEYS
from iqagpt.scored_images import ScoredImages

#: Class of "no lesion" inside the trees.
NO_LESION_CLASS = 0


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


def fit_predict(params: Params, images: ScoredImages, pretrained: Pretrained, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    train, held_out = images.subset("train"), images.held_out()
    seen, asked = (_log_noise(part, params) for part in (train, held_out))
    scores = pd.DataFrame(index=range(len(held_out)), columns=list(KEYS), dtype="Float64")
    trees = {}
    for key in KEYS:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=params.leaves, min_samples_leaf=min(params.min_leaf, len(train)), random_state=0
        )
        tree.fit(seen, train.table[key].fillna(NO_LESION_CLASS).astype(int))
        predicted = pd.Series(tree.predict(asked)).astype("Float64")
        scores[key] = predicted.mask(predicted == NO_LESION_CLASS)
        trees[key] = export_text(tree, feature_names=["log_noise_sd"]).splitlines()
    writer.json("trees", trees)
    writer.info["params"] = {**asdict(params), "bands_px": list(params.bands_px)}
    return scores


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


def _log_noise(images: ScoredImages, params: Params) -> np.ndarray:
    lower, upper = images.window_hu
    values = [noise_sd(np.clip(images.pixels_hu(i), lower, upper), params.bands_px) for i in range(len(images))]
    return np.log(np.maximum(values, 1e-3))[:, None]
