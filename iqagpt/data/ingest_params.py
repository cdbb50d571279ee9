"""Section ``ingest`` of the params file: what the stage takes from a folder of series."""

import re
from dataclasses import dataclass
from typing import Literal

#: L abdomen, C chest, N head in the AAPM and TCIA data; P in any other, where they are numbered.
PATIENT_CODE = re.compile(r"[LCNP]\d{3}(?![A-Za-z0-9])")
_EXCLUDE = re.compile(r"([LCNP]\d{3}):(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class SimulatedDose:
    """How the low dose is made where only NDCT is given.

    Attributes
    ----------
    fraction : float
        Part of the series' dose, above 0 and below 1.
    photons : float or None
        Incident photons on 1 mm2 of detector in one view of 720, at the dose of the series; None measures them on each
        patient's noise.
    views : int
        Projections over 180 degrees.
    seed : int
        Of the noise.
    """

    fraction: float
    photons: float | None
    views: int
    seed: int

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction < 1.0:
            raise ValueError(f"fraction: expected above 0 and below 1, got {self.fraction:g}")
        if self.photons is not None and not 1e2 <= self.photons <= 1e9:
            raise ValueError(f"photons: expected 1e2 to 1e9 or null, got {self.photons:g}")
        if not 30 <= self.views <= 5000:
            raise ValueError(f"views: expected 30 to 5000, got {self.views}")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")


@dataclass(frozen=True, slots=True)
class IngestParams:
    """Section ``ingest`` of the params file.

    Attributes
    ----------
    root : str
        Folder or zip archive searched for series.
    low_dose : str
        ``given``: series of both doses are there, as in the AAPM and TCIA data. ``simulated``: any NDCT series, whose low dose
        is made from them.
    pairs : int
        Slices to take in all, at least 1; in the paper 125.
    pretrain_pairs : int
        Slices to take in all of patients below a folder ``pretrain``, for pre-training alone.
    thickness_mm : float or None
        Slice thickness to take; None takes any that is equal within a pair.
    kernel : str or None
        Reconstruction kernel to take, as the header spells it; None takes any that is equal within a pair.
    patients : tuple of str
        Codes to take; empty takes all.
    exclude : tuple of str
        Bad slices as ``L185:50-135``, instance numbers, both ends included.
    matrix : int or None
        Rows and columns of all slices: others are padded with air or cropped about the centre, never resampled. None keeps
        the size that most slices have and leaves the others out.
    dose : SimulatedDose
        Of `low_dose` ``simulated``.
    window_hu : (lower, upper)
        Display window handed to all later stages.
    strict : bool
        Whether any rejected file fails the stage.
    """

    root: str
    low_dose: Literal["given", "simulated"]
    pairs: int
    pretrain_pairs: int
    thickness_mm: float | None
    kernel: str | None
    patients: tuple[str, ...]
    exclude: tuple[str, ...]
    matrix: int | None
    dose: SimulatedDose
    window_hu: tuple[float, float]
    strict: bool

    def __post_init__(self) -> None:
        if not self.root:
            raise ValueError("root: expected a folder or zip archive, got ''")
        if self.pairs < 1:
            raise ValueError(f"pairs: expected at least 1, got {self.pairs}")
        if self.pretrain_pairs < 0:
            raise ValueError(f"pretrain_pairs: expected at least 0, got {self.pretrain_pairs}")
        if self.thickness_mm is not None and self.thickness_mm <= 0:
            raise ValueError(f"thickness_mm: expected more than 0 or null, got {self.thickness_mm:g}")
        if self.kernel is not None and not self.kernel:
            raise ValueError("kernel: expected a name such as B30f or null, got ''")
        if self.matrix is not None and not (16 <= self.matrix <= 4096 and self.matrix % 2 == 0):
            raise ValueError(f"matrix: expected an even number from 16 to 4096 or null, got {self.matrix}")
        for code in self.patients:
            if not PATIENT_CODE.fullmatch(code):
                raise ValueError(f"patients: expected codes such as L067, got {code!r}")
        for item in self.exclude:
            _parse_exclude(item)
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu: expected lower < upper, got {list(self.window_hu)}")

    @property
    def excluded(self) -> list[tuple[str, int, int]]:
        """The excluded slices as patient code, first and last instance number."""
        return [_parse_exclude(item) for item in self.exclude]


def _parse_exclude(item: str) -> tuple[str, int, int]:
    match = _EXCLUDE.fullmatch(item)
    if not match or int(match[2]) > int(match[3]):
        raise ValueError(f"exclude: expected PATIENT:FIRST-LAST such as 'L185:50-135', got {item!r}")
    return match[1], int(match[2]), int(match[3])
