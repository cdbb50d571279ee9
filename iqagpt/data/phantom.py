"""The built-in data: synthetic patients as CT series in the layout of the AAPM challenge, normal and low dose.

It stands in for the gated AAPM data at the head of the pipeline (paper 2.1): anatomy from `iqagpt.data.anatomy`,
noise of the normal dose and then of the low dose by `iqagpt.data.dose`, files by `iqagpt.data.dicom_writer`. Organ
maps lie beside the series, so that lesions can be put into the liver.
"""

import dataclasses
import math
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import ArtifactWriter
from iqagpt.data.aapm import PRETRAIN_FOLDER
from iqagpt.data.anatomy.patient import Patient, draw_patient
from iqagpt.data.anatomy.render import render_slice
from iqagpt.data.dicom_writer import Series, write_slice
from iqagpt.data.dose import insert_noise

#: Tube current and water-equivalent diameter of a middling slice, and views, to which the photons refer.
REFERENCE_MA, REFERENCE_DIAMETER_MM, REFERENCE_VIEWS = 220.0, 290.0, 720
#: How the exposure control follows the diameter, per mm; as strong as water attenuates would keep the noise equal.
CONTROL_PER_MM = 0.0145
KERNEL = "B30f"
#: Folder prefix of the two series and their mark in file names; "quarter" whatever the dose, as readers expect it.
KINDS = {"full": "FD", "quarter": "QD"}
#: Height over which every patient has liver.
LIVER_RANGE_MM = 130.0
MAX_PATIENTS = 999
COMMENT = "Synthetic phantom image, not a patient. Not for diagnosis."


@dataclasses.dataclass(frozen=True, slots=True)
class PhantomParams:
    """Section ``phantom`` of the params file.

    Attributes
    ----------
    patients, slices : int
        Number of patients, and of slices a patient.
    pretrain_patients : int
        Further patients, which only pre-training is to see.
    slice_increment_mm, thickness_mm : float
        Distance of slice centres, and thickness. Thicker slices gather more photons.
    matrix : int
        Rows and columns, even; the field of view stays.
    dose : float
        Dose of the low-dose series relative to the normal one, in (0, 1].
    views : int
        Projections over 180 degrees; the photons are shared among them.
    photons : float
        Incident photons on 1 mm^2 of detector (scaled to the isocentre) in one view of 720, at normal dose and 220 mA.
    electronic_sd : float
        Electronic noise of 1 mm^2 of detector, in photons.
    seed : int
    """

    patients: int
    pretrain_patients: int
    slices: int
    slice_increment_mm: float
    thickness_mm: float
    matrix: int
    dose: float
    views: int
    photons: float
    electronic_sd: float
    seed: int

    def __post_init__(self) -> None:
        limits = {
            "patients": (1, MAX_PATIENTS), "pretrain_patients": (0, MAX_PATIENTS),
            "slices": (1, 500), "slice_increment_mm": (0.1, 50.0),
            "thickness_mm": (0.5, 10.0), "matrix": (64, 1024), "views": (30, 5000), "photons": (1e2, 1e9),
            "electronic_sd": (0.0, 1e4), "seed": (0, 2**31),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
        if self.patients + self.pretrain_patients > MAX_PATIENTS:
            raise ValueError(
                f"pretrain_patients: expected at most {MAX_PATIENTS} patients in all, got {self.pretrain_patients} "
                f"besides {self.patients}"
            )
        if self.matrix % 2:
            raise ValueError(f"matrix: expected an even number, got {self.matrix}")
        if not 0.0 < self.dose <= 1.0:
            raise ValueError(f"dose: expected above 0 and at most 1, got {self.dose!r}")
        if (self.slices - 1) * self.slice_increment_mm > LIVER_RANGE_MM:
            raise ValueError(
                f"slice_increment_mm: expected slices to span at most {LIVER_RANGE_MM:g} mm, the height of the "
                f"liver, got {(self.slices - 1) * self.slice_increment_mm:g} mm; take fewer slices or a smaller "
                "increment"
            )


def write_phantom(artifact: ArtifactWriter, params: PhantomParams) -> None:
    """Write all patients into an artifact: series, organ maps and the manifest.

    Patients are made side by side, one process each at a time; what is written does not depend on how many run.

    Parameters
    ----------
    artifact : ArtifactWriter
        Receives ``L001/full_3mm/*.IMA``, ``L001/quarter_3mm/*.IMA``, ``L001/organs.npz`` and so on; the patients for
        pre-training lie in a folder ``pretrain``.
    params : PhantomParams
    """
    jobs = [(artifact.path, params, index) for index in range(1, params.patients + params.pretrain_patients + 1)]
    rows = []
    for table in tqdm(_run(jobs), total=len(jobs), desc="phantom", unit="patient", disable=None):
        rows += table
    artifact.manifest(pd.DataFrame(rows))
    artifact.info["synthetic"] = True
    artifact.info["dose"] = params.dose
    artifact.info["note"] = COMMENT


def write_patient(root: Path, params: PhantomParams, index: int) -> list[dict[str, object]]:
    """Write one patient below `root` and return its rows of the manifest."""
    patient = draw_patient(params.seed, index)
    series = {kind: _series(patient, params, kind) for kind in KINDS}
    folder = f"{PRETRAIN_FOLDER}/{patient.code}" if index > params.patients else patient.code
    for kind in KINDS:
        (root / folder / f"{kind}_{params.thickness_mm:g}mm").mkdir(parents=True)
    rows, labels = [], []
    first_mm = first_position_mm(patient, params)
    for number in range(params.slices):
        z_mm = first_mm - number * params.slice_increment_mm
        pair = make_pair(patient, params, number)
        files = [f"{folder}/{_file_name(series[kind], kind, number + 1)}" for kind in KINDS]
        for kind, file, image, dose in zip(KINDS, files, (pair.ndct, pair.ldct), (1.0, params.dose), strict=True):
            current_ma = max(1, round(pair.current_ma * dose))
            write_slice(root / file, image, series[kind], instance=number + 1, z_mm=z_mm, current_ma=current_ma)
        labels.append(pair.organs)
        rows.append(_row(patient, params, number + 1, z_mm, files))
    heights = np.array([row["slice_location_mm"] for row in rows], np.float64)
    np.savez_compressed(root / folder / "organs.npz", z_mm=heights, labels=np.stack(labels))
    return rows


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """One slice at both doses.

    Attributes
    ----------
    ndct, ldct : ndarray, (matrix, matrix), int16, HU
        The LDCT is the NDCT plus the noise that it lacks.
    organs : ndarray, (matrix, matrix), uint8
        TotalSegmentator v2 class numbers.
    current_ma : float
        Tube current at normal dose.
    """

    ndct: np.ndarray
    ldct: np.ndarray
    organs: np.ndarray
    current_ma: float


def make_pair(patient: Patient, params: PhantomParams, number: int) -> Pair:
    """Make one slice at both doses.

    Parameters
    ----------
    patient : Patient
    params : PhantomParams
    number : int
        Slice number from 0, head to feet.

    Notes
    -----
    Not stated in the paper; an automatic exposure control sets the current of every slice by its water-equivalent
    diameter, so that noise differs between patients and slices by about a third and not several times.
    """
    below_mm = (number - (params.slices - 1) / 2) * params.slice_increment_mm
    clean, organs = render_slice(patient, below_mm, matrix=params.matrix, thickness_mm=params.thickness_mm)
    spacing_mm = patient.fov_mm / params.matrix
    ray_mm2 = spacing_mm * params.thickness_mm
    diameter_mm = water_diameter_mm(clean, spacing_mm)
    current_ma = REFERENCE_MA * patient.exposure * math.exp(CONTROL_PER_MM * (diameter_mm - REFERENCE_DIAMETER_MM))
    scan = {
        "pixel_spacing_mm": spacing_mm,
        "photons": params.photons * ray_mm2 * current_ma / REFERENCE_MA * REFERENCE_VIEWS / params.views,
        "electronic_sd": params.electronic_sd * math.sqrt(ray_mm2),
        "views": params.views,
    }
    streams = [np.random.default_rng((params.seed, patient.index, number, k)) for k in (0, 1)]
    ndct = insert_noise(clean, dose=1.0, source_dose=math.inf, rng=streams[0], **scan)
    ldct = insert_noise(ndct, dose=params.dose, rng=streams[1], **scan)
    return Pair(ndct, ldct, organs, current_ma)


def water_diameter_mm(image_hu: np.ndarray, pixel_spacing_mm: float) -> float:
    """Return the diameter of the water disc that attenuates like a slice (AAPM report 220)."""
    water_mm2 = float(np.maximum(1.0 + image_hu / 1000.0, 0.0).sum()) * pixel_spacing_mm**2
    return 2.0 * math.sqrt(water_mm2 / math.pi)


def first_position_mm(patient: Patient, params: PhantomParams) -> float:
    """Return the Image Position z of the first slice; like a scanner's table, it differs between patients."""
    return -120.0 - float(np.random.default_rng((params.seed, patient.index, 9)).integers(0, 120)) - 0.5


def _run(jobs: list[tuple[Path, PhantomParams, int]]) -> Iterator[list[dict[str, object]]]:
    workers = min(os.cpu_count() or 1, len(jobs))
    if workers == 1:
        yield from (write_patient(*job) for job in jobs)
        return
    # Spawned, not forked: FFT libraries with threads of their own do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(write_patient, *zip(*jobs, strict=True))


def _series(patient: Patient, params: PhantomParams, kind: str) -> Series:
    number = list(KINDS).index(kind)
    dose = (1.0, params.dose)[number]
    # Patients for pre-training change nothing about the others.
    made = tuple(value for name, value in dataclasses.asdict(params).items() if name != "pretrain_patients")
    return Series(
        patient_name=patient.code,
        description=f"Synthetic abdomen {params.thickness_mm:g} mm, {100 * dose:g} % dose",
        # Series numbers differ between patients, as they do in the challenge: nobody may key on them.
        number=1 + (patient.index + 2 * number) % 4,
        uid_key=f"iqagpt-phantom/{made}/{patient.code}/{kind}",
        pixel_spacing_mm=patient.fov_mm / params.matrix,
        thickness_mm=params.thickness_mm,
        kernel=KERNEL,
        comment=COMMENT,
    )


def _file_name(series: Series, kind: str, instance: int) -> str:
    """Path below the patient's folder in the challenge's pattern, with a fixed time."""
    code, thickness = series.patient_name, f"{series.thickness_mm:g}"
    name = f"{code}_{KINDS[kind]}_{thickness}_1.CT.{series.number:04d}.{instance:04d}"
    return f"{kind}_{thickness}mm/{name}.2016.01.01.00.00.00.000000.IMA"


def _row(patient: Patient, params: PhantomParams, instance: int, z_mm: float, files: list[str]) -> dict[str, object]:
    return {
        "patient_id": patient.code,
        "instance_number": instance,
        "slice_location_mm": z_mm,
        "pixel_spacing_mm": patient.fov_mm / params.matrix,
        "thickness_mm": params.thickness_mm,
        "kernel": KERNEL,
        "ndct_file": files[0],
        "ldct_file": files[1],
    }
