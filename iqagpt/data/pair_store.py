"""Writing selected pairs as the artifact ``data/pairs``: HU arrays, organ maps and the manifest.

The last step of `ingest`; all later stages read slices from here and none reads DICOM again.
"""

import itertools
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import ArtifactWriter
from iqagpt.data.aapm import Found, IngestParams
from iqagpt.data.dicom import read_ct
from iqagpt.data.pairing import Z_TOLERANCE_MM, SlicePair
from iqagpt.errors import InputError

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


def write_pairs(writer: ArtifactWriter, pairs: list[SlicePair], found: Found, params: IngestParams) -> None:
    """Write pixels, organ maps, manifest and rejected files.

    Parameters
    ----------
    writer : ArtifactWriter
        Receives ``ndct``, ``ldct`` (N, rows, columns) int16 HU and ``organs`` uint8, row-aligned with ``manifest.csv``.
    pairs : list of SlicePair
        All of one matrix size, sorted by patient, then z.
    found : Found
        For its organ files and rejected files.
    params : IngestParams
        For the display window.

    Raises
    ------
    InputError
        If an organ map is not of the expected form.
    """
    header = pairs[0].ndct.header
    shape = (len(pairs), header.rows, header.columns)
    arrays = {name: writer.array(name, shape, np.int16) for name in ("ndct", "ldct")}
    organs = writer.array("organs", shape, np.uint8)
    rows = []
    with tqdm(total=len(pairs), desc="pairs", unit="pair", disable=None) as progress:
        for patient_id, group in itertools.groupby(pairs, key=lambda pair: pair.patient_id):
            organ_map = _patient_organs(found.organ_files.get(patient_id), shape[1:])
            for pair in group:
                row = len(rows)
                arrays["ndct"][row] = read_ct(pair.ndct.path).pixels_hu
                arrays["ldct"][row] = read_ct(pair.ldct.path).pixels_hu
                labels = organ_map.at(pair.ndct.header.z_mm) if organ_map else None
                if labels is not None:
                    organs[row] = labels
                rows.append(_manifest_row(pair, labels is not None, row))
                progress.update()
    writer.manifest(pd.DataFrame(rows))
    writer.table("rejected", found.rejected.table())
    writer.info.update(
        dose_note="ndct: series of full dose; ldct: series of quarter dose, as folders or file names say",
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


def _patient_organs(path: Path | None, matrix: tuple[int, int]) -> OrganMap | None:
    return read_organs(path, matrix) if path else None


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
    values = sorted({item.header.intercept for pair in pairs for item in (pair.ndct, pair.ldct)})
    if values != [USUAL_INTERCEPT_HU]:
        log.warning("rescale intercepts are %s, not the usual -1024 alone; they are used as they are", values)
    return values
