"""Find out from an image what noise its scan had: how many photons, and how sharp a kernel.

The dose of a real series is known only as "what it was". To lower it to a fraction, `iqagpt.data.dose` needs the photons
that were there: those whose noise, sent through the same filtered back-projection, is as strong as the noise that the image
shows in flat soft tissue. The kernel is the one with which that noise has the same share of fine grain.

Both are comparisons of like with like: noise of a trial dose is drawn for the very slice, and image and trial pass the
same band-pass and the same mask. So neither the place of the tissue in the body nor the pixel size matters.

Notes
-----
Not stated in the paper; there, quarter dose came with the data.
"""

import dataclasses
import math

import numpy as np
from scipy.stats import median_abs_deviation

from iqagpt.data.dose import kernel_transfer, line_integrals, missing_noise, ray_variance
from iqagpt.data.projection import back_project, frequencies
from iqagpt.data.tissue import flat_tissue, smooth

#: Views over 180 degrees to which photons refer.
REFERENCE_VIEWS = 720
#: Electronic noise of 1 mm^2 of detector and view, in photons.
ELECTRONIC_SD = 6.0
#: Gaussian widths in mm, at least so many pixels. Finer than the first is grain, between the two it is coarser; vessels and
#: texture, which are no noise, begin beyond the second.
BAND_MM, BAND_PX = (0.5, 1.0), (0.6, 1.2)
#: Kernels tried, from very smooth to sharper than the detector.
KERNELS_PER_MM = (0.22, 0.27, 0.33, 0.40, 0.50, 0.62, 0.78, 1.0)
#: Photons a mm^2 of the trial noise; any number does.
TRIAL_PHOTONS = 1e5
#: Less flat tissue than this says too little, and less noise than this is rounding.
MIN_PIXELS, MIN_NOISE_HU = 1000, 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """What decides the noise of a slice.

    Attributes
    ----------
    photons : float
        Incident photons on 1 mm^2 of detector (scaled to the isocentre) in one view of 720, as ``phantom.photons``.
    kernel_half_per_mm : float
        Frequency at which the kernel's apodisation is one half; 0.38 for B30f.
    electronic_sd : float
        Electronic noise of 1 mm^2 of detector and view, in photons.
    """

    photons: float
    kernel_half_per_mm: float
    electronic_sd: float = ELECTRONIC_SD

    def rays(self, *, pixel_spacing_mm: float, thickness_mm: float, views: int) -> dict[str, float]:
        """Return `photons` and `electronic_sd` of one ray, as `iqagpt.data.dose` takes them."""
        ray_mm2 = pixel_spacing_mm * thickness_mm
        return {
            "photons": self.photons * ray_mm2 * REFERENCE_VIEWS / views,
            "electronic_sd": self.electronic_sd * math.sqrt(ray_mm2),
        }


class NoiseProbe:
    """The noise of one slice in flat soft tissue, beside trial noise drawn for the same slice.

    Parameters
    ----------
    image_hu : ndarray, (N, N), HU
        A slice as scanned; N is even.
    pixel_spacing_mm, thickness_mm : float
    seed : int
        Of the trial noise.
    views : int
        Projections over 180 degrees.

    Attributes
    ----------
    usable : bool
        Whether there is flat soft tissue enough, and noise in it.
    noise_hu : float
        SD finer than the coarse width of `BAND_MM`; 0 without flat tissue.
    """

    def __init__(
        self,
        image_hu: np.ndarray,
        *,
        pixel_spacing_mm: float,
        thickness_mm: float,
        seed: int = 0,
        views: int = REFERENCE_VIEWS,
    ) -> None:
        self._spacing_mm, self._thickness_mm, self._views, self._seed = pixel_spacing_mm, thickness_mm, views, seed
        self._widths_mm = [max(mm, px * pixel_spacing_mm) for mm, px in zip(BAND_MM, BAND_PX, strict=True)]
        self._flat = flat_tissue(image_hu, pixel_spacing_mm)
        enough = self._flat.sum() >= MIN_PIXELS
        self._grain_hu, self._coarse_hu, self.noise_hu = self._spread(image_hu) if enough else (0.0, 0.0, 0.0)
        self.usable = self.noise_hu >= MIN_NOISE_HU
        self._integrals = (
            line_integrals(image_hu, pixel_spacing_mm=pixel_spacing_mm, views=views) if self.usable else None
        )

    def kernel_half_per_mm(self) -> float:
        """Return the kernel whose noise has as much fine grain for its coarse grain as the image's."""
        trial = Scan(TRIAL_PHOTONS, KERNELS_PER_MM[0])
        rays = trial.rays(pixel_spacing_mm=self._spacing_mm, thickness_mm=self._thickness_mm, views=self._views)
        noise = np.sqrt(ray_variance(self._integrals, rays["photons"], 0.0))
        noise *= np.random.default_rng(self._seed).standard_normal(noise.shape, dtype=np.float32)
        grid = frequencies(self._integrals.shape[1] // 2, self._spacing_mm)
        shares = []
        for half_per_mm in KERNELS_PER_MM:
            image = back_project(
                noise, pixel_spacing_mm=self._spacing_mm, apodisation=kernel_transfer(grid, half_per_mm)
            )
            grain, coarse, _ = self._spread(image)
            shares.append(grain / coarse)
        return float(np.exp(np.interp(self._grain_hu / self._coarse_hu, shares, np.log(KERNELS_PER_MM))))

    def photons(self, kernel_half_per_mm: float, electronic_sd: float = ELECTRONIC_SD) -> float:
        """Return the photons a mm^2 that explain the image's noise, its electronic part included.

        With x the trial photons over those wanted, the variance is ``quantum x + electronic x^2``.
        """
        trial = Scan(TRIAL_PHOTONS, kernel_half_per_mm, electronic_sd)
        rays = trial.rays(pixel_spacing_mm=self._spacing_mm, thickness_mm=self._thickness_mm, views=self._views)
        quantum = self._trial_variance(rays["photons"], 0.0, kernel_half_per_mm)
        electronic = self._trial_variance(rays["photons"], rays["electronic_sd"], kernel_half_per_mm) - quantum
        electronic = max(electronic, 0.0)
        root = math.sqrt(quantum**2 + 4.0 * electronic * self.noise_hu**2)
        return TRIAL_PHOTONS * (quantum + root) / (2.0 * self.noise_hu**2)

    def _trial_variance(self, photons: float, electronic_sd: float, kernel_half_per_mm: float) -> float:
        noise = missing_noise(
            self._integrals,
            doses=(math.inf, 1.0),
            pixel_spacing_mm=self._spacing_mm,
            photons=photons,
            electronic_sd=electronic_sd,
            # The same draw with and without the electronic part: their difference is then no chance.
            rng=np.random.default_rng(self._seed),
            kernel_half_per_mm=kernel_half_per_mm,
        )
        return self._spread(noise)[2] ** 2

    def _spread(self, image: np.ndarray) -> tuple[float, float, float]:
        # The median tells the noise beside vessels and edges; an SD would count those.
        fine, coarse = (smooth(image, width_mm, self._spacing_mm) for width_mm in self._widths_mm)
        parts = (image - fine, fine - coarse, image - coarse)
        return tuple(float(median_abs_deviation(part[self._flat], scale="normal")) for part in parts)
