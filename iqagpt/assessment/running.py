"""The run of ``iqagpt assess``: read a batch, assess it, hand on its records; one batch is read ahead while another is assessed.

Never more than a few slices are in memory, however long a series is.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from iqagpt.assessment.assessor import BATCH_SIZE, Assessor
from iqagpt.assessment.inputs import FAILED, Found, Problem, Series, SliceFile, reason_of
from iqagpt.assessment.records import Record, SeriesSummary, failed_record, problem_record, slice_record
from iqagpt.assessment.scope import header_warnings, window_warnings
from iqagpt.data.dicom import read_ct
from iqagpt.errors import InputError
from iqagpt.images import OpenImage, check_range, open_image

_T = TypeVar("_T")
_PIECE_BYTES = 2**20


class Writer(Protocol):
    """Where records go; see `iqagpt.assessment.journal`."""

    def add(self, record: Record) -> None:
        """Take one record."""

    def knows(self, item: SliceFile, sha256: str) -> bool:
        """Tell whether a slice was assessed before; may be called from another thread."""

    def reuse(self, item: SliceFile, series: int) -> Record:
        """Take over the record of a slice that is known."""

    def flush(self) -> None:
        """Hand on what was added."""


@dataclass(slots=True)
class Totals:
    """How many slices were assessed now, taken over, failed; and how many files skipped."""

    assessed: int = 0
    reused: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A slice with its pixels, or with a reason why there are none; with neither, one assessed before."""

    item: SliceFile
    sha256: str = ""
    image_hu: np.ndarray | None = None
    pixel_spacing_mm: float | None = None
    window_hu: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    problem: Problem | None = None


def assess_found(
    found: Found,
    assessor: Assessor,
    writer: Writer,
    *,
    window_hu: tuple[float, float] | None,
    progress: Callable[[int], object],
    on_series: Callable[[Record], object] = lambda record: None,
) -> Totals:
    """Assess all slices that were found.

    Parameters
    ----------
    found : Found
    assessor : Assessor
    writer : Writer
        Takes records of slices, each series' after its slices, at last those of files of no series.
    window_hu : (lower, upper) or None
        Of PNG and TIFF.
    progress : callable
        Told how many slices are done further.
    on_series : callable
        Given each series' record.

    Returns
    -------
    Totals
    """
    totals = Totals()
    for series in found.series:
        summary = SeriesSummary(series)
        batches = _batches(series, window_hu, writer.knows)
        with contextlib.closing(batches), contextlib.closing(_ahead(batches)) as ahead:
            for batch in ahead:
                for record in _records(batch, series, assessor, writer, totals):
                    summary.add(record)
                writer.flush()
                progress(len(batch))
        record = summary.record(assessor)
        writer.add(record)
        writer.flush()
        on_series(record)
    for problem in found.problems:
        _count(problem, totals)
        writer.add(problem_record(assessor, problem))
    return totals


def _records(
    batch: list[_Read], series: Series, assessor: Assessor, writer: Writer, totals: Totals
) -> Iterator[Record]:
    """Write the records of a batch in order and yield them."""
    wanted = [read for read in batch if read.image_hu is not None]
    assessed = iter(
        assessor.assess([r.image_hu for r in wanted], pixel_spacing_mm=[r.pixel_spacing_mm for r in wanted])
    )
    for read in batch:
        if read.problem is None and read.image_hu is None:
            record = writer.reuse(read.item, series.number)
            totals.reused += 1
        elif read.problem is not None:
            record = failed_record(assessor, series, read.item, read.sha256, read.problem)
            _count(read.problem, totals)
            writer.add(record)
        else:
            warnings = window_warnings(read.window_hu, assessor.window_hu, read.notes)
            if read.item.header is not None:
                warnings += header_warnings(read.item.header, assessor.seen)
            record = slice_record(assessor, series, read.item, read.sha256, next(assessed), warnings)
            totals.assessed += 1
            writer.add(record)
        yield record


def _batches(
    series: Series, window_hu: tuple[float, float] | None, knows: Callable[[SliceFile, str], bool]
) -> Iterator[list[_Read]]:
    batch = []
    with _Files(window_hu, knows) as files:
        for item in series.slices:
            batch.append(files.read(item))
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
        if batch:
            yield batch


class _Files:
    """Reads slices; keeps the file of the last one open, and its hash."""

    def __init__(self, window_hu: tuple[float, float] | None, knows: Callable[[SliceFile, str], bool]) -> None:
        self._window_hu, self._knows = window_hu, knows
        self._path: Path | None = None
        self._sha256 = ""
        self._image: OpenImage | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, item: SliceFile) -> _Read:
        try:
            return self._read(item)
        except InputError as error:
            problem = Problem(item.name, FAILED, reason_of(error, item.path))
        except OSError as error:
            problem = Problem(item.name, FAILED, f"cannot be read ({error.strerror}); check name and rights")
        return _Read(item, self._sha256 if self._path == item.path else "", problem=problem)

    def _read(self, item: SliceFile) -> _Read:
        if item.path != self._path:
            self._stack.close()
            self._path, self._image, self._sha256 = item.path, None, ""
            self._sha256 = _sha256(item.path)
        if self._knows(item, self._sha256):
            return _Read(item, self._sha256)
        if item.header is not None:
            pixels_hu = read_ct(item.path, item.index).pixels_hu
            return _Read(item, self._sha256, pixels_hu, item.header.pixel_spacing_mm)
        if self._image is None:
            self._image = self._stack.enter_context(open_image(item.path, self._window_hu))
        image = self._image
        values_hu = image.read(item.index)
        if image.window_hu is None:
            check_range(item.path, values_hu)
        return _Read(item, self._sha256, values_hu, image.pixel_spacing_mm, image.window_hu, image.notes)


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield items while the next one is made in another thread."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        pending = pool.submit(next, items, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, items, end)
            yield item


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _count(problem: Problem, totals: Totals) -> None:
    if problem.status == FAILED:
        totals.failed += 1
    else:
        totals.skipped += 1
