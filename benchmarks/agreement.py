"""Time the table of agreement with its intervals beside a loop over resampled patients.

Command: ``python benchmarks/agreement.py``. One thousand images of 50 patients, four grades, three readers; one
criterion. The loop computes one of its coefficients alone, quadratic kappa of each two readers by scikit-learn.
"""

import time
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from iqagpt.agreement.bootstrap import REPLICATES
from iqagpt.agreement.summary import agreement_table

IMAGES, PATIENTS, READERS = 1000, 50, 3
LOOPED = 100


def main() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 5, IMAGES)
    values = np.clip(truth[:, None] + rng.integers(-1, 2, (IMAGES, READERS)), 1, 4)
    patients = rng.integers(0, PATIENTS, IMAGES)
    readings = pd.DataFrame(values, columns=[f"r{k}" for k in range(READERS)]).assign(
        item=range(IMAGES), cluster=patients, criterion="noise", absent=False
    )
    readings = readings.melt(["item", "cluster", "criterion", "absent"], var_name="reader", value_name="score")
    start = time.perf_counter()
    table = agreement_table(readings, seed=0)
    ours = time.perf_counter() - start
    print(f"{len(table)} coefficients with intervals, {REPLICATES} replicates: {ours:.2f} s")
    start = time.perf_counter()
    rows = [np.flatnonzero(patients == patient) for patient in range(PATIENTS)]
    for _ in range(LOOPED):
        drawn = values[np.concatenate([rows[k] for k in rng.integers(0, PATIENTS, PATIENTS)])]
        for first, second in combinations(drawn.T, 2):
            cohen_kappa_score(first, second, weights="quadratic")
    loop = (time.perf_counter() - start) / LOOPED * REPLICATES
    print(f"quadratic kappa alone by a loop over scikit-learn: {loop:.1f} s (from {LOOPED} replicates)")


if __name__ == "__main__":
    main()
