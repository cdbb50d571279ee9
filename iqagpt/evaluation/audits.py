"""Questions that every evaluation must answer before its numbers mean anything.

Is a test patient among those trained on?  Then the evaluation stops. Can the kind of an image (NDCT, LDCT, MAP-NN ...) be
guessed from a method's scores, better than from the reader's?  Then the method may know the kind rather than the quality.
Do scores follow the level d of MAP-NN(d)?  Near-duplicate images are looked for where the pixels are, in stage ``split``.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import ArtifactError
from iqagpt.evaluation.estimates import Estimates, patients_of, ratio

#: Row of audit tables that holds the reader's own scores.
READER = "reader"
_FOLDS = 5
_MIN_LEAF = 3
_LEVEL = re.compile(r"map_nn_d(\d+)")


def check_disjoint(split: pd.DataFrame) -> None:
    """Refuse a split with a patient, or a slice, on two sides.

    Parameters
    ----------
    split : DataFrame
        Manifest of ``data/split``: ``slice_id, patient_id, split``.

    Raises
    ------
    ArtifactError
        If there is one.
    """
    for column in ("patient_id", "slice_id"):
        sides = split.groupby(column)["split"].unique()
        shared = sides[sides.map(len) > 1]
        if len(shared):
            raise ArtifactError(
                f"data/split: {column} '{shared.index[0]}' is in {' and '.join(sorted(shared.iloc[0]))} "
                f"({len(shared)} such); every patient must be on one side: run dvc repro split"
            )


def guess_estimates(truth: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> dict[str, Estimates]:
    """Guess each image's variant from its four scores.

    A decision tree guesses images of patients that it was not fitted on (up to five folds; of slices where there is only
    one patient).

    Parameters
    ----------
    truth : DataFrame
        The reader's scores, with ``patient_id``, ``slice_id`` and ``variant``.
    predictions : mapping
        By method, its table.

    Returns
    -------
    dict
        By method, and for `READER`, the measure ``variant_guess``, key ``accuracy``: share guessed rightly. Chance is one
        by the number of variants. Empty where there is one slice or one variant only.
    """
    patients = set(truth["patient_id"])
    groups = truth["patient_id" if len(patients) > 1 else "slice_id"].to_numpy(dtype=str)
    variants = truth["variant"].to_numpy(dtype=str)
    if len(set(groups)) < 2 or len(set(variants)) < 2:
        return {}
    splitter = GroupKFold(min(_FOLDS, len(set(groups))))
    found = {}
    for method, table in {READER: truth, **predictions}.items():
        tree = DecisionTreeClassifier(min_samples_leaf=_MIN_LEAF, random_state=0)
        guessed = cross_val_predict(tree, _features(table), variants, groups=groups, cv=splitter)
        right = (guessed == variants).astype(float)
        found[method] = {("variant_guess", "accuracy"): ratio(right, np.ones(len(right)), patients_of(truth))}
    return found


def level_table(truth: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how scores follow the level d of MAP-NN(d).

    Returns
    -------
    DataFrame
        One row for each method (and `READER`) and each criterion that every image has: ``method, criterion, direction``
        (``falling``: better with every level, ``rising``, ``constant`` or ``no``, of mean scores), ``rho`` (mean over slices
        of Spearman's correlation of score and d; missing if no slice has one), ``slices`` (of which, with different
        scores), and the mean score at each level, ``d1``, ``d2``, ... Empty with fewer than two levels.
    """
    levels = truth["variant"].map(_level)
    if levels.nunique() < 2:
        return pd.DataFrame()
    rows = []
    for method, table in {READER: truth, **predictions}.items():
        for key in ALWAYS_SCORED:
            scores = pd.DataFrame(
                {"d": levels, "slice": truth["slice_id"], "score": table[key].to_numpy(dtype=float, na_value=np.nan)}
            ).dropna()
            means = scores.groupby("d")["score"].mean()
            rho = [_rho(part) for _, part in scores.groupby("slice") if np.ptp(part["score"]) > 0]
            row = {"method": method, "criterion": key, "direction": _direction(means.to_numpy())}
            row |= {"rho": float(np.mean(rho)) if rho else np.nan, "slices": len(rho)}
            rows.append(row | {f"d{int(d)}": float(mean) for d, mean in means.items()})
    return pd.DataFrame(rows)


def _features(table: pd.DataFrame) -> np.ndarray:
    # Without a score (no lesion, unparsed): beyond the scale, so that one split of the tree tells it apart.
    return np.nan_to_num(table[list(KEYS)].to_numpy(dtype=float, na_value=np.nan), nan=9.0)


def _level(variant: str) -> float:
    found = _LEVEL.fullmatch(variant)
    return float(found[1]) if found else np.nan


def _rho(part: pd.DataFrame) -> float:
    return float(stats.spearmanr(part["d"], part["score"]).statistic)


def _direction(means: np.ndarray) -> str:
    steps = np.diff(means)
    if not steps.any():
        return "constant"
    return "falling" if (steps <= 0).all() else "rising" if (steps >= 0).all() else "no"
