"""What a reader sees in an image, measured against the NDCT of the same slice.

Noise left and texture smoothed away, likeness of fine detail, edges kept, contrast and sharpness of small vessels,
contrast-to-noise and margin of the lesion. The simulated reader turns these into scores. Everything is measured inside
the displayed window, because nothing outside it is visible, and on scales in mm, so that pixel size does not matter.
Places (flat and structured tissue, edges, vessels) come from the NDCT and are the same for all qualities of a slice.
Not stated in the paper; our choice.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from iqagpt.data.tissue import body, disc, flat_tissue, smooth, soft_tissue

#: Gaussian scales whose difference holds the noise that readers respond to (1.4 and 2.8 pixels of 0.74 mm).
NOISE_BAND_MM = (1.05, 2.1)
#: The same for small vessels, 1 to 4 mm wide.
VESSEL_BAND_MM = (0.6, 2.0)
#: Fine grain and fine detail (0.5 and 1 pixel).
FINE_BAND_MM = (0.37, 0.74)
#: Part of the soft tissue, that with the lowest gradient, which holds no structure.
FLAT_SHARE = 0.6
#: Blur before gradients are taken; lets pixel noise pass as little as a sharp edge allows.
EDGE_SCALE_MM = 0.6
#: Depth below the skin where ribs, skin and muscle would be taken for vessels.
BODY_WALL_MM = 25.0
#: No noise is less than this: int16 steps.
NOISE_FLOOR_HU = 0.3


@dataclass(frozen=True, slots=True)
class Measures:
    """What was seen in one image.

    Attributes
    ----------
    noise_hu : float
        SD in flat tissue within `NOISE_BAND_MM`.
    noise_ratio : float
        Natural logarithm of that SD over the NDCT's: above 0 noise is left.
    texture_ratio : float
        The same, mean of that band and `FINE_BAND_MM`: below 0 texture is smoothed away. Denoisers take the fine grain first.
    edge_gain, vessel_contrast, vessel_sharpness : float
        Part of the NDCT's gradient at organ edges, of its contrast in small vessels, and of its gradient around them
        that the image shows; 1: all.
    likeness : float
        Correlation with the NDCT within `FINE_BAND_MM` in structured soft tissue: 1 if all fine detail there is the
        NDCT's, whatever its strength; lower with noise, invented texture and detail lost.
    lesion_cnr : float or None
        Contrast of the lesion over the SD around it, as smoothed by the eye; None without lesion.
    lesion_margin : float or None
        Step across the outline, from 1 mm outside to 1 mm inside, over the SD of fine noise; None without lesion.
    lesion_diameter_mm : float or None
        Of a disc of the mask's area.
    """

    noise_hu: float
    noise_ratio: float
    texture_ratio: float
    edge_gain: float
    vessel_contrast: float
    vessel_sharpness: float
    likeness: float = 1.0
    lesion_cnr: float | None = None
    lesion_margin: float | None = None
    lesion_diameter_mm: float | None = None


class SliceReader:
    """Measure the images of one slice; what the NDCT alone determines is computed once.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
        The slice at normal dose, lesion included.
    lesion_mask : ndarray, (H, W), 1 inside the lesion
    spacing_mm : float
        Pixel spacing.
    window_hu : (lower, upper)
        Displayed range.
    hyperdense : bool
        Whether the lesion is brighter than its surroundings.
    """

    def __init__(
        self,
        ndct_hu: np.ndarray,
        lesion_mask: np.ndarray,
        *,
        spacing_mm: float,
        window_hu: tuple[float, float],
        hyperdense: bool = False,
    ) -> None:
        self._spacing_mm = spacing_mm
        self._window_hu = window_hu
        inside = body(ndct_hu, spacing_mm)
        self._crop = ndimage.find_objects(inside.astype(int))[0] if inside.any() else np.s_[:, :]
        ndct = self._shown(ndct_hu)
        tissue, _ = soft_tissue(ndct, spacing_mm)
        self._lesion = _LesionZones.of(lesion_mask[self._crop] > 0, tissue, spacing_mm, hyperdense=hyperdense)
        self._flat = flat_tissue(ndct, spacing_mm) & ~self._lesion.surroundings
        places = _below_body_wall(inside[self._crop], spacing_mm) & ~_beside_bone(ndct, spacing_mm)
        self._edges = _find_edges(ndct, places, spacing_mm)
        if hyperdense:
            places &= ~self._lesion.around  # a small bright lesion is no vessel
        self._vessels = _find_vessels(ndct, places, self._flat, spacing_mm)
        self._around_vessels = ndimage.binary_dilation(self._vessels, disc(1.2, spacing_mm))
        self._structured = tissue & ~flat_tissue(ndct, spacing_mm, share=FLAT_SHARE)
        self._ndct_fine = self._band(ndct, FINE_BAND_MM)
        self._ndct_noise_hu = self._noise(ndct)
        self._ndct_detail = self._band(ndct, VESSEL_BAND_MM)
        self._ndct_gradient = self._gradient(ndct)

    def measure(self, image_hu: np.ndarray) -> Measures:
        """Measure one image of the slice.

        Parameters
        ----------
        image_hu : ndarray, (H, W), HU

        Returns
        -------
        Measures
        """
        image = self._shown(image_hu)
        noise_hu, fine = self._noise(image), self._band(image, FINE_BAND_MM)
        noise_ratio = float(np.log(noise_hu / self._ndct_noise_hu))
        fine_ratio = float(np.log(robust_sd(fine[self._flat]) / robust_sd(self._ndct_fine[self._flat])))
        gradient = self._gradient(image)
        detail = self._band(image, VESSEL_BAND_MM)
        return Measures(
            noise_hu=noise_hu,
            noise_ratio=noise_ratio,
            texture_ratio=(noise_ratio + fine_ratio) / 2,
            edge_gain=_gain(gradient[:, self._edges], self._ndct_gradient[:, self._edges]),
            vessel_contrast=_gain(detail[self._vessels], self._ndct_detail[self._vessels]),
            vessel_sharpness=_gain(gradient[:, self._around_vessels], self._ndct_gradient[:, self._around_vessels]),
            likeness=_correlation(fine[self._structured], self._ndct_fine[self._structured]),
            **self._lesion.measure(image, self._spacing_mm),
        )

    def _shown(self, image_hu: np.ndarray) -> np.ndarray:
        return np.clip(image_hu[self._crop], *self._window_hu).astype(np.float32)

    def _band(self, image: np.ndarray, band_mm: tuple[float, float]) -> np.ndarray:
        fine, coarse = (smooth(image, sigma_mm, self._spacing_mm) for sigma_mm in band_mm)
        return fine - coarse

    def _noise(self, image: np.ndarray) -> float:
        return robust_sd(self._band(image, NOISE_BAND_MM)[self._flat])

    def _gradient(self, image: np.ndarray) -> np.ndarray:
        return np.stack(np.gradient(smooth(image, EDGE_SCALE_MM, self._spacing_mm), self._spacing_mm))


@dataclass(frozen=True, slots=True)
class _LesionZones:
    """Core, surroundings, both sides of the margin, and all up to 1.5 mm outside; empty masks without lesion."""

    core: np.ndarray
    surroundings: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    around: np.ndarray
    diameter_mm: float
    hyperdense: bool

    @classmethod
    def of(cls, mask: np.ndarray, tissue: np.ndarray, spacing_mm: float, *, hyperdense: bool) -> "_LesionZones":
        if not mask.any():
            return cls(mask, mask, mask, mask, mask, 0.0, hyperdense)
        inward = ndimage.distance_transform_edt(mask) * spacing_mm
        outward = ndimage.distance_transform_edt(~mask) * spacing_mm
        surroundings = (outward >= 1.5) & (outward <= 7.0)
        # Near the organ's edge, fat and lung are not what the lesion stands out against.
        same = surroundings & tissue
        return cls(
            core=inward >= min(1.5, 0.6 * inward.max()),
            surroundings=same if same.any() else surroundings,
            inner=mask & (inward <= 1.0 + spacing_mm / 2),
            outer=~mask & (outward <= 1.0 + spacing_mm / 2),
            around=outward < 1.5,
            diameter_mm=float(2 * spacing_mm * np.sqrt(mask.sum() / np.pi)),
            hyperdense=hyperdense,
        )

    def measure(self, image: np.ndarray, spacing_mm: float) -> dict[str, float]:
        if not self.core.any():
            return {}
        seen = smooth(image, 0.8, spacing_mm)
        fine = smooth(image, 0.35, spacing_mm)
        contrast_hu = np.median(fine[self.surroundings]) - np.mean(fine[self.core])
        step_hu = np.mean(fine[self.outer]) - np.mean(fine[self.inner])
        if self.hyperdense:
            contrast_hu, step_hu = -contrast_hu, -step_hu
        # A dark lesion drowned in noise may come out brighter than its surroundings: it is as good as unseen.
        return {
            "lesion_cnr": max(0.0, float(contrast_hu / robust_sd(seen[self.surroundings]))),
            "lesion_margin": max(0.0, float(step_hu / robust_sd(fine[self.surroundings]))),
            "lesion_diameter_mm": self.diameter_mm,
        }


def robust_sd(values: np.ndarray) -> float:
    """Return the standard deviation of the bulk of some values, at least `NOISE_FLOOR_HU`; outliers hardly count."""
    if values.size == 0:
        return NOISE_FLOOR_HU
    deviation = np.median(np.abs(values - np.median(values)))
    return max(NOISE_FLOOR_HU, float(1.4826 * deviation))


def _gain(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the slope of values on reference through the origin; 1 where the slice has nothing to compare."""
    energy = float(np.sum(np.square(reference), dtype=np.float64))
    return float(np.sum(values * reference, dtype=np.float64)) / energy if energy > 0 else 1.0


def _correlation(values: np.ndarray, reference: np.ndarray) -> float:
    """Return Pearson's correlation; 1 where either is constant and there is nothing to compare."""
    if values.size == 0:
        return 1.0
    values, reference = values - values.mean(), reference - reference.mean()
    norms = np.sqrt(np.sum(np.square(values)) * np.sum(np.square(reference)))
    return float(np.sum(values * reference) / norms) if norms > 0 else 1.0


def _below_body_wall(inside: np.ndarray, spacing_mm: float) -> np.ndarray:
    return ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * spacing_mm > BODY_WALL_MM


def _beside_bone(ndct: np.ndarray, spacing_mm: float) -> np.ndarray:
    dense = smooth(ndct, 1.5, spacing_mm) > 210.0
    return ndimage.binary_dilation(ndimage.binary_opening(dense, disc(2.0, spacing_mm)), disc(5.0, spacing_mm))


def _find_edges(ndct: np.ndarray, places: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Find the steepest twentieth of the soft tissue: outlines of organs and large vessels."""
    mask, gradient = soft_tissue(ndct, spacing_mm)
    mask &= places
    return mask & (gradient >= np.quantile(gradient[mask], 0.95)) if mask.any() else mask


def _find_vessels(ndct: np.ndarray, places: np.ndarray, flat: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Find bright structures up to about 5 mm wide."""
    if not (places.any() and flat.any()):
        return np.zeros_like(places)
    seen = smooth(ndct, 0.9, spacing_mm)
    height = seen - ndimage.grey_opening(seen, footprint=disc(2.5, spacing_mm))
    # Noise alone reaches this quantile in one of a hundred pixels of flat tissue.
    return places & (height > max(15.0, 1.2 * float(np.quantile(height[flat], 0.99))))
