"""IQAGPT against each rival on the same images: differences with intervals, and a test over patients.

The primary family is the mean accuracy against each rival that is not told the answer's kind; its p values are adjusted by
Holm. All other differences are given with intervals and without a test.

Sources: sign-flip (paired permutation) test: Fisher, The Design of Experiments (1935), 21; Holm, Scand. J. Stat. 6:65 (1979).

Notes
-----
Not stated in the paper, which compares means without a test.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from iqagpt.agreement.bootstrap import intervals
from iqagpt.criteria import KEYS
from iqagpt.evaluation.estimates import MEAN, Estimates, difference
from iqagpt.predictions import labels

#: The primary comparison, then the others.
PRIMARY = ("accuracy", MEAN)
COMPARED = (
    PRIMARY, *(("accuracy", key) for key in KEYS), ("plcc", MEAN), ("srocc", MEAN), ("mae", MEAN),
    ("kappa_quadratic", MEAN), ("captioning", "bleu_4"), ("captioning", "cider"),
)  # fmt: skip
COLUMNS = ("rival", "measure", "key", "difference", "lower", "upper", "interval", "p", "p_holm")


def compare_rivals(
    estimates: Mapping[str, Estimates],
    right: Mapping[str, np.ndarray],
    *,
    method: str,
    oracles: Sequence[str],
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Compare one method with all others.

    Parameters
    ----------
    estimates : mapping
        By method, its coefficients; all of the same patients.
    right : mapping
        By method, (P,) int: scores that are right, of each patient; from `right_by_patient`.
    method : str
        The method to compare with the others.
    oracles : sequence of str
        Methods outside the primary family.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: `method` less the rival. ``p`` is given for the primary measure; ``p_holm`` for its family.
    """
    rows = []
    for rival in estimates:
        if rival == method:
            continue
        places = [place for place in COMPARED if place in estimates[method] and place in estimates[rival]]
        paired = [difference(estimates[method][place], estimates[rival][place]) for place in places]
        found = intervals(paired, seed=seed, replicates=draws)
        p = sign_flip_p(right[method] - right[rival])
        rows += [
            (rival, *place, one.value, one.lower, one.upper, one.method, p if place == PRIMARY else np.nan, np.nan)
            for place, one in zip(places, found, strict=True)
        ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    family = table["p"].notna() & ~table["rival"].isin(list(oracles))
    table.loc[family, "p_holm"] = holm(table.loc[family, "p"].to_numpy())
    return table


def right_by_patient(truth: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Count right scores of each patient, sorted by patient: ``patient_id, images``, and one column a criterion."""
    right = pd.DataFrame(labels(truth).to_numpy() == labels(table).to_numpy(), columns=list(KEYS)).astype(int)
    grouped = right.assign(images=1).groupby(truth["patient_id"].to_numpy(dtype=str), sort=True).sum()
    return grouped.rename_axis("patient_id").reset_index()[["patient_id", "images", *KEYS]]


def sign_flip_p(differences: np.ndarray) -> float:
    """Return the exact two-sided p value of the sign-flip test.

    Parameters
    ----------
    differences : ndarray, (P,), int
        Of each patient, what one method has more right than the other.

    Returns
    -------
    float
        The share of all 2^P assignments of signs whose sum is as far from 0 as the one found, or further.
    """
    sizes = np.abs(np.asarray(differences, dtype=int))
    observed, total = abs(int(np.sum(differences))), int(sizes.sum())
    # The sum's distribution, built patient by patient: exact for any number of patients, as counts are whole.
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes[sizes > 0]:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    sums = np.arange(-total, total + 1)
    return float(min(1.0, chances[np.abs(sums) >= observed].sum()))


def smallest_p(patients: int) -> float:
    """Return the smallest p value that the sign-flip test can give for so many patients."""
    return min(1.0, 2.0 ** (1 - patients))


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values adjusted for the family, (M,), by Holm's step-down method."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
