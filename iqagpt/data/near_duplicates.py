"""Images that are nearly the same on two sides of the split: one patient under two codes, re-exported, denoised or cropped.

Called in stage ``split``, where the pixels and the sides are both known. Equal images are refused before, by
`iqagpt.data.split.check_no_shared_slices`. Two images are alike if their structure of about 1 to 5 cm correlates: noise, dose and
denoising hardly touch it, and between people it correlates little. Images moved by a few pixels are not recognised.

Notes
-----
Not stated in the paper; the limit of .9 was measured (benchmarks/README.md): the highest correlation between patients is .71 on
real CT and .75 on the phantom, the lowest between two doses or denoisings of one image .99.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from iqagpt.errors import ArtifactError

#: Correlation from which two images are taken for the same.
ALIKE = 0.9
#: Cells that an image is averaged to, along each side.
CELLS = 64
#: Structure coarser than this many cells is the shape of the body.
_COARSE = 3.0


def check_no_near_duplicates(
    manifest: pd.DataFrame, sides: pd.Series, ndct: np.ndarray, window_hu: tuple[float, float]
) -> None:
    """Refuse images of two patients on two sides of the split that are nearly the same.

    Parameters
    ----------
    manifest : DataFrame
        With ``slice_id, patient_id`` and ``row``.
    sides : Series of str
        Side of each row of `manifest`, same order.
    ndct : ndarray, (N, rows, columns), int16, HU
        May be memory-mapped; read slice by slice.
    window_hu : (lower, upper)
        What lies outside does not count.

    Raises
    ------
    ArtifactError
        If there is such a pair.
    """
    prints = np.stack([structure(ndct[row], window_hu) for row in manifest["row"]])
    names, patients, where = (column.to_numpy() for column in (manifest["slice_id"], manifest["patient_id"], sides))
    found = []
    for side in sorted(set(where)):
        own, others = np.flatnonzero(where == side), np.flatnonzero(where > side)
        alike = prints[own] @ prints[others].T
        alike[patients[own][:, None] == patients[others]] = 0.0
        found += [(own[i], others[j], alike[i, j]) for i, j in np.argwhere(alike >= ALIKE)]
    if not found:
        return
    first, second, likeness = max(found, key=lambda pair: pair[2])
    raise ArtifactError(
        f"data/pairs: {names[first]} ({where[first]}) and {names[second]} ({where[second]}) of two patient codes are nearly the "
        f"same image (correlation {likeness:.3f}, limit {ALIKE}; {len(found)} such pairs); a patient must be on one side of "
        "the split: remove one of the two from ingest.root, or list the others in ingest.patients"
    )


def structure(image_hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Return an image's structure as a vector of length 1, float32; zeros for an image without any.

    The product of two is their correlation. `image_hu`: (rows, columns), HU.
    """
    cells = min(CELLS, *image_hu.shape)
    height, width = (size // cells for size in image_hu.shape)
    image = np.clip(image_hu[: cells * height, : cells * width].astype(np.float32), *window_hu)
    coarse = image.reshape(cells, height, cells, width).mean(axis=(1, 3))
    fine = coarse - ndimage.gaussian_filter(coarse, _COARSE)
    length = float(np.linalg.norm(fine))
    return (fine / length if length > 1e-3 else np.zeros_like(fine)).ravel()
