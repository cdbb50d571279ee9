"""Built-in further denoisers: filters without training, and blends.

Not in the paper; stage ``denoise`` runs those that ``denoise.extra`` names, beside the paper's eight qualities. They give
the reader and the captioner other textures than the two networks do.

References
----------
Non-local means: Buades et al., CVPR 2005; total variation: Chambolle, J. Math. Imaging Vis. 2004; both as in scikit-image.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

#: The images of one slice by variant, (H, W), int16, HU: ``ndct``, ``ldct`` and the networks' results.
Images = Mapping[str, np.ndarray]
#: Blur of `gauss`; leaves about .4 of fine noise, and softens every edge.
GAUSS_SIGMA_PX = 1.0
#: Filter strength of `nlm` and weight of `tv` in units of the slice's own noise: of .5 to 2 tried on a real and a synthetic
#: slice, these gave the best SSIM.
NLM_STRENGTH, TV_STRENGTH = 0.8, 0.5
#: Soft tissue after smoothing, and the scale of that smoothing; noise is measured on what it leaves over.
TISSUE_HU, SMOOTHING_PX = (0.0, 200.0), 2.0
#: No noise is less than this: int16 steps.
NOISE_FLOOR_HU = 0.3


def noise_sd_hu(image_hu: np.ndarray) -> float:
    """Estimate a slice's noise without a reference.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU

    Returns
    -------
    float
        Robust SD of the detail finer than `SMOOTHING_PX` in the flattest 40 % of the soft tissue; of the whole image where
        there is none. At least `NOISE_FLOOR_HU`.
    """
    image = image_hu.astype(np.float32)
    smooth = ndimage.gaussian_filter(image, SMOOTHING_PX)
    tissue = (smooth > TISSUE_HU[0]) & (smooth < TISSUE_HU[1])
    if not tissue.any():
        tissue = np.ones_like(tissue)
    steepness = ndimage.gaussian_gradient_magnitude(smooth, SMOOTHING_PX)
    detail = (image - smooth)[tissue & (steepness <= np.quantile(steepness[tissue], 0.4))]
    deviation = np.median(np.abs(detail - np.median(detail)))
    return max(NOISE_FLOOR_HU, float(1.4826 * deviation))


def gauss(images: Images) -> np.ndarray:
    """Blur LDCT with a Gaussian of `GAUSS_SIGMA_PX`: less noise, soft edges."""
    return ndimage.gaussian_filter(images["ldct"].astype(np.float32), GAUSS_SIGMA_PX)


def nlm(images: Images) -> np.ndarray:
    """Average LDCT over alike 5 x 5 patches within 5 px, `NLM_STRENGTH` times the noise apart."""
    # Integral images of squares need double precision.
    ldct = images["ldct"].astype(np.float64)
    strength = NLM_STRENGTH * noise_sd_hu(ldct)
    return denoise_nl_means(ldct, patch_size=5, patch_distance=5, h=strength, fast_mode=True)


def tv(images: Images) -> np.ndarray:
    """Minimise the total variation of LDCT with a weight of `TV_STRENGTH` times the noise: patchy texture, sharp edges."""
    ldct = images["ldct"].astype(np.float64)
    return denoise_tv_chambolle(ldct, weight=TV_STRENGTH * noise_sd_hu(ldct), max_num_iter=50)


def blend(images: Images) -> np.ndarray:
    """Average NDCT and LDCT: what a dose between the two would give (57 % for NDCT and a quarter of its dose)."""
    return (images["ndct"].astype(np.float32) + images["ldct"]) / 2


def blend_red_cnn(images: Images) -> np.ndarray:
    """Average LDCT and RED-CNN, as scanners offer denoising at half strength."""
    return (images["ldct"].astype(np.float32) + images["red_cnn"]) / 2


#: By the name that ``denoise.extra`` uses.
FILTERS: dict[str, Callable[[Images], np.ndarray]] = {
    "gauss": gauss,
    "nlm": nlm,
    "tv": tv,
    "blend": blend,
    "blend_red_cnn": blend_red_cnn,
}
