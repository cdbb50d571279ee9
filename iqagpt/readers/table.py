"""A real reader's scores from a CSV file: one row per image, one column per criterion.

Columns: ``image_id``, or ``slice_id`` and ``variant``; optionally ``reader``; and the four criteria ``noise``,
``small_structures``, ``lesion_conspicuity``, ``diagnostic_confidence``, each 1 (best) to 4 (worst). An empty cell,
``N/A`` or ``no lesion`` in the lesion column means that there is no lesion. Further columns are ignored.
"""

import io
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import Artifact
from iqagpt.criteria import BEST, KEYS, NO_LESION, WORST
from iqagpt.errors import InputError

DEFAULT_READER = "reader_1"
ABSENT = ("", "n/a", "na", NO_LESION)
LESION = "lesion_conspicuity"
#: Problems shown in one message; more are counted.
SHOWN = 5


def read_scores(table: str | Path, variants: Artifact) -> pd.DataFrame:
    """Read and check a reader's table.

    Parameters
    ----------
    table : path
        CSV, UTF-8, separated by commas or semicolons.
    variants : Artifact
        ``data/variants``: the images that must be scored, and which of them hold a simulated lesion.

    Returns
    -------
    DataFrame
        The manifest of ``data/scores``, in the order of the images, then of the readers.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, a row names an unknown image or one already scored by that
        reader, a score is not on its scale, a lesion is scored as absent, or an image has no row.
    """
    path = Path(table)
    rows = _load(path)
    images = variants.manifest.set_index("image_id")
    if "image_id" not in rows:
        rows["image_id"] = rows["slice_id"] + "_" + rows["variant"]
    problems, scores = _check_rows(rows, images)
    missing = [image_id for image_id in images.index if image_id not in set(rows["image_id"])]
    if missing:
        problems.append(f"no row for {len(missing)} of {len(images)} images, the first is {missing[0]}")
    if problems:
        more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(
            f"{path}: {len(problems)} problem(s); mend the table or set read.table to presets/none.txt:\n  "
            + "\n  ".join(problems[:SHOWN])
            + more
        )
    order = {image_id: position for position, image_id in enumerate(images.index)}
    scores = scores.assign(order=scores["image_id"].map(order)).sort_values(["order", "reader"])
    known = images.loc[scores["image_id"], ["slice_id", "patient_id", "variant"]].reset_index()
    columns = scores[["reader", *KEYS]].reset_index(drop=True)
    columns.insert(1, "score_source", "reader")
    return pd.concat([known, columns], axis=1)


def _load(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.split("\n", 1)[0]
        separator = ";" if head.count(";") > head.count(",") else ","
        rows = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); read.table must name a CSV file") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a CSV table ({' '.join(str(error).split())}); save it as CSV in UTF-8"
        ) from error
    rows.columns = [str(column).strip() for column in rows.columns]
    wanted = [key for key in KEYS if key not in rows]
    if "image_id" not in rows and not {"slice_id", "variant"} <= set(rows.columns):
        wanted.insert(0, "image_id (or slice_id and variant)")
    if wanted:
        raise InputError(f"{path}: column {', '.join(wanted)} is missing; found {', '.join(rows.columns) or 'none'}")
    return rows.apply(lambda column: column.str.strip())


def _check_rows(rows: pd.DataFrame, images: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    problems: list[str] = []
    records = []
    first_line: dict[tuple[str, str], int] = {}
    for line, row in enumerate(rows.to_dict("records"), start=2):
        image_id, reader = row["image_id"], row.get("reader") or DEFAULT_READER
        where = f"row {line} ({image_id})"
        if image_id not in images.index:
            column = "image_id" if "slice_id" not in row else "slice_id, variant"
            problems.append(f"{where}: column {column}: no such image; the first known is {images.index[0]}")
            continue
        if (image_id, reader) in first_line:
            problems.append(f"{where}: {reader} has scored this image in row {first_line[image_id, reader]}")
            continue
        first_line[image_id, reader] = line
        record, wrong = _check_scores(row, bool(images.loc[image_id, "has_lesion"]))
        problems += [f"{where}: {text}" for text in wrong]
        records.append({"image_id": image_id, "reader": reader, **record})
    scores = pd.DataFrame(records, columns=["image_id", "reader", *KEYS])
    return problems, scores.astype(dict.fromkeys(KEYS, "Int64"))


def _check_scores(row: dict[str, str], has_lesion: bool) -> tuple[dict[str, int | None], list[str]]:
    scores: dict[str, int | None] = {}
    wrong = []
    for key in KEYS:
        text = row[key]
        scores[key] = None
        if key == LESION and text.lower() in ABSENT:
            if has_lesion:
                wrong.append(f"column {key}: {text!r}, but a lesion was simulated here; expected 1 to 4")
            continue
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if value.is_integer() and BEST <= value <= WORST:
            scores[key] = int(value)
        else:
            absent = ", or N/A for no lesion" if key == LESION else ""
            wrong.append(f"column {key}: expected a score {BEST} (best) to {WORST} (worst){absent}, got {text!r}")
    return scores, wrong
