"""The result of a validation as a folder: tables for reading and for reuse, JSON, predictions, a scatter plot."""

from pathlib import Path
from typing import Any

import pandas as pd

from iqagpt.agreement.bootstrap import LEVEL
from iqagpt.artifacts import replaced_folder, write_metrics, write_table
from iqagpt.errors import InputError
from iqagpt.study.correlations import SCOPES, STATISTICS, Estimate
from iqagpt.study.scatter import draw_scatter
from iqagpt.study.validation import Row, Validation

FILES = ("table.md", "table.csv", "study.json", "predictions.csv", "scatter.svg")
UNDEFINED = "undefined"
_TITLES = {"pooled": "all images", "within_sets": "mean within sets"}


def check_output(output: Path, *, force: bool) -> None:
    """Refuse an output folder whose present content would be lost by mistake.

    Raises
    ------
    InputError
        If the folder holds anything and `force` is not given; with `force`, if it holds anything but a validation.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder")
    present = sorted(path.name for path in output.iterdir())
    if present and not force:
        raise InputError(
            f"{output}: holds {len(present)} file(s) already; choose another folder, or --force to replace it"
        )
    strange = [name for name in present if name not in FILES]
    if strange:
        raise InputError(
            f"{output}: holds {strange[0]}, no file of a validation, and is not replaced; choose another folder"
        )


def write_validation(result: Validation, output: Path) -> None:
    """Write all files of a validation, complete or not at all; what was there is replaced."""
    with replaced_folder(output) as folder:
        (folder / "table.md").write_text(render(result), encoding="utf-8", newline="\n")
        write_table(folder / "table.csv", long_table(result))
        write_metrics(folder / "study.json", summary(result))
        write_table(folder / "predictions.csv", result.predictions.drop(columns=_empty_columns(result)))
        draw_scatter(result, folder / "scatter.svg")


def render(result: Validation) -> str:
    """Return the table as Markdown, with what it rests on and every note."""
    study, scorer = result.study, result.model.scorer
    lines = [
        f"# {result.model.name} against {len(study.readers)} reader(s)",
        "",
        f"{len(study.images)} images, {_sets(result)}, {len(study.readings)} readings. The model gives {scorer.scale}, 1 "
        "(best) to 4 (worst), and saw no reference and no reader's score. Correlations are with the mean reader, turned so that "
        "higher is worse: positive is right, 1 is best.",
        f"In brackets: {LEVEL:.0%} intervals from {result.draws} draws of whole sets (seed {result.seed}). "
        "Research use only; not for diagnosis.",
    ]
    for mapping in study.description.mappings:
        lines += ["", f"## {mapping}"]
        for scope in SCOPES if study.has_sets else SCOPES[:1]:
            lines += ["", f"| {_TITLES[scope]} | images | PLCC | SROCC | KROCC |", "|---|---|---|---|---|"]
            lines += [_line(row, scope) for row in result.rows if row.criterion == mapping.criterion]
    if result.notes:
        lines += ["", "Notes:", "", *(f"* {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def long_table(result: Validation) -> pd.DataFrame:
    """Return every number in a row of its own: ``criterion, who, scope, statistic, value, low, high, n_images, n_sets``."""
    records = [
        {
            "criterion": row.criterion,
            "who": row.who,
            "scope": scope,
            "statistic": statistic,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n_images": row.n_images,
            "n_sets": estimate.sets_used,
        }
        for row in result.rows
        for (scope, statistic), estimate in row.estimates.items()
    ]
    return pd.DataFrame(records)


def summary(result: Validation) -> dict[str, Any]:
    """Return the content of ``study.json``; undefined numbers have no entry."""
    study, scorer = result.study, result.model.scorer
    criteria: dict[str, Any] = {}
    for row in result.rows:
        scopes: dict[str, Any] = {scope: {} for scope in SCOPES}
        for (scope, statistic), estimate in row.estimates.items():
            if estimate.value is not None:
                scopes[scope][statistic] = _numbers(estimate)
        criteria.setdefault(row.criterion, {})[row.who] = {"n_images": row.n_images, **scopes}
    return {
        "model": {
            "name": result.model.name,
            "weights_sha256": result.model.weights_sha256 or "",
            "scale": scorer.scale,
            "window_hu": list(scorer.window_hu),
        },
        "study": {
            "n_images": len(study.images),
            "n_readings": len(study.readings),
            "n_sets": int(study.images["set"].nunique()),
            "has_sets": study.has_sets,
            "readers": study.readers,
            "window_hu": list(study.description.window_hu or ()),
            "mappings": [str(mapping) for mapping in study.description.mappings],
        },
        "bootstrap": {
            "draws": result.draws,
            "seed": result.seed,
            "level": LEVEL,
            "method": "BCa, percentile below 6 sets",
        },
        "criteria": criteria,
        "notes": list(result.notes),
    }


def _numbers(estimate: Estimate) -> dict[str, Any]:
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n_sets": estimate.sets_used}
    return {name: number for name, number in numbers.items() if number is not None}


def _line(row: Row, scope: str) -> str:
    cells = [_cell(row.estimates[scope, statistic]) for statistic in STATISTICS]
    return f"| {row.who} | {row.n_images} | {' | '.join(cells)} |"


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return UNDEFINED
    if estimate.low is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _sets(result: Validation) -> str:
    return f"{result.study.images['set'].nunique()} sets" if result.study.has_sets else "no sets"


def _empty_columns(result: Validation) -> list[str]:
    return [name for name in ("slice",) if result.predictions[name].isna().all()]
