"""Filling ``ndct.npy`` and ``ldct.npy``, patient by patient, in several processes where the work is worth starting them.

Each process writes its own rows of the memory-mapped arrays, so no pixels travel between processes and what is
written does not depend on how many run.
"""

import itertools
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from iqagpt.ct import AIR_HU
from iqagpt.data.dicom import read_ct
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.low_dose import MEASURED, measure_scan, simulate_low_dose
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.pairing import SlicePair

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
    """

    folder: Path
    pairs: tuple[SlicePair, ...]
    params: IngestParams
    first_row: int = 0

    @property
    def seconds(self) -> float:
        """A rough guess of the work."""
        kinds = ["simulated" if pair.ldct is None else "compressed" if pair.ndct.header.compressed else "read"
                 for pair in self.pairs]  # fmt: skip
        return sum(_SECONDS[kind] for kind in kinds)


def fill_pixels(job: PixelJob, *, processes: int | None = None) -> None:
    """Read all slices, simulate the low dose where it is missing, and write the rows.

    Parameters
    ----------
    job : PixelJob
        Of all patients.
    processes : int, optional
        At most so many; by default one a core if the work takes longer than starting them.
    """
    jobs = list(_by_patient(job))
    if processes is None:
        processes = (os.cpu_count() or 1) if job.seconds > _WORTHWHILE_SECONDS else 1
    processes = min(processes, len(jobs))
    with tqdm(total=len(job.pairs), desc="pairs", unit="pair", disable=None) as progress:
        if processes == 1:
            for part in jobs:
                progress.update(_fill(part))
            return
        # Spawned, not forked: FFT libraries with threads of their own do not survive a fork.
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            for count in pool.map(_fill, jobs):
                progress.update(count)


def _by_patient(job: PixelJob) -> Iterator[PixelJob]:
    row = job.first_row
    for _, group in itertools.groupby(job.pairs, key=lambda pair: pair.patient_id):
        pairs = tuple(group)
        yield PixelJob(job.folder, pairs, job.params, row)
        row += len(pairs)


def _fill(job: PixelJob) -> int:
    ndct, ldct = (np.load(job.folder / f"{name}.npy", mmap_mode="r+") for name in ("ndct", "ldct"))
    scan = None
    if job.pairs[0].ldct is None:
        middle = [int((k + 0.5) * len(job.pairs) / MEASURED) for k in range(MEASURED)]
        slices = [
            read_ct(pair.ndct.path, pair.ndct.header.frame) for pair in (job.pairs[k] for k in sorted(set(middle)))
        ]
        scan = measure_scan(job.pairs[0].patient_id, [(ct.header, ct.pixels_hu) for ct in slices], job.params.dose)
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
