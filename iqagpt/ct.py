"""CT numbers: stored values to HU, and HU to the displayed window.

The paper shows all images in the abdomen window [-160, 240] HU (section 2.1).
"""

import numpy as np

AIR_HU = -1024
#: Range of HU kept in int16 arrays: 12-bit data with intercept -1024, as the AAPM files are.
STORED_RANGE_HU = (AIR_HU, 3071)


def to_hu(stored: np.ndarray, slope: float, intercept: float, padding: int | None = None) -> np.ndarray:
    """Convert stored pixel values to Hounsfield units.

    Parameters
    ----------
    stored : ndarray, any shape, integer
        Pixel values as stored; unsigned types are widened first, so that subtracting cannot wrap.
    slope, intercept : float
        Rescale Slope (0028,1053) and Rescale Intercept (0028,1052).
    padding : int, optional
        Pixel Padding Value (0028,0120): such pixels become air. Values below -1024 HU (the -2000 that some scanners
        write outside the field of view) become air in any case.

    Returns
    -------
    ndarray, same shape, int16, HU
        Rounded and clipped to [-1024, 3071].

    References
    ----------
    DICOM PS3.3 C.11.1.1.2 (modality transform); PS3.3 C.7.5.1.1.2 (pixel padding).
    """
    values = stored.astype(np.float64) * slope + intercept
    if padding is not None:
        values[stored == padding] = AIR_HU
    return np.clip(np.rint(values), *STORED_RANGE_HU).astype(np.int16)


def apply_window(image_hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Map HU to [0, 1] by a linear window; values outside are clipped.

    Parameters
    ----------
    image_hu : ndarray, any shape, HU
    window_hu : (lower, upper)
        HU mapped to 0 and to 1.

    Returns
    -------
    ndarray, same shape, float32
    """
    lower, upper = window_hu
    image = image_hu.astype(np.float32)  # a copy, changed in place below: half the time
    image -= lower
    image /= upper - lower
    return np.clip(image, 0.0, 1.0, out=image)


def from_window(image: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Map [0, 1] back to HU; the inverse of `apply_window` inside the window.

    Returns
    -------
    ndarray, same shape, int16, HU
    """
    lower, upper = window_hu
    return np.rint(np.asarray(image, np.float32) * (upper - lower) + lower).astype(np.int16)
