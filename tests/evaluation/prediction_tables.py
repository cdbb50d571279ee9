"""Tables of predictions for the images of the fixture ``scored_run``."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import open_artifact, write_table
from iqagpt.criteria import KEYS, caption_to_scores, scores_to_caption
from iqagpt.predictions import COLUMNS

METHODS = ("iqagpt", "vit_r", "majority", "majority_by_variant")


def truth_of(run: Path) -> pd.DataFrame:
    """Scores of val and test images, with their split."""
    captions = open_artifact(run / "captions", "captions").manifest
    split = open_artifact(run / "split", "split").manifest[["slice_id", "split"]]
    table = captions.merge(split, on="slice_id")
    return table[table["split"] != "train"].reset_index(drop=True)


def perfect(run: Path, method: str) -> pd.DataFrame:
    """Predictions that equal the truth."""
    table = truth_of(run).assign(method=method, unparsed="")
    return table[list(COLUMNS)]


def constant(run: Path, method: str) -> pd.DataFrame:
    """The same answer for every image: scores of 2, no lesion."""
    scores: Mapping[str, int | None] = dict.fromkeys(KEYS, 2) | {"lesion_conspicuity": None}
    table = perfect(run, method).assign(**scores, caption=scores_to_caption(scores))
    return table


def from_captions(table: pd.DataFrame, captions: list[str]) -> pd.DataFrame:
    """The same table with other captions, and the scores that they state."""
    found = [caption_to_scores(caption) for caption in captions]
    table = table.assign(caption=captions, unparsed=[";".join(k for k in KEYS if k not in s) for s in found])
    for key in KEYS:
        table[key] = pd.array([s.get(key) for s in found], dtype="Int64")
    return table


def write_predictions(folder: Path, run: Path) -> Path:
    """Write a table for each of `METHODS`, of which ``majority`` is constant and ``vit_r`` fractional."""
    fractional = perfect(run, "vit_r")
    for key in KEYS:
        fractional[key] = fractional[key].astype("Float64") + 0.3
    tables = {
        "iqagpt": perfect(run, "iqagpt"),
        "vit_r": fractional,
        "majority": constant(run, "majority"),
        "majority_by_variant": perfect(run, "majority_by_variant"),
    }
    for method, table in tables.items():
        write_table(folder / f"{method}.csv", table)
    return folder
