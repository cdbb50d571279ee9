"""The low dose of a slice of which only the normal dose is given, for `ingest`.

How many photons a patient's series had, and how sharp its kernel was, is measured on its own noise
(`iqagpt.data.scan_noise`) unless ``ingest.dose.photons`` says; then the missing noise is inserted (`iqagpt.data.dose`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iqagpt.ct import AIR_HU, STORED_RANGE_HU
from iqagpt.data.ct_header import CTHeader, UnreadableCT
from iqagpt.data.dose import KERNEL_HALF_PER_MM, line_integrals, missing_noise
from iqagpt.data.ingest_params import SimulatedDose
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.scan_noise import NoiseProbe, Scan

#: An image of a body holds air; one whose lowest value is above this was cut off below, or holds no outside.
AIR_LIMIT_HU = -800
#: Slices of a patient that are measured.
MEASURED = 3


@dataclass(frozen=True, slots=True)
class UnmeasurableScan:
    """Why a scan's noise could not be measured, and what helps."""

    reason: str = "no slice of the patient has flat soft tissue with noise in it, to measure the dose on"
    remedy: str = "set ingest.dose.photons, or leave the patient out by listing the others in ingest.patients"


def check_air(path: Path, image_hu: np.ndarray) -> None:
    """Refuse a slice whose line integrals cannot be told.

    Raises
    ------
    UnreadableCT
        If it holds no air: a picture of a display window, or a cut-out.
    """
    lowest = int(image_hu.min())
    if lowest > AIR_LIMIT_HU:
        reason = f"has no air: its lowest value is {lowest} HU, so that no dose can be simulated"
        raise UnreadableCT(path, reason, "give the image with its full range of HU and the whole body")


def measure_scan(slices: Iterable[tuple[CTHeader, np.ndarray]], dose: SimulatedDose) -> Scan | UnmeasurableScan:
    """Settle photons and kernel of one patient's series.

    Parameters
    ----------
    slices : iterable of (CTHeader, ndarray)
        Some slices in HU.
    dose : SimulatedDose
    """
    if dose.photons is not None:
        return Scan(dose.photons, KERNEL_HALF_PER_MM)
    probes = [
        NoiseProbe(
            _square(image_hu),
            pixel_spacing_mm=header.pixel_spacing_mm,
            thickness_mm=header.thickness_mm,
            seed=dose.seed,
            views=dose.views,
        )
        for header, image_hu in slices
    ]
    probes = [probe for probe in probes if probe.usable]
    if not probes:
        return UnmeasurableScan()
    kernel = float(np.median([probe.kernel_half_per_mm() for probe in probes]))
    return Scan(float(np.median([probe.photons(kernel) for probe in probes])), kernel)


def simulate_low_dose(
    image_hu: np.ndarray, header: CTHeader, scan: Scan, dose: SimulatedDose, *, key: tuple[int, ...]
) -> np.ndarray:
    """Return a slice as it would look at the low dose.

    Parameters
    ----------
    image_hu : ndarray, (rows, columns), int16, HU
    header : CTHeader
        For pixel size and thickness.
    scan : Scan
    dose : SimulatedDose
    key : tuple of int
        Numbers that tell the slice from others: the noise follows from them and ``dose.seed``.

    Returns
    -------
    ndarray, (rows, columns), int16, HU
    """
    whole = _square(image_hu)
    spacing_mm = header.pixel_spacing_mm
    noise_hu = missing_noise(
        line_integrals(whole, pixel_spacing_mm=spacing_mm, views=dose.views),
        doses=(1.0, dose.fraction),
        pixel_spacing_mm=spacing_mm,
        rng=np.random.default_rng((dose.seed, *key)),
        kernel_half_per_mm=scan.kernel_half_per_mm,
        **scan.rays(pixel_spacing_mm=spacing_mm, thickness_mm=header.thickness_mm, views=dose.views),
    )
    top, left = ((length - part) // 2 for length, part in zip(whole.shape, image_hu.shape, strict=True))
    noise_hu = noise_hu[top : top + image_hu.shape[0], left : left + image_hu.shape[1]]
    return np.clip(np.rint(image_hu + noise_hu), *STORED_RANGE_HU).astype(np.int16)


def _square(image_hu: np.ndarray) -> np.ndarray:
    side = max(image_hu.shape)
    return fit_matrix(image_hu, side + side % 2, AIR_HU)
