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
#: Blur of `gauss`; leaves about .4 of fine noise, and softens every edge. That of `gauss_strong` leaves hardly any.
GAUSS_SIGMA_PX, STRONG_SIGMA_PX = 1.0, 1.5
#: Filter strength of `nlm` and weight of `tv` in units of the slice's own noise: of .5 to 2 tried on a real and a synthetic
#: slice, these gave the best SSIM.
NLM_STRENGTH, TV_STRENGTH = 0.8, 0.5
#: The same of `nlm_strong` and `tv_strong`: as smooth as the smoothest networks that real readers have judged.
STRONG_NLM, STRONG_TV = 1.2, 1.0
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


def gauss_strong(images: Images) -> np.ndarray:
    """Blur LDCT with a Gaussian of `STRONG_SIGMA_PX`: hardly any fine noise, no fine detail."""
    return ndimage.gaussian_filter(images["ldct"].astype(np.float32), STRONG_SIGMA_PX)


def median(images: Images) -> np.ndarray:
    """Take the median of LDCT over 3 x 3 pixels."""
    return ndimage.median_filter(images["ldct"], 3)


def nlm(images: Images) -> np.ndarray:
    """Average LDCT over alike 5 x 5 patches within 5 px, `NLM_STRENGTH` times the noise apart."""
    return _nlm(images["ldct"], NLM_STRENGTH)


def nlm_strong(images: Images) -> np.ndarray:
    """Average as `nlm`, over patches `STRONG_NLM` times the noise apart: over-smoothed."""
    return _nlm(images["ldct"], STRONG_NLM)


def nlm_red_cnn(images: Images) -> np.ndarray:
    """Average RED-CNN's result as `nlm` does: over-smoothed, edges kept."""
    return _nlm(images["red_cnn"], NLM_STRENGTH)


def tv(images: Images) -> np.ndarray:
    """Minimise the total variation of LDCT with a weight of `TV_STRENGTH` times the noise: patchy texture, sharp edges."""
    return _tv(images["ldct"], TV_STRENGTH)


def tv_strong(images: Images) -> np.ndarray:
    """Minimise the total variation of LDCT with a weight of `STRONG_TV` times the noise: flat patches."""
    return _tv(images["ldct"], STRONG_TV)


def tv_red_cnn(images: Images) -> np.ndarray:
    """Minimise the total variation of RED-CNN's result as `tv` does: over-smoothed."""
    return _tv(images["red_cnn"], TV_STRENGTH)


def _nlm(image_hu: np.ndarray, strength: float) -> np.ndarray:
    # Integral images of squares need double precision.
    image = image_hu.astype(np.float64)
    return denoise_nl_means(image, patch_size=5, patch_distance=5, h=strength * noise_sd_hu(image), fast_mode=True)


def _tv(image_hu: np.ndarray, strength: float) -> np.ndarray:
    image = image_hu.astype(np.float64)
    return denoise_tv_chambolle(image, weight=strength * noise_sd_hu(image), max_num_iter=50)


def blend(images: Images) -> np.ndarray:
    """Average NDCT and LDCT: what a dose between the two would give (57 % for NDCT and a quarter of its dose)."""
    return (images["ndct"].astype(np.float32) + images["ldct"]) / 2


def blend_red_cnn(images: Images) -> np.ndarray:
    """Average LDCT and RED-CNN, as scanners offer denoising at half strength."""
    return (images["ldct"].astype(np.float32) + images["red_cnn"]) / 2


def blend_ndct_red_cnn(images: Images) -> np.ndarray:
    """Average NDCT and RED-CNN: half the noise of NDCT with most of its detail, as a good network on a good scan."""
    return (images["ndct"].astype(np.float32) + images["red_cnn"]) / 2


#: By the name that ``denoise.extra`` uses.
FILTERS: dict[str, Callable[[Images], np.ndarray]] = {
    filter_.__name__: filter_
    for filter_ in (
        gauss,
        gauss_strong,
        median,
        nlm,
        nlm_strong,
        nlm_red_cnn,
        tv,
        tv_strong,
        tv_red_cnn,
        blend,
        blend_red_cnn,
        blend_ndct_red_cnn,
    )
}
