"""Writing records as a table for people, as JSON, as JSON lines or as CSV, one by one: nothing is held but one record."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol, TextIO

from iqagpt.assessment.records import OK, RUN, SERIES, SLICE
from iqagpt.criteria import CRITERIA, KEYS, SCORES

FORMATS = ("table", "json", "jsonl", "csv")
_NAME_WIDTH, _CELL_WIDTH = 36, 13
_HEADINGS = ("noise", "structures", "lesion", "confidence")
_MOST_WARNINGS = 8
#: Files of no series that are named; more are counted.
MOST_PROBLEMS = 5


class Sink(Protocol):
    """Takes records in order; `close` ends the document, not the stream."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""

    def close(self) -> None:
        """Write what belongs at the end."""


class LinesSink:
    """JSON lines: every record is a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        self._stream.write(to_line(record))

    def close(self) -> None:
        """Nothing is left to write."""


class JsonSink:
    """One JSON document: the run, its series with their slices, and files of no series; a slice is a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_series = False
        self._series_written = 0
        self._alone: list[str] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        line = to_line(record).rstrip("\n")
        if record["record"] == RUN:
            self._stream.write(f'{{"run": {line},\n"series": [')
        elif record["record"] == SERIES:
            self._open_series()
            self._stream.write(f'\n], "summary": {line}}}')
            self._in_series = False
        elif record["series"] is None:
            self._alone.append(line)
        else:
            first = not self._in_series
            self._open_series()
            self._stream.write(f"{'' if first else ','}\n{line}")

    def close(self) -> None:
        """End the document."""
        self._stream.write('],\n"other_files": [' + ",".join(f"\n{line}" for line in self._alone) + "]}\n")

    def _open_series(self) -> None:
        if not self._in_series:
            self._stream.write(f'{"," if self._series_written else ""}\n{{"slices": [')
            self._series_written += 1
            self._in_series = True


class CsvSink:
    """A row for each slice; series go to a table of their own, where there is a stream for it.

    "n/a" is written for a lesion conspicuity that is not applicable; empty is what is not known.
    """

    def __init__(self, stream: TextIO, series_stream: TextIO | None = None) -> None:
        self._slices = csv.writer(stream, lineterminator="\n")
        self._series = csv.writer(series_stream, lineterminator="\n") if series_stream else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        if record["record"] == RUN:
            self._slices.writerow(_slice_cells(None))
            if self._series:
                self._series.writerow(_series_cells(None))
        elif record["record"] == SLICE:
            self._slices.writerow(_slice_cells(record))
        elif self._series:
            self._series.writerow(_series_cells(record))

    def close(self) -> None:
        """Nothing is left to write."""


class TableSink:
    """For people: a line a slice, a few lines a series; the report where there is one slice alone.

    Parameters
    ----------
    stream : text stream
    with_report : bool
    """

    def __init__(self, stream: TextIO, *, with_report: bool = False) -> None:
        self._stream, self._with_report = stream, with_report
        self._run: Mapping[str, Any] = {}
        self._headed = self._any_assessed = False
        self._alone = 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        if record["record"] == RUN:
            self._run = record
        elif record["record"] == SERIES:
            # The heading serves several series of one slice.
            self._headed = record["slices"] == 1
            self._print(*series_lines(record), "")
        elif record["series"] is None:
            self._alone += 1
            if self._alone <= MOST_PROBLEMS:
                self._print(f"{record['input']}: {record['status']}: {record['problem']}")
        else:
            self._write_slice(record)

    def close(self) -> None:
        """Say what the numbers mean."""
        if self._alone > MOST_PROBLEMS:
            self._print(f"and {self._alone - MOST_PROBLEMS} more files that were not assessed")
        if self._any_assessed:
            self._print(
                f"Scores: {self._run['direction']}; in brackets the score's probability; n/a: no lesion.",
                f"Model {self._run['model']} {self._run['model_sha256'][:12]}. {self._run['note']}",
            )

    def _write_slice(self, record: Mapping[str, Any]) -> None:
        if not self._headed:
            self._headed = True
            self._print("slice".ljust(_NAME_WIDTH) + "".join(name.rjust(_CELL_WIDTH) for name in _HEADINGS))
        name = PurePosixPath(record["input"]).name + (f" [{record['slice']}]" if record["slice"] else "")
        if record["status"] != OK:
            self._print(f"{_shortened(name)} {record['status']}: {record['problem']}")
            return
        self._any_assessed = True
        cells = [_cell(record["scores"][key], record["probabilities"][key]) for key in KEYS]
        self._print(_shortened(name).ljust(_NAME_WIDTH) + "".join(cell.rjust(_CELL_WIDTH) for cell in cells))
        if self._with_report:
            self._print("", f"Caption: {record['caption']}", "", record["report"], "")

    def _print(self, *lines: str) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))


def series_lines(record: Mapping[str, Any], *, with_means: bool = True) -> list[str]:
    """Return the summary of a series in a few lines; the means stand below the table's columns."""
    means = ["-" if value is None else f"{value:.2f}" for value in record["mean_expected"].values()]
    lines = []
    if with_means and record["assessed"] > 1:
        lines.append("mean of expected scores".ljust(_NAME_WIDTH) + "".join(mean.rjust(_CELL_WIDTH) for mean in means))
    failed = f", {record['failed']} failed" if record["failed"] else ""
    lines.append(f"series {record['series']}: {record['name']}: {record['assessed']} assessed{failed}")
    if record["assessed"] > 1:
        worst = [
            f"{heading} {_worst(record, key)}"
            for heading, key in zip(_HEADINGS, KEYS, strict=True)
            if key in record["worst"]
        ]
        lines.append(f"  worst: {'; '.join(worst)}")
    warnings = list(record["warnings"].items())
    for text, count in warnings[:_MOST_WARNINGS]:
        lines.append(f"  outside what the model has seen: {text} ({_times(count, record['assessed'])})")
    if len(warnings) > _MOST_WARNINGS:
        lines.append(f"  and {len(warnings) - _MOST_WARNINGS} further warnings")
    return lines


def to_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def _worst(record: Mapping[str, Any], key: str) -> str:
    worst = record["worst"][key]
    index = f" [{worst['slice']}]" if worst["slice"] else ""
    return f"{worst['expected']:.2f} {_shortened(PurePosixPath(worst['input']).name)}{index}"


def _times(count: int, total: int) -> str:
    return "all slices" if count == total else f"{count} of {total} slices"


def _cell(score: int | None, probabilities: Mapping[str, float]) -> str:
    name = "n/a" if score is None else str(score)
    return f"{name} ({probabilities[name]:.2f})"


def _shortened(name: str) -> str:
    room = _NAME_WIDTH - 1
    # The end of a name tells slices of a series apart.
    return name if len(name) <= room else f"{name[:10]}...{name[-(room - 13) :]}"


def _flat(record: Mapping[str, Any] | None, columns: Mapping[str, Callable[[Mapping[str, Any]], Any]]) -> list[Any]:
    if record is None:
        return list(columns)
    return ["" if (value := read(record)) is None else value for read in columns.values()]


def _slice_cells(record: Mapping[str, Any] | None) -> list[Any]:
    """Return the cells of a slice, or the names of the columns."""
    plain = ("series", "input", "slice", "status", "problem")
    columns: dict[str, Callable[[Mapping[str, Any]], Any]] = {name: lambda r, n=name: r[n] for name in plain}
    for key in KEYS:
        columns[key] = lambda r, k=key: r["scores"] and ("n/a" if r["scores"][k] is None else r["scores"][k])
    for criterion in CRITERIA:
        key = criterion.key
        columns[f"{key}_expected"] = lambda r, k=key: r["expected"] and r["expected"][k]
        for score in SCORES:
            columns[f"{key}_p{score}"] = lambda r, k=key, s=str(score): r["probabilities"] and r["probabilities"][k][s]
        if criterion.absent:
            columns[f"{key}_none"] = lambda r, k=key: r["probabilities"] and r["probabilities"][k]["n/a"]
    columns["warnings"] = lambda r: "; ".join(r["warnings"])
    last = ("caption", "report", "direction", "model", "model_sha256", "version", "sop_uid", "sha256")
    columns |= {name: lambda r, n=name: r[n] for name in last}
    return _flat(record, columns)


def _series_cells(record: Mapping[str, Any] | None) -> list[Any]:
    """Return the cells of a series, or the names of the columns."""
    plain = ("series", "name", "slices", "assessed", "failed")
    columns: dict[str, Callable[[Mapping[str, Any]], Any]] = {name: lambda r, n=name: r[n] for name in plain}
    for key in KEYS:
        columns[f"{key}_mean_expected"] = lambda r, k=key: r["mean_expected"][k]
        for name in (*map(str, SCORES), *(("n/a",) if key == "lesion_conspicuity" else ())):
            column = f"{key}_{'none' if name == 'n/a' else f'n{name}'}"
            columns[column] = lambda r, k=key, n=name: r["scores"][k].get(n, 0)
    columns["warnings"] = lambda r: "; ".join(f"{text} ({count})" for text, count in r["warnings"].items())
    last = ("direction", "model", "model_sha256", "version", "series_uid")
    columns |= {name: lambda r, n=name: r[n] for name in last}
    return _flat(record, columns)
