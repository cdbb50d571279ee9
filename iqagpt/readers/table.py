"""Real readers' scores from a CSV file, one row per score or one row per image.

Long: ``slice_id`` and ``variant`` (or ``image_id``), ``reader``, ``criterion`` and ``score``, one row per score. Wide:
one row per image and reader with the four criteria ``noise``, ``small_structures``, ``lesion_conspicuity`` and
``diagnostic_confidence`` as columns. Scores run from 1 (best) to 4 (worst). An empty cell, ``N/A`` or ``no lesion``
for the lesion means that there is none. Without a column ``reader`` there is one reader. Further columns are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import Artifact
from iqagpt.config import suggest
from iqagpt.criteria import BEST, KEYS, WORST
from iqagpt.errors import InputError
from iqagpt.readers.consensus import MEDIAN
from iqagpt.text_table import ABSENT, list_problems, load_text_table

DEFAULT_READER = "reader_1"
LESION = "lesion_conspicuity"
_LONG = ("criterion", "score")


def read_scores(table: str | Path, variants: Artifact) -> pd.DataFrame:
    """Read and check the table of one or more readers.

    Parameters
    ----------
    table : path
        CSV, UTF-8, separated by commas or semicolons.
    variants : Artifact
        ``data/variants``: the images that must be scored, and which of them hold a simulated lesion.

    Returns
    -------
    DataFrame
        One row per image and reader with the four criteria, in the order of the images, then of the readers. Each
        image has at least one reader.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, a row names an unknown image or criterion or an item already
        scored by that reader, a score is not on its scale, a lesion is scored as absent, a reader left out a
        criterion, or an image has no reader. The message names row and column.
    """
    path = Path(table)
    rows = load_text_table(path, "read.table")
    _check_columns(rows, path)
    images = variants.manifest.set_index("image_id")
    found = _Checker(images["has_lesion"].astype(bool).to_dict())
    for line, row in zip(rows.index, rows.to_dict("records"), strict=True):
        found.add(line, row)
    problems = [*found.problems, *found.incomplete()]
    if problems:
        raise InputError(
            f"{path}: {len(problems)} problem(s); mend the table or set read.table to presets/none.txt:"
            + list_problems(problems)
        )
    return _scores(found.scores, images)


def _check_columns(rows: pd.DataFrame, path: Path) -> None:
    """Refuse a table that is neither long nor wide."""
    wanted = [] if set(_LONG) & set(rows.columns) else [key for key in KEYS if key not in rows]
    if set(_LONG) & set(rows.columns):
        wanted = [name for name in _LONG if name not in rows]
    if "image_id" not in rows and not {"slice_id", "variant"} <= set(rows.columns):
        wanted.insert(0, "image_id (or slice_id and variant)")
    if wanted:
        found = ", ".join(filter(None, rows.columns)) or "none"
        raise InputError(f"{path}: column {', '.join(wanted)} is missing; found {found}")


@dataclass
class _Checker:
    """Collect scores row by row, and everything wrong with them."""

    has_lesion: dict[str, bool]
    problems: list[str] = field(default_factory=list)
    scores: dict[tuple[str, str], dict[str, int | None]] = field(default_factory=dict)
    lines: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)

    def add(self, line: int, row: dict[str, str]) -> None:
        """Take the one score of a long row, or the four of a wide one."""
        image_id = row["image_id"] if "image_id" in row else f"{row['slice_id']}_{row['variant']}"
        reader = row.get("reader", DEFAULT_READER)
        cells = list(_cells(row))
        problem = self._find_problem(image_id, reader, cells, row)
        if problem:
            self.problems.append(f"row {line} ({image_id}): {problem}")
            return
        lines = self.lines.setdefault((image_id, reader), {})
        scores = self.scores.setdefault((image_id, reader), {})
        for key, column, text in cells:
            lines[key] = line
            scores[key], wrong = _read_score(key, text, self.has_lesion[image_id])
            if wrong:
                blamed = f"score ({key})" if "criterion" in row else column
                self.problems.append(f"row {line} ({image_id}): column {blamed}: {wrong}")

    def incomplete(self) -> Iterator[str]:
        """Yield a problem for each image of a reader without all criteria, and one for images without reader."""
        for (image_id, reader), lines in self.lines.items():
            missing = [key for key in KEYS if key not in lines]
            if missing:
                remedy = "; write N/A where there is no lesion" if missing == [LESION] else ""
                yield (
                    f"row {min(lines.values())} ({image_id}): column criterion: no row of {reader} for "
                    f"{', '.join(missing)}{remedy}"
                )
        scored = {image_id for image_id, _ in self.lines}
        absent = [image_id for image_id in self.has_lesion if image_id not in scored]
        if absent:
            yield f"no row for {len(absent)} of {len(self.has_lesion)} images, the first is {absent[0]}"

    def _find_problem(self, image_id: str, reader: str, cells: list[tuple[str, str, str]], row: dict) -> str | None:
        place = "image_id" if "image_id" in row else "slice_id, variant"
        if image_id not in self.has_lesion:
            return f"column {place}: no such image; the first known is {next(iter(self.has_lesion), 'none')}"
        if reader in ("", MEDIAN):
            return f"column reader: expected a name other than {MEDIAN!r}, got {reader!r}"
        earlier = self.lines.get((image_id, reader), {})
        for key, column, _ in cells:
            if key not in KEYS:
                return f"column {column}: unknown {key!r}{suggest(key, list(KEYS))}; expected one of {', '.join(KEYS)}"
            if key in earlier and "criterion" in row:
                return f"column {column}: {reader} has scored {key} of this image in row {earlier[key]}"
            if key in earlier:
                return f"column {place}: {reader} has scored this image in row {earlier[key]}"
        return None


def _cells(row: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield criterion, the column to blame for it, and the text of the score."""
    if "criterion" in row:
        yield row["criterion"], "criterion", row["score"]
    else:
        for key in KEYS:
            yield key, key, row[key]


def _read_score(key: str, text: str, has_lesion: bool) -> tuple[int | None, str | None]:
    """Return the score, None for no lesion, and what is wrong with it."""
    if key == LESION and text.lower() in ("", *ABSENT):
        return None, f"{text!r}, but a lesion was simulated here; expected 1 to 4" if has_lesion else None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value.is_integer() and BEST <= value <= WORST:
        return int(value), None
    absent = ", or N/A for no lesion" if key == LESION else ""
    return None, f"expected a score {BEST} (best) to {WORST} (worst){absent}, got {text!r}"


def _scores(scores: dict[tuple[str, str], dict[str, int | None]], images: pd.DataFrame) -> pd.DataFrame:
    order = {image_id: position for position, image_id in enumerate(images.index)}
    items = sorted(scores, key=lambda item: (order[item[0]], item[1]))
    known = images.loc[[image_id for image_id, _ in items], ["slice_id", "patient_id", "variant"]].reset_index()
    known["reader"] = [reader for _, reader in items]
    known["score_source"] = "reader"
    for key in KEYS:
        known[key] = pd.array([scores[item][key] for item in items], dtype="Int64")
    return known
