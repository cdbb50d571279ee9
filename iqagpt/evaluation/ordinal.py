"""How far wrong scores are, and lesion detection apart from conspicuity among true lesions.

Accuracy counts a score of 1 for 4 as it counts 3 for 4. Mean absolute error, the share within one step, quadratic weighted
kappa and balanced accuracy tell them apart. "No lesion" is no place on the scale: whether a lesion is found is one question,
how well it is seen another.

Notes
-----
Not stated in the paper. On lesion conspicuity the ordinal measures are over images where both reader and method see a
lesion; unparsed criteria are left out of them and count as wrong everywhere else.
"""

import numpy as np
import pandas as pd

from iqagpt.agreement.coefficients import Coefficient, Ratings, weighted_kappa
from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.evaluation.estimates import MEAN, Estimates, by_patient, mean_of, patients_of, ratio
from iqagpt.predictions import NONE, UNPARSED, is_unparsed, labels

LESION = "lesion_conspicuity"
#: Lower is better for ``mae`` only.
MEASURES = ("mae", "within_1", "kappa_quadratic", "balanced_accuracy")


def ordinal_estimates(truth: pd.DataFrame, table: pd.DataFrame) -> Estimates:
    """Return `MEASURES` of one method by criterion, and their ``mean`` over the three criteria that every image has.

    Parameters
    ----------
    truth, table : DataFrame
        The reader's and the method's scores, rows aligned; `truth` has ``patient_id``.

    Returns
    -------
    dict
        ``mae`` in score steps, of scores as predicted, fractions included; ``within_1``: share at most one step off,
        rounded; ``kappa_quadratic``: of rounded scores; ``balanced_accuracy``: mean over the reader's scores of the share
        that is right ("no lesion" is one of them).
    """
    clusters = patients_of(truth)
    true, predicted = _rounded(truth), _rounded(table)
    found: Estimates = {}
    for key in KEYS:
        raw = np.where(is_unparsed(table, key), np.nan, table[key].to_numpy(dtype=float, na_value=np.nan))
        both = np.isfinite(true[key]) & np.isfinite(predicted[key])
        error = np.where(both, np.abs(raw - true[key]), 0.0)
        near = both & (np.abs(predicted[key] - true[key]) <= 1)
        pair = np.where(both[:, None], np.column_stack([true[key], predicted[key]]), np.nan)
        found["mae", key] = ratio(error, both.astype(float), clusters)
        found["within_1", key] = ratio(near.astype(float), both.astype(float), clusters)
        found["kappa_quadratic", key] = weighted_kappa(Ratings(pair, clusters, clusters.max() + 1), "quadratic")
        found["balanced_accuracy", key] = balanced_accuracy(labels(truth)[key], labels(table)[key], clusters)
    for measure in MEASURES:
        found[measure, MEAN] = mean_of([found[measure, key] for key in ALWAYS_SCORED])
    return found


def lesion_estimates(truth: pd.DataFrame, table: pd.DataFrame) -> Estimates:
    """Return how lesions are found, and how well they are scored.

    Returns
    -------
    dict
        Measure ``lesion``, keys ``sensitivity`` (true lesions given any score), ``specificity`` (images without one called
        so), ``balanced_accuracy`` (the mean of the two), ``conspicuity_accuracy`` (true lesions given the right score).
    """
    clusters = patients_of(truth)
    true, predicted = labels(truth)[LESION].to_numpy(), labels(table)[LESION].to_numpy()
    present = true != NONE
    found = present & ~np.isin(predicted, [NONE, UNPARSED])
    sensitivity = ratio(found.astype(float), present.astype(float), clusters)
    specificity = ratio((~present & (predicted == NONE)).astype(float), (~present).astype(float), clusters)
    return {
        ("lesion", "sensitivity"): sensitivity,
        ("lesion", "specificity"): specificity,
        ("lesion", "balanced_accuracy"): mean_of([sensitivity, specificity]),
        ("lesion", "conspicuity_accuracy"): ratio(
            (present & (true == predicted)).astype(float), present.astype(float), clusters
        ),
    }


def balanced_accuracy(true: pd.Series, predicted: pd.Series, clusters: np.ndarray) -> Coefficient:
    """Return the mean over true classes of the share predicted rightly; classes that a draw lacks are left out of it."""
    of_class = np.column_stack([(true == name).to_numpy() for name in sorted(true.unique())]).astype(float)
    right = (true.to_numpy() == predicted.to_numpy()).astype(float)
    classes = of_class.shape[1]

    def function(totals: np.ndarray) -> np.ndarray:
        given, hit = totals[:, :classes], totals[:, classes:]
        shares = np.divide(hit, given, out=np.zeros_like(hit), where=given > 0)
        present = (given > 0).sum(axis=1)
        return np.divide(shares.sum(axis=1), present, out=np.full(len(totals), np.nan), where=present > 0)

    parts = np.hstack([of_class, of_class * right[:, None]])
    return Coefficient(by_patient(parts, clusters), function, np.ones(len(right), dtype=bool))


def confusion_table(truth: pd.DataFrame, predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Count true and predicted classes (``1`` to ``4``, ``none``, ``unparsed``) of every method and criterion."""
    true = labels(truth)
    parts = []
    for method, table in predictions.items():
        predicted = labels(table)
        for key in KEYS:
            pairs = pd.DataFrame({"truth": true[key].to_numpy(), "predicted": predicted[key].to_numpy()})
            counts = pairs.value_counts(sort=False).rename("images").reset_index()
            counts = counts.sort_values(["truth", "predicted"])
            parts.append(counts.assign(method=method, criterion=key))
    return pd.concat(parts, ignore_index=True)[["method", "criterion", "truth", "predicted", "images"]]


def _rounded(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return each criterion's scores, whole, NaN for no lesion and unparsed."""
    classes = labels(table)
    return {
        key: pd.to_numeric(classes[key].where(~classes[key].isin([NONE, UNPARSED])), errors="coerce").to_numpy(float)
        for key in KEYS
    }
