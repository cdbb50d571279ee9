"""A small abdominal slice: body, liver with vessels, aorta, one lesion; reconstructed-looking noise."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

SPACING_MM = 1.2
WINDOW_HU = (-160.0, 240.0)


@dataclass(frozen=True)
class Slice:
    clean: np.ndarray
    ndct: np.ndarray
    ldct: np.ndarray
    mask: np.ndarray
    without_lesion: np.ndarray


@pytest.fixture(scope="session")
def ct_slice() -> Slice:
    side = 192
    rows, cols = (np.mgrid[:side, :side] - side / 2) * SPACING_MM
    image = np.full((side, side), -1000.0)
    image[np.hypot(rows / 85, cols / 105) < 1] = -90
    image[np.hypot(rows / 75, cols / 95) < 1] = 50
    image[np.hypot((rows + 10) / 45, (cols + 35) / 45) < 1] = 110
    for row, col in ((-25, -50), (-35, -20), (5, -55), (10, -25), (-40, -45), (20, 40), (25, 55), (-30, 45)):
        image[np.hypot(rows - row, cols - col) < 2.0] = 190
    image[np.hypot(rows - 35, cols) < 11] = 200
    mask = np.hypot(rows + 10, cols + 35) < 9
    without = ndimage.gaussian_filter(image, 0.7)
    clean = without - 45 * ndimage.gaussian_filter(mask.astype(float), 0.7)
    rng = np.random.default_rng(3)
    noise = [ndimage.gaussian_filter(rng.standard_normal((side, side)), 0.8) for _ in range(2)]
    ndct, extra = (field / field.std() for field in noise)
    return Slice(
        clean,
        np.rint(clean + 12 * ndct).astype(np.int16),
        np.rint(clean + 12 * ndct + 24 * extra).astype(np.int16),
        mask.astype(np.uint8),
        np.rint(without + 12 * ndct).astype(np.int16),
    )
