"""Writing selected pairs as the artifact ``data/pairs``: HU arrays, organ maps and the manifest.

The last step of `ingest`; all later stages read slices from here and none reads DICOM again.
"""

import itertools
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.artifacts import ArtifactWriter, open_artifact
from iqagpt.data import tcia
from iqagpt.data.finding import Found
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.pairing import Z_TOLERANCE_MM, SlicePair
from iqagpt.data.pixel_jobs import PixelJob, fill_pixels
from iqagpt.data.scan_noise import Scan
from iqagpt.errors import ArtifactError, InputError

log = logging.getLogger(__name__)

#: What the Siemens scanners of the challenge write; another value is used as it is, and reported.
USUAL_INTERCEPT_HU = -1024.0
MAX_ORGAN_BYTES = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class OrganMap:
    """Organ labels of one patient.

    Attributes
    ----------
    z_mm : ndarray, (S,), float64, mm
    labels : ndarray, (S, rows, columns), uint8
        Classes of TotalSegmentator v2: 1 spleen, 2 and 3 kidneys, 5 liver, 52 aorta, ...; 0 elsewhere.
    """

    z_mm: np.ndarray
    labels: np.ndarray

    def at(self, z_mm: float) -> np.ndarray | None:
        """Return the labels at a height, None where the map has no slice within 0.1 mm."""
        if not len(self.z_mm):
            return None
        nearest = int(np.argmin(np.abs(self.z_mm - z_mm)))
        return self.labels[nearest] if abs(self.z_mm[nearest] - z_mm) <= Z_TOLERANCE_MM else None


def write_pairs(
    writer: ArtifactWriter,
    pairs: list[SlicePair],
    found: Found,
    params: IngestParams,
    *,
    scans: Mapping[str, Scan],
) -> None:
    """Write pixels, organ maps, manifest and rejected files.

    Parameters
    ----------
    writer : ArtifactWriter
        Receives ``ndct``, ``ldct`` (N, rows, columns) int16 HU and ``organs`` uint8, row-aligned with ``manifest.csv``.
    pairs : list of SlicePair
        All of one matrix size unless ``params.matrix`` is given; sorted by patient, then z.
    found : Found
        For its organ files and rejected files.
    params : IngestParams
        For the display window.
    scans : mapping of str to Scan
        By patient, where the low dose is simulated; from `pixel_jobs.measure_scans`.

    Raises
    ------
    InputError
        If an organ map is not of the expected form.
    """
    header = pairs[0].ndct.header
    side = params.matrix
    shape = (len(pairs), side or header.rows, side or header.columns)
    for name in ("ndct", "ldct"):
        writer.array(name, shape, np.int16)
    fill_pixels(PixelJob(writer.path, tuple(pairs), params, scans=scans))
    organs = writer.array("organs", shape, np.uint8)
    rows = []
    for patient_id, group in itertools.groupby(pairs, key=lambda pair: pair.patient_id):
        file, organ_map, matrix = found.organ_files.get(patient_id), None, None
        for pair in group:
            row = len(rows)
            if file and matrix != (pair.ndct.header.rows, pair.ndct.header.columns):
                matrix = pair.ndct.header.rows, pair.ndct.header.columns
                organ_map = read_organs(file, matrix)
            labels = organ_map.at(pair.ndct.header.z_mm) if organ_map else None
            if labels is not None:
                organs[row] = fit_matrix(labels, side, 0)
            rows.append(_manifest_row(pair, labels is not None, row) | {"pretrain": int(patient_id in found.pretrain)})
    writer.manifest(pd.DataFrame(rows))
    writer.table("rejected", found.rejected.table())
    writer.info.update(
        data_source=_data_source(params),
        dose_note=_dose_note(params),
        gaps_in_z=found.gaps,
        ldct_percent={code: tcia.LOW_DOSE_PERCENT[code[0]] for code in sorted(_patients(pairs) & found.tcia)},
        matrix=_matrix_changes(pairs, side),
        rescale_intercepts_hu=_intercepts(pairs),
        window_hu=list(params.window_hu),
    )


def read_organs(path: Path, matrix: tuple[int, int]) -> OrganMap:
    """Read ``organs.npz``: ``z_mm`` (S,) and ``labels`` (S, rows, columns).

    Parameters
    ----------
    path : Path
    matrix : (rows, columns)
        Of the slices that the map belongs to.

    Raises
    ------
    InputError
        If the file is not such an archive or the shapes do not fit; pickled content is never loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_ORGAN_BYTES:
            raise InputError(f"{path}: unpacks to {size} bytes, more than {MAX_ORGAN_BYTES}; give fewer slices")
        with np.load(path, allow_pickle=False) as content:
            z_mm, labels = content["z_mm"], content["labels"]
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: array {error} is missing; expected arrays z_mm and labels") from error
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not readable as an archive of plain arrays ({type(error).__name__}); "
            "write it by np.savez_compressed(path, z_mm=..., labels=...)"
        ) from error
    if z_mm.ndim != 1 or labels.shape != (len(z_mm), *matrix):
        raise InputError(
            f"{path}: z_mm has shape {z_mm.shape} and labels {labels.shape}, expected (S,) and (S, {matrix[0]}, "
            f"{matrix[1]}); one label image a slice, of the CT's matrix size"
        )
    if not np.issubdtype(z_mm.dtype, np.number) or not np.isfinite(z_mm).all():
        raise InputError(f"{path}: z_mm must hold finite numbers, got dtype {z_mm.dtype}; give z in mm")
    if not np.issubdtype(labels.dtype, np.integer) or (labels.size and not 0 <= labels.min() <= labels.max() <= 255):
        raise InputError(f"{path}: labels must be whole numbers from 0 to 255, got dtype {labels.dtype}")
    return OrganMap(z_mm.astype(np.float64), labels.astype(np.uint8, copy=False))


def _data_source(params: IngestParams) -> str:
    """Say in words where the images come from, for every table and page of results; no path, which may name a person."""
    try:
        open_artifact(params.root, "phantom")
    except ArtifactError:
        return f"data of the user, low dose {'simulated' if params.low_dose == 'simulated' else 'as given'}"
    return "built-in CT phantom: SYNTHETIC patients, no real CT"


def _dose_note(params: IngestParams) -> str:
    if params.low_dose == "simulated":
        return f"ndct: the series given; ldct: simulated at {params.dose.fraction:g} of its dose"
    return "ndct: series of full dose; ldct: series of low dose, as folders or file names say"


def _patients(pairs: list[SlicePair]) -> set[str]:
    return {pair.patient_id for pair in pairs}


def _matrix_changes(pairs: list[SlicePair], side: int | None) -> dict[str, int]:
    sizes = [(pair.ndct.header.rows, pair.ndct.header.columns) for pair in pairs]
    cropped = sum(max(size) > side for size in sizes) if side else 0
    padded = sum(min(size) < side for size in sizes) if side else 0
    if cropped or padded:
        log.warning("ingest.matrix %d: %d pairs cropped about their centre, %d padded with air", side, cropped, padded)
    return {"cropped_pairs": cropped, "padded_pairs": padded}


def _manifest_row(pair: SlicePair, has_organ_map: bool, row: int) -> dict[str, object]:
    header = pair.ndct.header
    return {
        "slice_id": pair.slice_id,
        "patient_id": pair.patient_id,
        "instance_number": header.instance_number,
        "slice_location_mm": header.z_mm,
        "pixel_spacing_mm": header.pixel_spacing_mm,
        "thickness_mm": header.thickness_mm,
        "kernel": header.kernel,
        "has_organ_map": int(has_organ_map),
        "row": row,
    }


def _intercepts(pairs: list[SlicePair]) -> list[float]:
    values = sorted({item.header.intercept for pair in pairs for item in pair.files})
    if values != [USUAL_INTERCEPT_HU]:
        log.warning("rescale intercepts are %s, not the usual -1024 alone; they are used as they are", values)
    return values
