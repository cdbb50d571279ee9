"""Made-up scores of a reader and of methods, of several patients, with everything that can occur."""

import numpy as np
import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.predictions import probability_columns

VARIANTS = ("ndct", "ldct", "map_nn_d1", "map_nn_d2", "map_nn_d3")


def reader(patients: int = 8, slices: int = 2, seed: int = 0) -> pd.DataFrame:
    """True scores: worse in some variants, lesions in half of the slices."""
    rng = np.random.default_rng(seed)
    rows = [(f"P{p}", f"P{p}_{s}", v) for p in range(patients) for s in range(slices) for v in VARIANTS]
    table = pd.DataFrame(rows, columns=["patient_id", "slice_id", "variant"])
    base = table["variant"].map(dict(zip(VARIANTS, (1.0, 4.0, 3.4, 2.6, 2.0), strict=True)))
    for key in KEYS:
        scores = np.clip(np.rint(base + rng.normal(0, 0.6, len(table))), 1, 4)
        table[key] = scores if key in ALWAYS_SCORED else np.where(table["slice_id"].str.endswith("0"), scores, np.nan)
    return table.assign(image_id=table["slice_id"] + "_" + table["variant"])


def method(truth: pd.DataFrame, *, error: float, seed: int = 1, fractional: bool = False) -> pd.DataFrame:
    """Predictions around the truth; one in ten unparsed in one criterion, some lesions missed, some invented."""
    rng = np.random.default_rng(seed)
    table = truth[["image_id"]].copy()
    for key in KEYS:
        scores = truth[key].to_numpy() + rng.normal(0, error, len(truth))
        table[key] = np.clip(scores if fractional else np.rint(scores), 1, 4)
    flip = rng.random(len(truth)) < 0.2
    seen = np.where(flip, truth["lesion_conspicuity"].isna(), truth["lesion_conspicuity"].notna())
    table["lesion_conspicuity"] = np.where(seen, np.nan_to_num(table["lesion_conspicuity"], nan=2.0), np.nan)
    unread = rng.random(len(truth)) < 0.1
    table["unparsed"] = np.where(unread, "noise", "")
    table.loc[unread, "noise"] = np.nan
    return table


def with_probabilities(table: pd.DataFrame, seed: int = 2) -> pd.DataFrame:
    """Add random probabilities of all classes."""
    rng = np.random.default_rng(seed)
    table = table.copy()
    for key in KEYS:
        columns = probability_columns(key)
        table[columns] = rng.dirichlet(np.ones(len(columns)), len(table))
    return table
