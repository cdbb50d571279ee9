"""An output file that is complete or can be gone on with, however its run ended.

Records are appended, line by line, to ``OUT.partial``; when all are there they are written to their final form beside it,
which takes its place in one step. A killed run leaves ``OUT.partial``, at worst with half a line at its end, and ``OUT`` as it was.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from iqagpt.assessment.inputs import SliceFile
from iqagpt.assessment.output import CsvSink, JsonSink, LinesSink, Sink, TableSink, to_line
from iqagpt.assessment.records import OK, RUN, SLICE, Record
from iqagpt.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows: there two runs at once are the user's to avoid
    fcntl = None


class Direct:
    """Records straight to a stream: nothing to go on with.

    Parameters
    ----------
    sink : Sink
    flush : callable
        Of the stream; called after each batch.
    """

    def __init__(self, sink: Sink, flush: Callable[[], None]) -> None:
        self._sink, self.flush = sink, flush

    def add(self, record: Record) -> None:
        """Take one record."""
        self._sink.write(record)

    def knows(self, item: SliceFile, sha256: str) -> bool:
        """Nothing is known from before."""
        return False

    def reuse(self, item: SliceFile, series: int) -> Record:
        """Never called, since nothing is known."""
        raise LookupError(item.name)

    def finish(self) -> None:
        """End the document."""
        self._sink.close()
        self.flush()

    def close(self) -> None:
        """Nothing to close: the stream is the caller's."""


class Journal:
    """Records on their way to an output file.

    Parameters
    ----------
    output : Path
    form : str
        One of `output.FORMATS`.
    run : dict
        The run's record. A journal of another run is not gone on with.
    resume : bool
        Go on with what is there.

    Raises
    ------
    InputError
        If what is there belongs to a run with another model or window, or another run is writing it.
    """

    def __init__(self, output: Path, form: str, run: Record, *, resume: bool) -> None:
        self._output, self._form = output, form
        self.path = journal_path(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        if resume and form == "jsonl" and output.is_file() and not self.path.exists():
            _copy(output, self.path)
        # Not emptied before it is locked: it may be another run's.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self._known: dict[tuple[str, int], tuple[str, int]] = {}
        self._order: list[int] = []
        try:
            self._lock()
            if not resume:
                self._file.truncate()
            self._load(run)
        except BaseException:
            self._file.close()
            raise

    @property
    def reusable(self) -> int:
        """Number of slices assessed before."""
        return len(self._known)

    def add(self, record: Record) -> None:
        """Take one record."""
        self._order.append(self._file.tell())
        self._file.write(to_line(record).encode())

    def knows(self, item: SliceFile, sha256: str) -> bool:
        """Tell whether a slice was assessed before, and its file is still the same."""
        return self._known.get((item.name, item.index), ("",))[0] == sha256

    def reuse(self, item: SliceFile, series: int) -> Record:
        """Take over what was found for a slice before; its series may have another number now."""
        offset = self._known[item.name, item.index][1]
        record = self._read(offset)
        if record["series"] != series:
            record["series"] = series
            self.add(record)
        else:
            self._order.append(offset)
        return record

    def flush(self) -> None:
        """Make what was added survive the end of the process."""
        self._file.flush()

    def finish(self) -> None:
        """Write the output in its final form, in the order in which records were added or taken over."""
        self.flush()
        with _replaced(self._output, self._form) as sink:
            for offset in self._order:
                sink.write(self._read(offset))
            sink.close()
        self.path.unlink()

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()

    def _read(self, offset: int) -> Record:
        self._file.seek(offset)
        record = json.loads(self._file.readline())
        self._file.seek(0, os.SEEK_END)
        return record

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{self.path}: another run is writing it; wait for it, or name another output") from error

    def _load(self, run: Record) -> None:
        end = 0
        for number, line in enumerate(self._file):
            record = _parsed(line)
            if record is None:
                break
            if number == 0 and record != run:
                raise InputError(f"{self.path}: of a run {_difference(record, run)}; --force starts again")
            if record.get("record") == SLICE and record["status"] == OK:
                self._known[record["input"], record["slice"]] = record["sha256"], end
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
        if end == 0:
            self.add(run)
        else:
            self._order.append(0)


def journal_path(output: Path) -> Path:
    """Return where the records of an unfinished output are."""
    return output.with_name(f"{output.name}.partial")


def series_path(output: Path) -> Path:
    """Return where the series of a CSV output are."""
    return output.with_name(f"{output.stem}.series{output.suffix}")


def make_sink(form: str, stream: TextIO, series_stream: TextIO | None = None, *, with_report: bool = False) -> Sink:
    """Return the sink of a format."""
    if form == "csv":
        return CsvSink(stream, series_stream)
    if form == "table":
        return TableSink(stream, with_report=with_report)
    return JsonSink(stream) if form == "json" else LinesSink(stream)


@contextlib.contextmanager
def _replaced(output: Path, form: str) -> Iterator[Sink]:
    targets = [output, series_path(output)] if form == "csv" else [output]
    partial = [target.with_name(f".{target.name}.partial") for target in targets]
    try:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in partial]
            yield make_sink(form, *streams)
        for path, target in zip(partial, targets, strict=True):
            os.replace(path, target)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(2**20):
            written.write(piece)


def _parsed(line: bytes) -> Record | None:
    """Return the record of a line, or None for half a line, or one that is not ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "record" in record else None


def _difference(old: Record, new: Record) -> str:
    if old.get("record") != RUN:
        return "of another program"
    names = [name for name in new if old.get(name) != new[name]]
    return f"with another {' and '.join(names[:3]) or 'version'}"
