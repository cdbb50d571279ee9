"""Where the soft tissue of an abdominal slice is, from HU alone; all lengths in mm.

Lesions are placed there where no organ map exists, and the simulated reader judges noise there.
"""

import numpy as np
from scipy import ndimage

#: Soft tissue after smoothing, contrast-enhanced parenchyma and blood included.
SOFT_TISSUE_HU = (0.0, 200.0)
#: Air, lung and bone end here before smoothing, so that their edges do not spread.
DISPLAYED_HU = (-160.0, 240.0)
SMOOTHING_MM = 1.5
#: Blur that leaves noise of some HU, and still shows gas or bone 2 mm wide; beyond these values it is no soft tissue.
FINE_MM, FOREIGN_HU = 1.0, (-30.0, 220.0)


def smooth(image_hu: np.ndarray, sigma_mm: float, spacing_mm: float) -> np.ndarray:
    """Blur an image with a Gaussian given in mm.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    sigma_mm, spacing_mm : float
        Standard deviation, and pixel spacing.

    Returns
    -------
    ndarray, (H, W), float32
    """
    return ndimage.gaussian_filter(image_hu.astype(np.float32, copy=False), sigma_mm / spacing_mm, truncate=3.0)


def disc(radius_mm: float, spacing_mm: float) -> np.ndarray:
    """Return a boolean disc to erode, dilate or open with; at least 3 x 3."""
    radius_px = max(1.0, radius_mm / spacing_mm)
    reach = int(radius_px)
    rows, cols = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.hypot(rows, cols) <= radius_px


def soft_tissue(
    ndct_hu: np.ndarray, spacing_mm: float, *, sigma_mm: float = SMOOTHING_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Find soft tissue, and how steep the image is there.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
    spacing_mm : float
    sigma_mm : float
        Gaussian smoothing against noise.

    Returns
    -------
    mask : ndarray, (H, W), bool
    gradient : ndarray, (H, W), float32, HU/mm
    """
    blurred = smooth(np.clip(ndct_hu, *DISPLAYED_HU), sigma_mm, spacing_mm)
    lower, upper = SOFT_TISSUE_HU
    mask = ndimage.binary_erosion((blurred > lower) & (blurred < upper), disc(SMOOTHING_MM, spacing_mm))
    rows, cols = np.gradient(blurred, spacing_mm)
    return mask, np.hypot(rows, cols)


def foreign(ndct_hu: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Find what is no soft tissue, down to some 2 mm: bone, calcification, gas, lung, fat.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
    spacing_mm : float

    Returns
    -------
    ndarray, (H, W), bool
    """
    seen = smooth(np.clip(ndct_hu, *DISPLAYED_HU), FINE_MM, spacing_mm)
    lower, upper = FOREIGN_HU
    return (seen < lower) | (seen > upper)


def flat_tissue(ndct_hu: np.ndarray, spacing_mm: float, *, share: float = 0.4) -> np.ndarray:
    """Find the soft tissue where almost nothing but noise varies.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
    spacing_mm : float
    share : float
        Part of the soft tissue to keep, that with the lowest gradient.

    Returns
    -------
    ndarray, (H, W), bool
        All False where the slice has no soft tissue.
    """
    mask, gradient = soft_tissue(ndct_hu, spacing_mm)
    if not mask.any():
        return mask
    return mask & (gradient <= np.quantile(gradient[mask], share))


def homogeneous_area(
    ndct_hu: np.ndarray, spacing_mm: float, *, gradient_limit: float = 5.0, ring_mm: float = 15.0
) -> np.ndarray:
    """Find the largest homogeneous soft-tissue area inside the body.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
    spacing_mm : float
    gradient_limit : float
        HU/mm after smoothing; steeper places are edges.
    ring_mm : float
        Depth below the skin that is left out: muscle and fat of the body wall.

    Returns
    -------
    ndarray, (H, W), bool
        One connected area without holes; all False where there is none.

    Notes
    -----
    Not stated in the paper; stands in for the liver where no organ map exists (params ``simulate.organ``).
    """
    # Stronger smoothing than elsewhere: the noise of 1 mm slices would tear the area to pieces.
    mask, gradient = soft_tissue(ndct_hu, spacing_mm, sigma_mm=2.5)
    depth_mm = ndimage.distance_transform_edt(body(ndct_hu, spacing_mm)) * spacing_mm
    even = mask & (gradient <= gradient_limit) & (depth_mm > ring_mm)
    return ndimage.binary_fill_holes(largest(ndimage.binary_opening(even, disc(2.0, spacing_mm))))


def body(ndct_hu: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Find the body without table and air around it.

    Returns
    -------
    ndarray, (H, W), bool
        The largest connected area that is denser than -150 HU, holes filled.
    """
    dense = smooth(np.clip(ndct_hu, *DISPLAYED_HU), SMOOTHING_MM, spacing_mm) > -150.0
    # Lung reaches the image's edge in no slice, so that filling holes keeps it inside the body.
    return ndimage.binary_fill_holes(largest(ndimage.binary_opening(dense, disc(2.0, spacing_mm))))


def largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest 4-connected component of a mask; all False for an empty one."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()
