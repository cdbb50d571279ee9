"""Bringing slices to one matrix size by padding and cropping; pixels keep their size and are never resampled.

Resampling would change noise and texture, which is what the whole pipeline judges.
"""

import numpy as np


def fit_matrix(image: np.ndarray, side: int | None, fill: int) -> np.ndarray:
    """Pad and crop an image about its centre.

    Parameters
    ----------
    image : ndarray, (rows, columns)
    side : int or None
        Wanted rows and columns; None returns the image.
    fill : int
        Value of new pixels.

    Returns
    -------
    ndarray, (side, side), dtype of `image`
        Of an odd difference the extra row or column is below or right.
    """
    if side is None or image.shape == (side, side):
        return image
    fitted = np.full((side, side), fill, image.dtype)
    there, here = zip(*(overlap(length, side) for length in image.shape), strict=True)
    fitted[here] = image[there]
    return fitted


def overlap(length: int, side: int) -> tuple[slice, slice]:
    """Return what of a length is kept when it is brought to another, and where it goes there."""
    common = min(length, side)
    first, to = (length - common) // 2, (side - common) // 2
    return slice(first, first + common), slice(to, to + common)
