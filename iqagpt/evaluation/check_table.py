"""Do the figures of a table add up?  Recomputes means and denominators of printed tables: ours, the paper's, anyone's.

A printed mean must follow from the entries beside it, and a printed share of n images must be a whole number of images by n,
both within rounding (Brown and Heathers, GRIM test, Soc. Psychol. Personal. Sci. 8:363, 2017). Several of the paper's means
do not (`iqagpt.evaluation.paper`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import InputError
from iqagpt.evaluation import paper
from iqagpt.text_table import load_text_table

MEAN = "mean"
#: What people call a row or column of means.
_MEANS = (MEAN, "average", "avg", "avg.")
#: Images of the paper's test set, and of one image quality in it.
_PAPER_IMAGES, _PAPER_VARIANT_IMAGES = 200, 25


@dataclass(frozen=True)
class Grid:
    """A printed table.

    Attributes
    ----------
    title : str
        For messages.
    cells : dict
        By row and column, the figure as printed, so that its last digit is known. ``mean`` is the mean of the others.
    images : dict
        By row, of how many images its entries are shares; rows without an entry are not checked for that.
    """

    title: str
    cells: dict[str, dict[str, str]]
    images: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What was checked, and what does not add up, one message each."""

    means: int
    shares: int
    problems: tuple[str, ...]


def check_grids(grids: list[Grid], further: tuple[str, ...] = ()) -> Verdict:
    """Check all means and shares of some tables; `further` problems are added as they are."""
    means = [found for grid in grids for found in _check_means(grid)]
    shares = [found for grid in grids for found in _check_shares(grid)]
    return Verdict(len(means), len(shares), (*filter(None, means + shares), *further))


def check_paper() -> Verdict:
    """Check the paper's Tables 2 to 4, and Table 2 against Table 4."""
    grids = []
    for measure, title in (("accuracy", "Table 2"), ("plcc", "Table 3, PLCC"), ("srocc", "Table 3, SROCC")):
        rows = {paper.NAMES[m]: _printed(parts[measure]) for m, parts in paper.PRINTED.items() if measure in parts}
        grids.append(Grid(title, rows, dict.fromkeys(rows, _PAPER_IMAGES) if measure == "accuracy" else {}))
    rows = {paper.VARIANT_NAMES.get(v, v): _printed(row) for v, row in paper.PRINTED_BY_VARIANT.items()}
    images = {name: _PAPER_VARIANT_IMAGES for name in rows if name != MEAN}
    grids.append(Grid("Table 4", rows, images))
    across = paper.recomputed_by_variant()[MEAN]
    further = [
        f"Table 2, IQAGPT, {key}: {value:.3f} is printed, but the entries of Table 4 average to {across[key]:.3f}"
        for key, value in paper.PRINTED["iqagpt"]["accuracy"].items()
        if abs(across[key] - value) > 0.0011
    ]
    return check_grids(grids, tuple(further))


def check_file(file: Path, images: int | None) -> Verdict:
    """Check a CSV table: one of ``results/table2.csv`` to ``table4.csv``, or any with a name in its first column.

    Parameters
    ----------
    file : path
        Rows of figures, a row or column called ``mean`` being the mean of the others.
    images : int, optional
        Of how many images the figures are shares; tables of ours know it.

    Raises
    ------
    InputError
        If the file is no such table, or there is nothing to check in it.
    """
    table = load_text_table(file, "check-table")
    ours = {"here", "criterion", "images"} <= set(table.columns)
    grids = _own_grids(table, file) if ours else [_wide_grid(table, file.name, images)]
    verdict = check_grids(grids)
    if not verdict.means + verdict.shares:
        raise InputError(
            f"{file}: no row or column called 'mean' to check; give --images to check shares, or name the means"
        )
    return verdict


def check_results(folder: Path) -> Verdict:
    """Check Tables 2 to 4 of a folder ``results``."""
    files = [folder / f"{name}.csv" for name in ("table2", "table3", "table4")]
    return check_grids([grid for file in files for grid in _own_grids(load_text_table(file, "check-table"), file)])


def _own_grids(table: pd.DataFrame, file: Path) -> list[Grid]:
    cells: dict[str, dict[str, dict[str, str]]] = {}
    images: dict[str, int] = {}
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        if not row["here"]:
            continue
        for column in ("here", "images"):
            if row[column] and not _is_number(row[column]):
                raise InputError(f"{file}, line {line}: {column}: expected a number, got '{row[column]}'")
        measure, name = row.get("measure", "accuracy"), row.get("method") or row.get("variant") or ""
        cells.setdefault(measure, {}).setdefault(name, {})[row["criterion"]] = f"{float(row['here']):.6f}"
        if measure == "accuracy" and row["images"] and name != MEAN:
            images[name] = int(float(row["images"]))
    return [
        Grid(f"{file.stem}, {measure}", rows, images if measure == "accuracy" else {})
        for measure, rows in cells.items()
    ]


def _wide_grid(table: pd.DataFrame, title: str, images: int | None) -> Grid:
    names, *columns = table.columns
    cells: dict[str, dict[str, str]] = {}
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        name = _as_mean(row[names])
        if name in cells and name == MEAN:
            raise InputError(f"{title}, line {line}: a second row of means; check tables with one each")
        # The same name in two rows, as of two measures: both are checked.
        name = f"{name} (line {line})" if name in cells else name
        figures = {_as_mean(column): _without_percent(row[column]) for column in columns}
        cells[name] = {column: text for column, text in figures.items() if _is_number(text)}
    return Grid(title, cells, {name: images for name in cells if name != MEAN} if images else {})


def _check_means(grid: Grid) -> Iterator[str | None]:
    """Yield None for every mean that follows from its entries, and a message for every other."""
    for name, row in grid.cells.items():
        yield from _check_mean(f"{grid.title}, row {name}", row)
    if MEAN in grid.cells:
        for column in grid.cells[MEAN]:
            entries = {name: row[column] for name, row in grid.cells.items() if column in row}
            yield from _check_mean(f"{grid.title}, column {column}", entries)


def _check_mean(place: str, entries: Mapping[str, str]) -> Iterator[str | None]:
    parts = [text for name, text in entries.items() if name != MEAN]
    if MEAN not in entries or len(parts) < 2:
        return
    found = sum(map(float, parts)) / len(parts)
    slack = sum(map(_half_digit, parts)) / len(parts) + _half_digit(entries[MEAN])
    if abs(found - float(entries[MEAN])) <= slack * (1 + 1e-6):
        yield None
    else:
        yield f"{place}: the mean is given as {entries[MEAN]}, but its {len(parts)} entries average to {found:.4g}"


def _check_shares(grid: Grid) -> Iterator[str | None]:
    for name, images in grid.images.items():
        for column, text in grid.cells[name].items():
            if column == MEAN:
                continue
            count = float(text) * images
            if not 0 <= count <= images:
                yield f"{grid.title}, row {name}, {column}: {text} is no share: expected 0 to 1, or 0 % to 100 % with the sign"
            elif abs(count - round(count)) <= _half_digit(text) * images * (1 + 1e-6):
                yield None
            else:
                yield f"{grid.title}, row {name}, {column}: {text} is no share of {images} images ({count:.2f} of them)"


def _half_digit(text: str) -> float:
    """Return half a unit of a figure's last digit, of the sixth decimal at least: our tables are rounded there."""
    decimals = 6 if "e" in text.lower() else min(len(text.partition(".")[2]), 6)
    return 0.5 * 10.0**-decimals


def _printed(row: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{row[key]:.3f}" for key in (*KEYS, *ALWAYS_SCORED, MEAN) if key in row}


def _as_mean(name: str) -> str:
    return MEAN if name.strip().lower() in _MEANS else name.strip()


def _without_percent(text: str) -> str:
    """Turn ``54.5 %`` into ``0.545``, of the same last digit; other text stays."""
    number = text.removesuffix("%").strip()
    return str(Decimal(number).scaleb(-2)) if text.endswith("%") and _is_number(number) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
