"""What ``iqagpt assess`` writes: one record for the run, for each slice and for each series, plain values only.

Every record of a slice or series names model, version and direction, so that a line taken out of its file still says what it is.
"""

import functools
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from iqagpt.assessment.inputs import Problem, Series, SliceFile
from iqagpt.chat.templates import DISCLAIMER, template_report
from iqagpt.criteria import KEYS, SCORES

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import Assessor, SliceAssessment

Record = dict[str, Any]
RUN, SLICE, SERIES = "run", "slice", "series"
OK = "ok"
DIRECTION = "1 best to 4 worst"


def run_record(assessor: "Assessor", window_hu: tuple[float, float] | None) -> Record:
    """Return what holds for the whole run; two runs that differ here do not continue each other."""
    return {
        "record": RUN,
        **_source(assessor),
        "model_window_hu": list(assessor.window_hu),
        "picture_window_hu": None if window_hu is None else list(window_hu),
        "probabilities": "of each score, given the criteria before it",
        "note": DISCLAIMER,
    }


def slice_record(
    assessor: "Assessor", series: Series, item: SliceFile, sha256: str, found: "SliceAssessment", warnings: list[str]
) -> Record:
    """Return the record of an assessed slice."""
    return {
        "record": SLICE,
        **_place(series, item, sha256),
        "status": OK,
        "problem": None,
        "scores": found.scores,
        "expected": found.expected,
        "probabilities": found.probabilities,
        "caption": found.caption,
        "report": template_report(found.scores),
        "warnings": [*found.warnings, *warnings],
        **_source(assessor),
    }


def failed_record(assessor: "Assessor", series: Series, item: SliceFile, sha256: str, problem: Problem) -> Record:
    """Return the record of a slice whose pixels could not be used."""
    return {"record": SLICE, **_place(series, item, sha256), **_empty(problem), **_source(assessor)}


def problem_record(assessor: "Assessor", problem: Problem) -> Record:
    """Return the record of a file that belongs to no series."""
    place = {"series": None, "input": problem.name, "slice": None, "sop_uid": None, "sha256": None}
    return {"record": SLICE, **place, **_empty(problem), **_source(assessor)}


class SeriesSummary:
    """The record of a series, gathered slice by slice."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._counts = {key: Counter() for key in KEYS}
        self._sums = dict.fromkeys(KEYS, 0.0)
        self._worst: dict[str, tuple[float, str, int]] = {}
        self._warnings: Counter[str] = Counter()
        self._assessed = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one slice's record."""
        if record["status"] != OK:
            return
        self._assessed += 1
        self._warnings.update(record["warnings"])
        for key in KEYS:
            score, expected = record["scores"][key], record["expected"][key]
            self._counts[key]["n/a" if score is None else str(score)] += 1
            if expected is not None:
                self._sums[key] += expected
                if key not in self._worst or expected > self._worst[key][0]:
                    self._worst[key] = expected, record["input"], record["slice"]

    def record(self, assessor: "Assessor") -> Record:
        """Return the record."""
        total = len(self._series.slices)
        return {
            "record": SERIES,
            "series": self._series.number,
            "name": self._series.name,
            "series_uid": self._series.series_uid or None,
            "slices": total,
            "assessed": self._assessed,
            "failed": total - self._assessed,
            "scores": {key: {name: counts[name] for name in _names(counts)} for key, counts in self._counts.items()},
            "mean_expected": {key: self._mean(key) for key in KEYS},
            "worst": {
                key: {"expected": value, "input": name, "slice": index}
                for key, (value, name, index) in self._worst.items()
            },
            "warnings": dict(self._warnings.most_common()),
            **_source(assessor),
        }

    def _mean(self, key: str) -> float | None:
        scored = sum(count for name, count in self._counts[key].items() if name != "n/a")
        return round(self._sums[key] / scored, 4) if scored else None


def _names(counts: Counter) -> list[str]:
    return [name for name in (*map(str, SCORES), "n/a") if counts[name]]


def _place(series: Series, item: SliceFile, sha256: str) -> Record:
    return {
        "series": series.number,
        "input": item.name,
        "slice": item.index,
        "sop_uid": item.sop_uid or None,
        "sha256": sha256 or None,
    }


def _empty(problem: Problem) -> Record:
    nothing = dict.fromkeys(("scores", "expected", "probabilities", "caption", "report"))
    return {"status": problem.status, "problem": problem.reason, **nothing, "warnings": []}


def _source(assessor: "Assessor") -> Record:
    return {
        "direction": DIRECTION,
        "model": assessor.model_name,
        "model_sha256": assessor.weights_sha256,
        "version": _version(),
    }


@functools.cache  # it is looked up on disk, and every record has it
def _version() -> str:
    try:
        return version("iqagpt")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
