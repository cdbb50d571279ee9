"""Loading a reader study: its readings in our criteria, and the images they belong to.

Readings come out with one direction: higher is worse, as in our criteria. Their scale stays the study's own; correlations do not
mind.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from iqagpt.config import suggest
from iqagpt.errors import InputError
from iqagpt.images import CTImage, find_images, read_image
from iqagpt.study.description import Columns, CriterionMap, Description

#: Name of the one reader of a table without a column of readers.
ONLY_READER = "scores"
#: How images were made where the table has no column of variants.
ONLY_VARIANT = "image"
#: Cells that hold no score.
MISSING = ("", "na", "n/a", "nan", "none", "null", "-")
#: Fewest images that say anything about a correlation.
FEWEST_IMAGES = 3


@dataclass(frozen=True)
class Study:
    """A reader study, read and checked.

    Attributes
    ----------
    images : DataFrame
        One row per scored image, in the table's order: ``image`` (as the table names it), ``slice`` (index, 0 in files of
        one), ``set`` (text), ``variant`` (text), ``file`` (Path).
    readings : DataFrame
        One row per reading: ``row`` (index into `images`), ``reader`` (text), and a column per mapped criterion, float64,
        higher is worse, NaN where that reader gave none.
    description : Description
    has_sets : bool
        False where every image is a set of its own.
    notes : tuple of str
        Rules that were applied and what was left out, for the user to see.
    """

    images: pd.DataFrame
    readings: pd.DataFrame
    description: Description
    has_sets: bool
    notes: tuple[str, ...]

    @property
    def criteria(self) -> tuple[str, ...]:
        """Keys of the mapped criteria."""
        return tuple(mapping.criterion for mapping in self.description.mappings)

    @property
    def readers(self) -> list[str]:
        """Names of the readers, in the table's order."""
        return list(dict.fromkeys(self.readings["reader"]))

    def by_reader(self, criterion: str) -> pd.DataFrame:
        """Return one criterion with a row per image and a column per reader; higher is worse."""
        readings = self.readings.groupby("reader", sort=False)
        columns = {reader: rows.set_index("row")[criterion] for reader, rows in readings}
        return pd.DataFrame(columns, index=range(len(self.images)))

    def mean_reader(self) -> pd.DataFrame:
        """Return the mean over readers, a row per image and a column per criterion; higher is worse."""
        means = self.readings.groupby("row")[list(self.criteria)].mean()
        return means.reindex(range(len(self.images)))

    def only(self, sets: Sequence[str]) -> "Study":
        """Return the study with the images of some sets alone; of all where none is given.

        Raises
        ------
        InputError
            If there is no such set.
        """
        if not sets:
            return self
        known = list(dict.fromkeys(self.images["set"]))
        strange = next((name for name in sets if name not in known), None)
        if strange is not None:
            raise InputError(f"{self.description.scores}: no set '{strange}'; there are: {', '.join(known)}")
        kept = self.images.index[self.images["set"].isin(list(sets))]
        place = {row: index for index, row in enumerate(kept)}
        readings = self.readings[self.readings["row"].isin(kept)]
        readings = readings.assign(row=readings["row"].map(place)).reset_index(drop=True)
        return dataclasses.replace(self, images=self.images.loc[kept].reset_index(drop=True), readings=readings)

    def read_images(self) -> Iterator[tuple[np.ndarray, CTImage]]:
        """Yield the slice of each row of `images`, (H, W), int16, HU, with the file it is from.

        Raises
        ------
        InputError
            If a file cannot be read, or holds several slices and the table does not say which.
        """
        last: tuple[Path, CTImage] | None = None
        for row in self.images.itertuples():
            if last is None or last[0] != row.file:
                last = row.file, read_image(row.file, self.description.window_hu)
            slices = last[1].slices_hu
            if row.slice is None and len(slices) > 1:
                raise InputError(
                    f"{row.file}: {len(slices)} slices, and the scores do not say which; add a column "
                    f"'{self.description.columns.slice}' (0 is the lowest)"
                )
            index = row.slice or 0
            if index >= len(slices):
                raise InputError(f"{row.file}: slice {index} was scored, and there are {len(slices)} (0 is the lowest)")
            yield slices[index], last[1]


def load_study(description: Description) -> Study:
    """Read a study's scores and find its images; pixels stay unread.

    Raises
    ------
    InputError
        If there are no images or no scores, an image is missing, a mapping names no column or gives one value throughout, or
        a reader scored an image twice.
    """
    table = read_scores(description.scores)
    columns = description.columns
    _check_columns(table, columns, description)
    images, rows, notes = _images(table, description)
    readings = pd.DataFrame({"row": rows, "reader": _texts(table, columns.reader, ONLY_READER)})
    _check_twice(readings, images, description)
    for mapping in description.mappings:
        readings[mapping.criterion], note = _values(table, mapping, description.scores)
        notes += [note] if note else []
    has_sets = columns.set in table
    if not has_sets:
        notes.append(
            f"no column '{columns.set}': every image counts as a set of its own; where images are of one patient or slice, "
            "intervals are too narrow"
        )
    if columns.reader not in table:
        notes.append(
            f"no column '{columns.reader}': all scores count as one reader's, and there is no inter-reader ceiling"
        )
    return Study(images, readings, description, has_sets, (*description.notes, *notes))


def safe_name(text: str) -> str:
    """Return a text as the name of a file or a stage: other characters than letters, digits, - and _ become _."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text.strip()) or "_"


def read_scores(path: Path) -> pd.DataFrame:
    """Read a table of scores as text: CSV (separated by comma or semicolon), TSV, or JSON ``{image: score}``.

    Returns
    -------
    DataFrame
        Text columns; the JSON form gives ``image`` and ``score``.

    Raises
    ------
    InputError
        If the file is missing, of another kind, empty, or names a column twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such table of scores; give --scores FILE, or scores in study.yaml")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".json"):
        raise InputError(f"{path}: scores of unknown kind; expected .csv, .tsv or .json (save a spreadsheet as CSV)")
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = _json_table(path, text) if suffix == ".json" else _csv_table(path, text, suffix)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as a table in UTF-8: {' '.join(str(error).split())}") from error
    if table.empty:
        raise InputError(f"{path}: holds no scores")
    return table


def _csv_table(path: Path, text: str, suffix: str) -> pd.DataFrame:
    header = text.splitlines()[0] if text.strip() else ""
    separator = "\t" if suffix == ".tsv" else ";" if ";" in header and "," not in header else ","
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in row)]
    if not rows:
        raise InputError(f"{path}: empty")
    names = [name.strip() for name in rows[0]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: column '{twice}' is there twice")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(f"{path}: row {number} has {len(row)} cells, the header {len(names)}")
    return pd.DataFrame([[cell.strip() for cell in row] for row in rows[1:]], columns=names, dtype=object)


def _json_table(path: Path, text: str) -> pd.DataFrame:
    content = json.loads(text)
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise InputError(f"{path}: expected {{image: score}}, as LDCTIQAC's train.json")
    scores = ["" if value is None else str(value) for value in content.values()]
    return pd.DataFrame({"image": list(content), "score": scores}, dtype=object)


def _check_columns(table: pd.DataFrame, columns: Columns, description: Description) -> None:
    names = [str(name) for name in table.columns]
    if columns.image not in names:
        raise InputError(
            f"{description.scores}: no column '{columns.image}' that names the image{suggest(columns.image, names)}; there are: "
            f"{', '.join(names)} (--image-column, or columns.image in study.yaml)"
        )
    default = Columns()
    for role in ("reader", "set", "slice", "variant"):
        name = getattr(columns, role)
        if name != getattr(default, role) and name not in names:
            raise InputError(f"{description.scores}: no column '{name}' for the {role}; there are: {', '.join(names)}")


def _texts(table: pd.DataFrame, column: str, default: str) -> list[str]:
    return list(table[column]) if column in table else [default] * len(table)


def _images(table: pd.DataFrame, description: Description) -> tuple[pd.DataFrame, list[int], list[str]]:
    folder, columns = description.images, description.columns
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    found = list(find_images(folder))
    if not found:
        raise InputError(f"{folder}: a study without images: none of a known kind there")
    names = list(table[columns.image])
    there = set(found)
    files = {name: _file(name, folder, there, description.scores) for name in dict.fromkeys(names)}
    absent = [name for name, file in files.items() if file is None]
    if absent:
        raise InputError(
            f"{description.scores}: {len(absent)} of {len(files)} images are not in {folder}; the first: '{absent[0]}'"
        )
    slices = _slices(table, columns.slice, description.scores)
    keys = [(files[name], index) for name, index in zip(names, slices, strict=True)]
    order = {key: row for row, key in enumerate(dict.fromkeys(keys))}
    rows = [order[key] for key in keys]
    first = {row: index for index, row in reversed(list(enumerate(rows)))}
    sets = _texts(table, columns.set, "")
    variants = _texts(table, columns.variant, ONLY_VARIANT)
    for role, name, given in (("set", columns.set, sets), ("variant", columns.variant, variants)):
        if name in table:
            _check_belonging(role, rows, given, names, description.scores)
    images = pd.DataFrame(
        {
            "image": [names[first[row]] for row in range(len(order))],
            "slice": pd.Series([index for _, index in order], dtype=object),
            "set": [sets[first[row]] if columns.set in table else str(row) for row in range(len(order))],
            "variant": [variants[first[row]] for row in range(len(order))],
            "file": [file for file, _ in order],
        }
    )
    unscored = [path for path in found if path not in set(files.values())]
    notes = []
    if unscored:
        where = unscored[0].relative_to(folder).as_posix()
        notes.append(f"{len(unscored)} images without scores are left out, the first: {where}")
    return images, rows, notes


def _file(name: str, folder: Path, found: set[Path], scores: Path) -> Path | None:
    pure = PurePosixPath(name.replace("\\", "/"))
    if not name or pure.is_absolute() or ".." in pure.parts:
        raise InputError(f"{scores}: image '{name}': expected a file below {folder}")
    exact = folder / pure
    if exact in found:
        return exact
    same = [path for path in sorted(found) if path.parent == exact.parent and path.name.split(".")[0] == pure.name]
    if len(same) > 1:
        raise InputError(
            f"{scores}: image '{name}': {len(same)} files fit ({same[0].name}, {same[1].name}); give the suffix"
        )
    return same[0] if same else None


def _slices(table: pd.DataFrame, column: str, scores: Path) -> list[int | None]:
    if column not in table:
        return [None] * len(table)
    for number, text in enumerate(table[column], start=2):
        if not (text.isascii() and text.isdigit()):
            raise InputError(f"{scores}: row {number}, column {column}: expected a whole number from 0, got {text!r}")
    return [int(text) for text in table[column]]


def _check_belonging(role: str, rows: list[int], given: list[str], names: list[str], scores: Path) -> None:
    first: dict[int, str] = {}
    for number, (row, name, image) in enumerate(zip(rows, given, names, strict=True), start=2):
        if not name:
            raise InputError(
                f"{scores}: row {number}: '{image}' has no {role}; expected one in every row, or no such column"
            )
        if first.setdefault(row, name) != name:
            raise InputError(
                f"{scores}: row {number}: '{image}' is in {role} '{name}', and in '{first[row]}' further up"
            )


def _check_twice(readings: pd.DataFrame, images: pd.DataFrame, description: Description) -> None:
    twice = readings.duplicated(["row", "reader"])
    if twice.any():
        index = int(np.flatnonzero(twice)[0])
        reading = readings.iloc[index]
        raise InputError(
            f"{description.scores}: row {index + 2}: '{images['image'][reading['row']]}' is scored a second time by reader "
            f"'{reading['reader']}'; if rows are of "
            "several readers, name their column (--reader-column, or columns.reader in study.yaml)"
        )


def _values(table: pd.DataFrame, mapping: CriterionMap, scores: Path) -> tuple[np.ndarray, str]:
    """Return one criterion of every reading, higher is worse, and a note on empty cells."""
    known = [str(name) for name in table.columns]
    numbers = {name: _numbers(table, name, scores) for name in mapping.expression.columns if name in known}
    try:
        values = mapping.expression.evaluate({**dict.fromkeys(known, np.empty(0)), **numbers})
    except InputError as error:
        raise InputError(f"{scores}: {mapping.criterion}: {error}") from error
    given = ~np.any([np.isnan(column) for column in numbers.values()], axis=0)
    wrong = given & ~np.isfinite(values)
    if wrong.any():
        raise InputError(
            f"{scores}: row {np.flatnonzero(wrong)[0] + 2}: {mapping.criterion} = {mapping.expression.text} is no "
            "finite number there"
        )
    if given.sum() < FEWEST_IMAGES:
        raise InputError(f"{scores}: {mapping.criterion}: {given.sum()} readings; at least {FEWEST_IMAGES} are needed")
    if np.ptp(values[given]) == 0:
        raise InputError(
            f"{scores}: {mapping.criterion} = {mapping.expression.text} is {values[given][0]:g} in every row; a constant column "
            "cannot be compared with anything: map another, or leave the criterion out"
        )
    note = ""
    if not given.all():
        note = f"{mapping.criterion}: {int((~given).sum())} of {len(given)} readings are empty and left out"
    return np.where(given, values if mapping.higher_is_worse else -values, np.nan), note


def _numbers(table: pd.DataFrame, column: str, scores: Path) -> np.ndarray:
    numbers = np.full(len(table), np.nan)
    for index, text in enumerate(table[column]):
        if text.lower() in MISSING:
            continue
        try:
            numbers[index] = float(text)
        except ValueError:
            raise InputError(f"{scores}: row {index + 2}, column {column}: expected a number, got {text!r}") from None
        if not np.isfinite(numbers[index]):
            raise InputError(f"{scores}: row {index + 2}, column {column}: expected a finite number, got {text!r}")
    return numbers
