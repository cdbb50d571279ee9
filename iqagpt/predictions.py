"""The table of predictions that every method ends in, read once for evaluation, figures and reports.

One row per image of val and test: ``image_id, split, method, caption``, the four criteria and ``unparsed``. Scores run
from 1 (best) to 4 (worst) and may be fractional for regressors; an empty lesion conspicuity means "no lesion";
``unparsed`` joins by ``;`` the criteria that could not be read from the caption. A method may add a probability for every
score, columns `probability_columns`; then every image has an expected score besides the stated one. A method that rests on frozen
models says in `WEIGHTS` which: `BUILTIN`, or their hash or name.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from iqagpt.artifacts import read_table
from iqagpt.criteria import ALWAYS_SCORED, BEST, KEYS, SCORES, WORST
from iqagpt.errors import ArtifactError

COLUMNS = ("image_id", "split", "method", "caption", *KEYS, "unparsed")
#: Column of the frozen models that a method rests on, and their name where they are the small ones of this package.
WEIGHTS, BUILTIN = "weights", "builtin"
#: Probabilities of one criterion may miss 1 by this much.
_ROUNDED = 1e-3
#: Classes that are not a score: no lesion, and a criterion that the caption does not state readably.
NONE, UNPARSED = "none", "unparsed"


def probability_columns(key: str) -> list[str]:
    """Return the names of a criterion's probabilities: ``<key>_p1`` to ``<key>_p4``, then ``<key>_none`` where it may be absent."""
    names = [f"{key}_p{score}" for score in SCORES]
    return names if key in ALWAYS_SCORED else [*names, f"{key}_{NONE}"]


def expected_scores(table: pd.DataFrame) -> pd.DataFrame | None:
    """Average the scores of each criterion by their probabilities.

    Parameters
    ----------
    table : DataFrame
        Predictions with or without `probability_columns`.

    Returns
    -------
    DataFrame or None
        The four criteria, float64, 1 (best) to 4 (worst), rows as in `table`; None if the method gives no probabilities.
        Lesion conspicuity is the expectation if there is a lesion: the probability of "no lesion" stands apart.
    """
    if not all(column in table for key in KEYS for column in probability_columns(key)):
        return None
    expected = pd.DataFrame(index=table.index)
    for key in KEYS:
        shares = table[probability_columns(key)[: len(SCORES)]].to_numpy(dtype=float)
        total = shares.sum(1)
        weighted = shares @ np.array(SCORES, dtype=float)
        expected[key] = np.divide(weighted, total, out=np.full(len(table), np.nan), where=total > 0)
    return expected


def entropies(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the entropy of each criterion's probabilities in bits, (N, 4); None if the method gives none. 0 is certain."""
    if expected_scores(table) is None:
        return None
    return pd.DataFrame(
        {key: stats.entropy(table[probability_columns(key)].to_numpy(dtype=float), base=2, axis=1) for key in KEYS},
        index=table.index,
    )


def read_predictions(path: str | Path, split: str) -> pd.DataFrame:
    """Read one method's predictions for one split.

    Parameters
    ----------
    path : path
        ``predictions/<method>.csv``.
    split : str
        ``val`` or ``test``.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: the criteria as float64 (NaN for no lesion and where unparsed), text empty where missing; and
        the probabilities and `WEIGHTS`, if the method gives them.

    Raises
    ------
    ArtifactError
        If the table is missing, lacks columns, repeats an image, or holds a score that is not a number or probabilities that are
        none.
    """
    table = read_table(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ArtifactError(f"{path}: not a table of predictions: no column {', '.join(missing)}; run dvc repro")
    given = [column for key in KEYS for column in probability_columns(key) if column in table]
    further = [WEIGHTS] if WEIGHTS in table else []
    table = table.loc[table["split"] == split, [*COLUMNS, *given, *further]].reset_index(drop=True)
    repeated = table.loc[table["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise ArtifactError(f"{path}: image_id '{repeated.iloc[0]}' is given twice; expected one row per image")
    for column in ("caption", "unparsed"):
        table[column] = table[column].astype("string").fillna("").astype(object)
    for key in KEYS:
        table[key] = _numbers(table, key, path)
    for column in given:
        if not table[column].between(0, 1).all():
            raise ArtifactError(f"{path}: {column}: expected probabilities from 0 to 1; run dvc repro")
    for key in KEYS:
        if set(probability_columns(key)) <= set(given):
            total = table[probability_columns(key)].sum(axis=1)
            if (abs(total - 1) > _ROUNDED).any():
                raise ArtifactError(f"{path}: probabilities of {key} do not sum to 1 in every row; run dvc repro")
    return table


def labels(table: pd.DataFrame) -> pd.DataFrame:
    """Turn scores into classes: ``1`` to ``4``, ``none`` (no lesion) or ``unparsed``.

    Parameters
    ----------
    table : DataFrame
        The four criteria, whole or fractional, missing for no lesion; with or without ``unparsed``.

    Returns
    -------
    DataFrame
        One text column per criterion, rows as in `table`.

    Notes
    -----
    Not stated in the paper; fractional scores are rounded to the nearest score and clipped to 1..4.
    """
    classes = pd.DataFrame(index=table.index)
    for key in KEYS:
        values = table[key].to_numpy(dtype=float, na_value=np.nan)
        whole = np.clip(np.rint(values), BEST, WORST)
        names = np.array([NONE if np.isnan(score) else str(int(score)) for score in whole], dtype=object)
        if "unparsed" in table:
            names[is_unparsed(table, key)] = UNPARSED
        classes[key] = names
    return classes


def row_scores(row: pd.Series) -> dict[str, int | None]:
    """Return one row of `labels` as scores: None for no lesion, no entry for an unparsed criterion."""
    return {key: None if row[key] == NONE else int(row[key]) for key in KEYS if row[key] != UNPARSED}


def is_unparsed(table: pd.DataFrame, key: str) -> np.ndarray:
    """Return (N,) bool: where criterion `key` could not be read from the caption."""
    return np.array([key in str(names).split(";") for names in table["unparsed"]], dtype=bool)


def _numbers(table: pd.DataFrame, key: str, path: str | Path) -> np.ndarray:
    values = pd.to_numeric(table[key], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    given = table[key].notna().to_numpy()
    wrong = given & ~np.isfinite(values)
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ArtifactError(
            f"{path}: {key} of '{row['image_id']}': expected a number from {BEST} (best) to {WORST} (worst), "
            f"got '{row[key]}'"
        )
    absent = ~given & ~is_unparsed(table, key)
    if key in ALWAYS_SCORED and absent.any():
        raise ArtifactError(
            f"{path}: {key} of '{table['image_id'][absent].iloc[0]}' is empty; expected a score, or '{key}' in the "
            "column unparsed"
        )
    return np.where(is_unparsed(table, key), np.nan, values)
