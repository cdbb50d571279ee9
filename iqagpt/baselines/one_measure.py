"""Scores from one number of an image: a small decision tree per criterion, kept as the step function that it is."""

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from iqagpt.criteria import KEYS

#: Class of "no lesion" inside the trees.
NO_LESION_CLASS = 0

#: By criterion: ``thresholds``, rising, and ``scores``, one more of them: up to each threshold, and above the last.
Steps = dict[str, dict[str, list[float]]]


def fit_steps(values: np.ndarray, table: pd.DataFrame, *, leaves: int, min_leaf: int) -> Steps:
    """Fit one tree per criterion.

    Parameters
    ----------
    values : ndarray, (N,), float32
        One number of each image.
    table : DataFrame
        Its scores.
    leaves, min_leaf : int
        Most leaves of a tree, and fewest images in one.
    """
    steps = {}
    for key in KEYS:
        tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=min(min_leaf, len(table)), random_state=0)
        tree.fit(values[:, None], table[key].fillna(NO_LESION_CLASS).astype(int))
        steps[key] = _steps(tree)
    return steps


def apply_steps(values: np.ndarray, steps: Steps) -> pd.DataFrame:
    """Return the table of scores for numbers (N,), float32."""
    scores = pd.DataFrame(index=range(len(values)), columns=list(KEYS), dtype="Float64")
    for key in KEYS:
        place = np.searchsorted(steps[key]["thresholds"], values, side="left")
        predicted = pd.Series(np.asarray(steps[key]["scores"])[place]).astype("Float64")
        scores[key] = predicted.mask(predicted == NO_LESION_CLASS)
    return scores


def _steps(tree: DecisionTreeClassifier) -> dict[str, list[float]]:
    nodes = tree.tree_
    thresholds: list[float] = []
    scores: list[int] = []

    def walk(node: int) -> None:
        if nodes.children_left[node] < 0:
            scores.append(int(tree.classes_[nodes.value[node, 0].argmax()]))
            return
        walk(nodes.children_left[node])
        thresholds.append(float(nodes.threshold[node]))
        walk(nodes.children_right[node])

    walk(0)
    return {"thresholds": thresholds, "scores": scores}
