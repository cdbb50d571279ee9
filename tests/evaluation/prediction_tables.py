"""Tables of predictions for the images of the fixture ``scored_run``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.artifacts import open_artifact, write_table
from iqagpt.criteria import KEYS, caption_to_scores, scores_to_caption
from iqagpt.evaluation.caption_totals import COLUMNS
from iqagpt.evaluation.captions import Corpus
from iqagpt.predictions import COLUMNS as PREDICTION_COLUMNS

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
    return table[list(PREDICTION_COLUMNS)]


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


def counts_of_equal(references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """Counts of captions in which a candidate that differs from its reference matches in nothing."""
    equal = np.array([a == b for a, b in zip(references, candidates, strict=True)], dtype=float)
    counts = np.zeros((len(equal), COLUMNS))
    counts[:, 0] = 1
    counts[:, 1:7] = equal[:, None] * [1, 10, 4, 3, 2, 1]
    counts[:, 7:13] = [4, 3, 2, 1, 4, 4]  # n-grams given, and the lengths
    meteor = counts[:, 13:]
    meteor[:, :2] = 4
    meteor[:, [4, 5, 21, 22]] = 4 * equal[:, None]
    return counts


def count_equal(corpora: Mapping[str, Corpus]) -> dict[str, np.ndarray]:
    """Stand in for the text metrics, which take Java some ten seconds to load; test_captions.py runs them."""
    return {name: counts_of_equal(*sides) for name, sides in corpora.items()}


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
