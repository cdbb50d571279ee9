"""The commonest score of each criterion in a table."""

import pandas as pd

from iqagpt.criteria import KEYS


def commonest_scores(table: pd.DataFrame) -> dict[str, int | None]:
    """Return the commonest value of each criterion; "no lesion" (None) counts as a value, ties go to the better score."""
    commonest: dict[str, int | None] = {}
    for key in KEYS:
        counts = table[key].astype("Float64").fillna(float("inf")).value_counts()
        value = min(counts[counts == counts.max()].index)
        commonest[key] = None if value == float("inf") else int(value)
    return commonest
