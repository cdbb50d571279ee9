"""Flat elliptic bodies with the noise of a known scan, for the tests of dose simulation."""

import math

import numpy as np

from iqagpt.data.dose import line_integrals, missing_noise
from iqagpt.data.scan_noise import Scan

SPACING_MM, THICKNESS_MM = 1.4, 3.0


def clean_body(size=192, half_width_mm=115.0, half_height_mm=85.0, hu=60):
    line = (np.arange(size) - (size - 1) / 2) * SPACING_MM
    inside = (line / half_width_mm) ** 2 + (line[:, None] / half_height_mm) ** 2 < 1
    return np.where(inside, hu, -1000).astype(np.float32)


def scanned(scan: Scan, seed=0, views=720, **body):
    """A body as the scan shows it, int16 HU."""
    clean = clean_body(**body)
    noise = missing_noise(
        line_integrals(clean, pixel_spacing_mm=SPACING_MM, views=views),
        doses=(math.inf, 1.0),
        pixel_spacing_mm=SPACING_MM,
        rng=np.random.default_rng(seed),
        kernel_half_per_mm=scan.kernel_half_per_mm,
        **scan.rays(pixel_spacing_mm=SPACING_MM, thickness_mm=THICKNESS_MM, views=views),
    )
    return np.clip(np.rint(clean + noise), -1024, 3071).astype(np.int16)
