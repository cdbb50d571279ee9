"""Lower the dose of a CT image: insert the noise that is missing, reconstructed as the scanner would.

This is the route by which the Mayo quarter-dose images were made (paper 2.1), starting from the image instead of the
raw data: line integrals by projection, the variance that the lower dose adds to each, noise of that variance, filtered
back-projection of the noise alone. The anatomy is never re-projected, so it keeps its sharpness, and the noise gets
what white noise lacks: a band-limited spectrum, more of it behind long paths, and streaks between dense bones.

References
----------
Yu et al., J Comput Assist Tomogr 36(4):477-487, 2012, doi 10.1097/RCT.0b013e318258e891.
"""

import math

import numpy as np

from iqagpt.ct import STORED_RANGE_HU
from iqagpt.data.projection import back_project, frequencies, project

#: Linear attenuation of water at 120 kVp, 1/mm.
WATER_PER_MM = 0.0192867
#: Transfer function of the smooth body kernel B30f, exp(-ln(2) (f / H)^E) with H in 1/mm.
KERNEL_HALF_PER_MM, KERNEL_EXPONENT = 0.383, 2.35


def insert_noise(
    image_hu: np.ndarray,
    *,
    dose: float,
    pixel_spacing_mm: float,
    photons: float,
    electronic_sd: float,
    views: int,
    rng: np.random.Generator,
    source_dose: float = 1.0,
) -> np.ndarray:
    """Return an image as it would look at a lower dose.

    Parameters
    ----------
    image_hu : ndarray, (N, N), integer or float, HU
        The image at `source_dose`; N is even. It must have its full range: values cut off below, as in a picture of
        a display window, make the line integrals too long.
    dose : float
        Wanted dose as a fraction of the normal one, in (0, `source_dose`].
    pixel_spacing_mm : float
        Pixel size.
    photons : float
        Incident photons a ray at normal dose; a ray is one pixel wide.
    electronic_sd : float
        SD of the electronic noise of one ray, in photons.
    views : int
        Projections over 180 degrees.
    rng : numpy.random.Generator
        Source of the noise.
    source_dose : float
        Dose of `image_hu`; ``inf`` for an image without noise.

    Returns
    -------
    ndarray, (N, N), int16, HU
        Rounded and clipped to [-1024, 3071]. With ``dose == source_dose`` a copy of the input, bit for bit.

    Raises
    ------
    ValueError
        If the dose is out of range or the image not a square of even side.

    Notes
    -----
    Not stated in the paper; parallel beam, no bow-tie filter, noise independent between rays and between slices.
    """
    if not 0.0 < dose <= source_dose:
        raise ValueError(f"dose: expected above 0 and at most {source_dose:g}, got {dose:g}")
    if dose == source_dose:
        return image_hu.copy()
    noise_hu = missing_noise(
        line_integrals(image_hu, pixel_spacing_mm=pixel_spacing_mm, views=views),
        doses=(source_dose, dose),
        pixel_spacing_mm=pixel_spacing_mm,
        photons=photons,
        electronic_sd=electronic_sd,
        rng=rng,
    )
    return np.clip(np.rint(image_hu + noise_hu), *STORED_RANGE_HU).astype(np.int16)


def line_integrals(image_hu: np.ndarray, *, pixel_spacing_mm: float, views: int) -> np.ndarray:
    """Project HU to line integrals of attenuation; shape (views, 2 N), float32, dimensionless, never below 0."""
    attenuation = WATER_PER_MM * np.maximum(1.0 + image_hu.astype(np.float32) / 1000.0, 0.0)
    integrals = project(attenuation, views=views, pixel_spacing_mm=pixel_spacing_mm)
    return np.maximum(integrals, 0.0, out=integrals)


def missing_noise(
    integrals: np.ndarray,
    *,
    doses: tuple[float, float],
    pixel_spacing_mm: float,
    photons: float,
    electronic_sd: float,
    rng: np.random.Generator,
    kernel_half_per_mm: float = KERNEL_HALF_PER_MM,
) -> np.ndarray:
    """Draw the noise that separates two doses and reconstruct it.

    Parameters
    ----------
    integrals : ndarray, (views, 2 N)
        Line integrals of the image.
    doses : (float, float)
        Dose that the image has, and the lower one that it shall have.
    kernel_half_per_mm : float
        See `kernel_transfer`.

    Returns
    -------
    ndarray, (N, N), float32, HU
        Noise of zero mean.
    """
    source_dose, dose = doses
    variance = ray_variance(integrals, photons * dose, electronic_sd)
    variance -= ray_variance(integrals, photons * source_dose, electronic_sd)
    noise = np.sqrt(variance, out=variance) * rng.standard_normal(variance.shape, dtype=np.float32)
    transfer = kernel_transfer(frequencies(integrals.shape[1] // 2, pixel_spacing_mm), kernel_half_per_mm)
    image = back_project(noise, pixel_spacing_mm=pixel_spacing_mm, apodisation=transfer)
    return image * np.float32(1000.0 / WATER_PER_MM)


def ray_variance(integrals: np.ndarray, photons: float, electronic_sd: float) -> np.ndarray:
    """Return the variance of line integrals measured with a number of incident photons.

    With N = photons * exp(-p) detected, var(p) = 1 / N + (electronic_sd / N)^2: the Poisson and the electronic part. An
    infinite number of photons gives 0.
    """
    if math.isinf(photons):
        return np.zeros_like(integrals)
    per_photon = np.exp(integrals) / np.float32(photons)
    return per_photon + np.square(np.float32(electronic_sd) * per_photon)


def kernel_transfer(frequency_per_mm: np.ndarray, half_per_mm: float = KERNEL_HALF_PER_MM) -> np.ndarray:
    """Return the apodisation of the ramp, which falls to one half at `half_per_mm`.

    The default is a smooth body kernel such as B30f: 50 % at 0.38 /mm, 10 % at 0.64 /mm. Shape and width are fitted to
    the noise power spectrum of a real B30f pair (QD minus FD of L506): peak at 0.15-0.25 /mm, half of it at 0.42, a
    twentieth at 0.62. A larger `half_per_mm` is a sharper kernel.
    """
    return np.exp2(-((frequency_per_mm / half_per_mm) ** KERNEL_EXPONENT))
