"""One table of agreement for several readers and criteria, and the same as nested numbers."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd

from iqagpt.agreement.bootstrap import FEW, LEVEL, REPLICATES, intervals
from iqagpt.agreement.coefficients import (
    Coefficient,
    Ratings,
    intraclass_correlation,
    ordinal_alpha,
    raw_agreement,
    weighted_kappa,
)

ALL = "all"
PATIENT = "patient_id"
#: What is added to a criterion's name for "is there anything to rate at all", as for lesions.
PRESENCE = "_present"
READING_COLUMNS = ("item", "cluster", "reader", "criterion", "score", "absent")
COLUMNS = (
    "criterion", "readers", "coefficient", "value", "lower", "upper", "interval", "images", "clusters",
)  # fmt: skip

_PAIRWISE: dict[str, Callable[[Ratings], Coefficient]] = {
    "raw_agreement": raw_agreement,
    "kappa_linear": lambda ratings: weighted_kappa(ratings, "linear"),
    "kappa_quadratic": lambda ratings: weighted_kappa(ratings, "quadratic"),
}
_JOINT: dict[str, Callable[[Ratings], Coefficient]] = {
    "krippendorff_alpha": ordinal_alpha,
    "icc_2_1": lambda ratings: intraclass_correlation(ratings, average=False),
    "icc_2_k": lambda ratings: intraclass_correlation(ratings, average=True),
}
#: Two answers, yes and no: all weights of kappa are alike.
_PRESENCE: dict[str, Callable[[Ratings], Coefficient]] = {
    "raw_agreement": raw_agreement,
    "kappa": lambda ratings: weighted_kappa(ratings, "linear"),
    "krippendorff_alpha": ordinal_alpha,
}


def agreement_table(readings: pd.DataFrame, *, seed: int, replicates: int = REPLICATES) -> pd.DataFrame:
    """Compute every coefficient of every criterion, for all readers together and for each two of them.

    Parameters
    ----------
    readings : DataFrame
        One row per image, reader and criterion, columns `READING_COLUMNS`: ``score`` a number, missing where the
        reader found nothing to rate (then ``absent`` is true) or gave no rating. Several images of one ``cluster``
        (patient) are resampled together.
    seed : int
        Of the bootstrap.
    replicates : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. ``value``, ``lower`` and ``upper`` are missing where undefined, such as kappa of two readers
        who gave one and the same score throughout. Scores are compared on the images that both, for ICC all, readers
        scored; where some reader found nothing to rate, ``<criterion>_present`` compares yes and no on all of theirs.
    """
    clusters = {name: code for code, name in enumerate(sorted(readings["cluster"].unique()))}
    readers = sorted(readings["reader"].unique())
    parts = []
    for criterion, rows in readings.groupby("criterion", sort=False):
        answered = rows[rows["score"].notna() | rows["absent"]]
        jobs = _jobs(_ratings(answered, "score", readers, clusters), readers, _PAIRWISE | _JOINT, _PAIRWISE)
        parts.append(_rows(str(criterion), jobs, seed, replicates))
        if answered["absent"].any():
            presence = answered.assign(present=answered["score"].notna().astype(float))
            jobs = _jobs(_ratings(presence, "present", readers, clusters), readers, _PRESENCE, _PRESENCE)
            parts.append(_rows(f"{criterion}{PRESENCE}", jobs, seed, replicates))
    return pd.DataFrame([row for part in parts for row in part], columns=list(COLUMNS))


def agreement_metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return what all readers together have, by criterion and coefficient; undefined values are left out."""
    together = table[(table["readers"] == ALL) & table["value"].notna()]
    return {
        str(criterion): dict(zip(rows["coefficient"], map(float, rows["value"]), strict=True))
        for criterion, rows in together.groupby("criterion", sort=False)
    }


def describe_table(table: pd.DataFrame, cluster: str) -> str:
    """Write a table of agreement for reading.

    Parameters
    ----------
    table : DataFrame
        From `agreement_table`.
    cluster : str
        What was resampled, such as ``patient_id``.
    """
    cells = [
        (
            row.criterion, row.readers, row.coefficient, _number(row.value),
            "-" if row.interval == "none" else f"{_number(row.lower)} to {_number(row.upper)}", str(row.images),
        )
        for row in table.itertuples()
    ]  # fmt: skip
    cells.insert(0, ("criterion", "readers", "coefficient", "value", f"{LEVEL:.0%} interval", "images"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    lines.append(f"Intervals by bootstrap over {cluster}.")
    fewest = int(table["clusters"].min()) if len(table) else 0
    if fewest < FEW:
        lines.append(f"There are as few as {fewest} different {cluster}: intervals from fewer than {FEW} mean little.")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.3f}"


Job = tuple[str, str, Ratings, Coefficient]


def _jobs(
    ratings: Ratings,
    readers: list[str],
    together: dict[str, Callable[[Ratings], Coefficient]],
    pairwise: dict[str, Callable[[Ratings], Coefficient]],
) -> list[Job]:
    jobs = [(ALL, name, ratings, compute(ratings)) for name, compute in together.items()]
    # Two readers are one pair, and "all" has it already.
    for first, second in combinations(range(len(readers)), 2) if len(readers) > 2 else []:
        pair = ratings.select(first, second)
        names = f"{readers[first]} / {readers[second]}"
        jobs += [(names, name, pair, compute(pair)) for name, compute in pairwise.items()]
    return jobs


def _rows(criterion: str, jobs: list[Job], seed: int, replicates: int) -> list[tuple]:
    found = intervals([job[3] for job in jobs], seed=seed, replicates=replicates)
    return [
        (
            criterion, names, coefficient, one.value, one.lower, one.upper, one.method,
            int(used.used.sum()), len(np.unique(ratings.clusters[used.used])),
        )
        for (names, coefficient, ratings, used), one in zip(jobs, found, strict=True)
    ]  # fmt: skip


def _ratings(rows: pd.DataFrame, column: str, readers: list[str], clusters: dict[str, int]) -> Ratings:
    values = rows.set_index(["item", "reader"])[column].unstack().reindex(columns=readers)  # noqa: PD010
    cluster = rows.drop_duplicates("item").set_index("item")["cluster"].map(clusters).loc[values.index]
    return Ratings(values.to_numpy(dtype=float, na_value=np.nan), cluster.to_numpy(dtype=int), len(clusters))
