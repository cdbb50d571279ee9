"""Measuring scans and filling ``ndct.npy`` and ``ldct.npy``, patient by patient, in several processes where that is worth it.

Each process writes its own rows of the memory-mapped arrays, so no pixels travel between processes and what is
written does not depend on how many run.
"""

import itertools
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from iqagpt.ct import AIR_HU
from iqagpt.data.dicom import read_ct
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.low_dose import MEASURED, UnmeasurableScan, measure_scan, simulate_low_dose
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.pairing import SlicePair
from iqagpt.data.rejections import Rejections
from iqagpt.data.scan_noise import Scan
from iqagpt.errors import InputError

T, R = TypeVar("T"), TypeVar("R")
#: Seconds of work for a pair, roughly: read, decompressed, simulated. A second process takes two seconds to start.
_SECONDS = {"read": 0.002, "compressed": 0.05, "simulated": 0.2}
_WORTHWHILE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class PixelJob:
    """Rows to fill.

    Attributes
    ----------
    folder : Path
        Holds ``ndct.npy`` and ``ldct.npy``.
    pairs : tuple of SlicePair
    params : IngestParams
    first_row : int
        Of the first pair.
    scans : mapping of str to Scan
        By patient, where the low dose is simulated; from `measure_scans`.
    """

    folder: Path
    pairs: tuple[SlicePair, ...]
    params: IngestParams
    first_row: int = 0
    scans: Mapping[str, Scan] = field(default_factory=dict)


def measure_scans(
    pairs: list[SlicePair], params: IngestParams, rejected: Rejections, *, processes: int | None = None
) -> tuple[list[SlicePair], dict[str, Scan]]:
    """Settle photons and kernel of every patient whose low dose is simulated.

    Parameters
    ----------
    pairs : list of SlicePair
        Sorted by patient.
    params : IngestParams
    rejected : Rejections
        Receives the files of patients whose noise cannot be measured.
    processes : int, optional
        At most so many.

    Returns
    -------
    list of SlicePair
        Those of the other patients.
    dict of str to Scan
        By patient.

    Raises
    ------
    InputError
        If nobody is left.
    """
    of_patient = {key: tuple(group) for key, group in itertools.groupby(pairs, key=lambda pair: pair.patient_id)}
    wanted = [(group, params) for group in of_patient.values() if group[0].ldct is None]
    seconds = MEASURED * _SECONDS["simulated"] * len(wanted)
    found = _in_processes(_measure, wanted, seconds, processes)
    scans: dict[str, Scan] = {}
    for (group, _), scan in zip(wanted, found, strict=True):
        if isinstance(scan, Scan):
            scans[group[0].patient_id] = scan
            continue
        for pair in of_patient.pop(group[0].patient_id):
            rejected.add(pair.ndct.path, scan.reason, scan.remedy, pair.patient_id)
    left = [pair for group in of_patient.values() for pair in group]
    if not left:
        raise InputError(rejected.no_pairs())
    return left, scans


def fill_pixels(job: PixelJob, *, processes: int | None = None) -> None:
    """Read all slices, simulate the low dose where it is missing, and write the rows.

    Parameters
    ----------
    job : PixelJob
        Of all patients.
    processes : int, optional
        At most so many; by default one a core if the work takes longer than starting them.
    """
    with tqdm(total=len(job.pairs), desc="pairs", unit="pair", disable=None) as progress:
        for count in _in_processes(_fill, list(_by_patient(job)), sum(map(_seconds, job.pairs)), processes):
            progress.update(count)


def _in_processes(work: Callable[[T], R], jobs: list[T], seconds: float, processes: int | None) -> Iterator[R]:
    """Yield the result of every job, in order."""
    if processes is None:
        processes = (os.cpu_count() or 1) if seconds > _WORTHWHILE_SECONDS else 1
    processes = min(processes, len(jobs))
    if processes <= 1:
        yield from map(work, jobs)
        return
    # Spawned, not forked: FFT libraries with threads of their own do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, jobs)


def _seconds(pair: SlicePair) -> float:
    if pair.ldct is None:
        return _SECONDS["simulated"]
    return _SECONDS["compressed" if pair.ndct.header.compressed else "read"]


def _by_patient(job: PixelJob) -> Iterator[PixelJob]:
    row = job.first_row
    for _, group in itertools.groupby(job.pairs, key=lambda pair: pair.patient_id):
        pairs = tuple(group)
        yield replace(job, pairs=pairs, first_row=row)
        row += len(pairs)


def _fill(job: PixelJob) -> int:
    ndct, ldct = (np.load(job.folder / f"{name}.npy", mmap_mode="r+") for name in ("ndct", "ldct"))
    scan = job.scans.get(job.pairs[0].patient_id)
    side = job.params.matrix
    for row, pair in enumerate(job.pairs, start=job.first_row):
        full = read_ct(pair.ndct.path, pair.ndct.header.frame).pixels_hu
        if pair.ldct is None:
            key = (zlib.crc32(pair.slice_id.encode()),)
            low = simulate_low_dose(full, pair.ndct.header, scan, job.params.dose, key=key)
        else:
            low = read_ct(pair.ldct.path, pair.ldct.header.frame).pixels_hu
        ndct[row], ldct[row] = fit_matrix(full, side, AIR_HU), fit_matrix(low, side, AIR_HU)
    ndct.flush()
    ldct.flush()
    return len(job.pairs)


def _measure(job: tuple[tuple[SlicePair, ...], IngestParams]) -> Scan | UnmeasurableScan:
    pairs, params = job
    middle = sorted({int((k + 0.5) * len(pairs) / MEASURED) for k in range(MEASURED)})
    slices = [read_ct(pairs[k].ndct.path, pairs[k].ndct.header.frame) for k in middle]
    return measure_scan([(ct.header, ct.pixels_hu) for ct in slices], params.dose)
