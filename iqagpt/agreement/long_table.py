"""Ratings of several readers from any CSV file, for ``iqagpt agreement``.

Long: what was rated (``image_id``, or ``slice_id`` with or without ``variant``, or ``item`` or ``image``), ``reader``,
``criterion`` and ``score``. Wide: the same with one column for each criterion. Any criteria, any ordered numbers.
``N/A`` or ``no lesion`` is the answer that there is nothing to score; an empty cell is no answer, but in the wide
column ``lesion_conspicuity`` it means ``N/A``, as in ``data/scores``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.agreement.summary import PATIENT, READING_COLUMNS
from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import InputError
from iqagpt.readers.consensus import FLAG, own_readings
from iqagpt.text_table import ABSENT, list_problems, load_text_table

#: Columns that may say what was rated, the first that are all there.
ITEMS = (("image_id",), ("slice_id", "variant"), ("slice_id",), ("item",), ("image",))
#: Columns that may say which items belong together.
CLUSTERS = (PATIENT, "slice_id")
#: Most grades of a criterion; more are no ordered scale of a reader.
_MOST_GRADES = 30


def read_ratings(
    path: str | Path, *, criteria: Sequence[str] = (), cluster: str | None = None
) -> tuple[pd.DataFrame, str]:
    """Read and check a table of ratings.

    Parameters
    ----------
    path : path
        CSV, UTF-8, separated by commas or semicolons.
    criteria : sequence of str
        Criteria to keep; empty: all of a long table, the paper's four of a wide one.
    cluster : str, optional
        Column whose equal values are resampled together; default the first of `CLUSTERS` that is there, else the item.

    Returns
    -------
    readings : DataFrame
        As `iqagpt.agreement.summary.agreement_table` takes them.
    cluster : str
        The column that was taken.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, a score is not a number, an item is rated twice by one reader,
        or there are fewer than two readers. The message names row and column.
    """
    rows = _without_median(load_text_table(path, "the table"))
    item = next((names for names in ITEMS if set(names) <= set(rows.columns)), None)
    if item is None:
        raise InputError(f"{path}: column image_id (or slice_id and variant, or item) is missing; {_found(rows)}")
    chosen = cluster or next((name for name in CLUSTERS if name in rows), item[0])
    long = {"criterion", "score"} <= set(rows.columns)
    wanted = list(criteria) or ([] if long else [key for key in KEYS if key in rows])
    missing = [name for name in ["reader", chosen, *([] if long else wanted)] if name not in rows]
    if missing or not (long or wanted):
        missing = missing or ["criterion and score (or name columns by --criteria)"]
        raise InputError(f"{path}: column {', '.join(missing)} is missing; {_found(rows)}")
    rows = rows.assign(item=rows[list(item)].agg("_".join, axis=1), cluster=rows[chosen])
    readings = _melt(rows, long, wanted)
    _check(readings, path)
    return readings[list(READING_COLUMNS)], chosen


def _without_median(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the rows that a manifest of ``data/scores`` adds: a median of readers is none of them."""
    return own_readings(rows) if {FLAG, "reader"} <= set(rows.columns) else rows


def _melt(rows: pd.DataFrame, long: bool, wanted: list[str]) -> pd.DataFrame:
    keys = ["item", "cluster", "reader"]
    if long:
        readings = rows[[*keys, "criterion"]].assign(text=rows["score"], column="score", line=rows.index)
        readings = readings[readings["criterion"].isin(wanted)] if wanted else readings
    else:
        readings = rows[keys].assign(line=rows.index).join(rows[wanted])
        readings = readings.melt([*keys, "line"], wanted, var_name="criterion", value_name="text")
        readings["column"] = readings["criterion"]
    text = readings["text"].str.lower()
    absent = text.isin(ABSENT)
    if not long:
        absent |= (text == "") & readings["criterion"].isin(set(KEYS) - set(ALWAYS_SCORED))
    score = pd.to_numeric(readings["text"].where(~absent), errors="coerce").where(np.isfinite, np.nan)
    return readings.assign(score=score.astype(float), absent=absent)


def _check(readings: pd.DataFrame, path: str | Path) -> None:
    named = ("item", "reader", "criterion", "cluster")
    problems = []
    readers = sorted(readings["reader"].unique())
    if len(readers) < 2:
        problems.append(f"column reader: expected two readers or more, got {', '.join(readers) or 'none'}")
    for row in readings[(readings[list(named)] == "").any(axis=1)].to_dict("records"):
        problems.append(f"row {row['line']}: column {next(name for name in named if row[name] == '')}: empty")
    unread = readings["score"].isna() & ~readings["absent"] & (readings["text"] != "")
    for row in readings[unread].to_dict("records"):
        problems.append(
            f"row {row['line']} ({row['item']}): column {row['column']}: expected a number, or N/A, got {row['text']!r}"
        )
    key = ["item", "reader", "criterion"]
    first = readings.groupby(key, sort=False)["line"].transform("first")
    for row in readings.assign(first=first)[readings.duplicated(key)].to_dict("records"):
        problems.append(
            f"row {row['line']} ({row['item']}): column {row['column']}: {row['reader']} has rated {row['criterion']} "
            f"of it in row {row['first']}"
        )
    if readings.groupby("item")["cluster"].nunique().max() > 1:
        problems.append("one item is given in two clusters; give the items names of their own")
    for criterion, count in readings.groupby("criterion")["score"].nunique().items():
        if count > _MOST_GRADES:
            problems.append(f"criterion {criterion}: {count} different scores; expected at most {_MOST_GRADES} grades")
    if problems:
        raise InputError(f"{path}: {len(problems)} problem(s):{list_problems(problems)}")


def _found(rows: pd.DataFrame) -> str:
    return f"found {', '.join(filter(None, rows.columns)) or 'none'}"
