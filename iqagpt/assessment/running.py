"""The run of ``iqagpt assess``: read a batch, assess it, hand on its records.

One thread reads ahead; on a CPU several batches are assessed at once, one thread each, as a batch is too small for threads to share
it well. Never more than a few batches are in memory, however long a series is.
"""

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from iqagpt.assessment.assessor import BATCH_SIZE, Assessor, Prepared, SliceAssessment
from iqagpt.assessment.inputs import FAILED, Found, Problem, Series, SliceFile, reason_of
from iqagpt.assessment.records import Record, SeriesSummary, failed_record, problem_record, slice_record
from iqagpt.assessment.scope import header_warnings, window_warnings
from iqagpt.data.dicom import read_ct
from iqagpt.errors import InputError
from iqagpt.images import OpenImage, check_range, open_image

_T = TypeVar("_T")
_PIECE_BYTES = 2**20
#: Batches assessed at once on a CPU, at most: each takes memory.
_MOST_AT_ONCE = 4


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
    """A slice made ready, or with a reason why it is not; with neither, one assessed before."""

    item: SliceFile
    sha256: str = ""
    prepared: Prepared | None = None
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
    with _Crew(assessor) as crew:
        for series in found.series:
            summary = SeriesSummary(series)
            batches = _batches(series, _Files(window_hu, writer.knows, assessor.prepare))
            with contextlib.closing(batches), contextlib.closing(_ahead(batches)) as ahead:
                for batch, assessed in crew.assessed(ahead):
                    for record in _records(batch, assessed, series, assessor, writer, totals):
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


class _Crew:
    """Threads that assess batches, and share the cores while they do."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor, self._cores = assessor, torch.get_num_threads()
        self._size = min(self._cores, _MOST_AT_ONCE) if assessor.device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self._size, thread_name_prefix="assess")

    def __enter__(self) -> "_Crew":
        torch.set_num_threads(max(1, self._cores // self._size))
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._cores)

    def assessed(self, batches: Iterator[list[_Read]]) -> Iterator[tuple[list[_Read], list[SliceAssessment]]]:
        """Yield each batch with the results of those of its slices that are made ready, in order."""
        pending: deque[tuple[list[_Read], Future[list[SliceAssessment]]]] = deque()
        for batch in batches:
            ready = [read.prepared for read in batch if read.prepared is not None]
            pending.append((batch, self._pool.submit(self._assessor.assess_prepared, ready)))
            if len(pending) > self._size:
                first, results = pending.popleft()
                yield first, results.result()
        for batch, results in pending:
            yield batch, results.result()


def _records(
    batch: list[_Read],
    results: list[SliceAssessment],
    series: Series,
    assessor: Assessor,
    writer: Writer,
    totals: Totals,
) -> Iterator[Record]:
    """Write the records of a batch in order and yield them."""
    assessed = iter(results)
    for read in batch:
        if read.problem is None and read.prepared is None:
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


def _batches(series: Series, files: "_Files") -> Iterator[list[_Read]]:
    batch = []
    with files:
        for item in series.slices:
            batch.append(files.read(item))
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
        if batch:
            yield batch


class _Files:
    """Reads slices and makes them ready; keeps the file of the last one open, and its hash."""

    def __init__(
        self,
        window_hu: tuple[float, float] | None,
        knows: Callable[[SliceFile, str], bool],
        prepare: Callable[[np.ndarray, float | None], Prepared],
    ) -> None:
        self._window_hu, self._knows, self._prepare = window_hu, knows, prepare
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
            return _Read(item, self._sha256, self._prepare(pixels_hu, item.header.pixel_spacing_mm))
        if self._image is None:
            self._image = self._stack.enter_context(open_image(item.path, self._window_hu))
        image = self._image
        values_hu = image.read(item.index)
        if image.window_hu is None:
            check_range(item.path, values_hu)
        prepared = self._prepare(values_hu, image.pixel_spacing_mm)
        return _Read(item, self._sha256, prepared, image.window_hu, image.notes)


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
