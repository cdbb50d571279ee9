"""How often a 95 % interval of the clustered bootstrap holds the truth, for 5 to 80 patients.

Command: ``python benchmarks/bootstrap_coverage.py --repeats 1000``. Simulated readings: every patient has a level of
difficulty, every image of a patient (16) adds its own. The truth comes from 20,000 patients. Accuracy, PLCC, SROCC,
quadratic weighted kappa, and the difference of two methods' accuracy; 1,000 draws each. For comparison, the interval
that takes images as independent.
"""

import argparse
import time

import numpy as np

from iqagpt.agreement.bootstrap import intervals
from iqagpt.agreement.coefficients import Coefficient, Ratings, weighted_kappa
from iqagpt.evaluation.estimates import difference, pearson, ratio, spearman

IMAGES = 16
PATIENTS = (5, 10, 20, 40, 80)
MEASURES = ("accuracy", "difference", "plcc", "srocc", "kappa", "accuracy, images independent")


def simulate(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the reader's and two methods' scores, 1 to 4, (patients x IMAGES,)."""
    quality = rng.normal(2.5, 1.0, (patients, IMAGES))
    # A method errs more on some patients than on others, and in their direction.
    bias = rng.normal(0, 0.45, (2, patients, 1))
    noise = rng.normal(0, 1, (3, patients, IMAGES)) * np.array([0.25, 0.55, 0.65])[:, None, None]
    raw = [quality + noise[0], quality + bias[0] + noise[1], quality + bias[1] + noise[2]]
    return tuple(np.clip(np.rint(scores), 1, 4).ravel() for scores in raw)


def coefficients(scores: tuple[np.ndarray, ...], clusters: np.ndarray) -> list[Coefficient]:
    truth, first, second = scores
    every = np.ones(len(truth))
    accuracies = [ratio((method == truth).astype(float), every, clusters) for method in (first, second)]
    pair = Ratings(np.column_stack([truth, first]), clusters, int(clusters.max()) + 1)
    return [
        accuracies[0], difference(*accuracies), pearson(truth, first, clusters), spearman(truth, first, clusters),
        weighted_kappa(pair, "quadratic"),
    ]  # fmt: skip


def coverage(patients: int, truth: list[float], repeats: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of intervals that hold the truth, and their mean width, by measure."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(patients), IMAGES)
    held, width = np.zeros(len(MEASURES)), np.zeros(len(MEASURES))
    for repeat in range(repeats):
        scores = simulate(patients, rng)
        found = intervals(coefficients(scores, clusters), seed=repeat, replicates=1000)
        alone = ratio((scores[1] == scores[0]).astype(float), np.ones(len(clusters)), np.arange(len(clusters)))
        found += intervals([alone], seed=repeat, replicates=200)
        for place, (one, value) in enumerate(zip(found, [*truth, truth[0]], strict=True)):
            held[place] += one.lower <= value <= one.upper
            width[place] += one.upper - one.lower
    return held / repeats, width / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    many = 20_000
    scores = simulate(many, np.random.default_rng(0))
    truth = [one.value for one in coefficients(scores, np.repeat(np.arange(many), IMAGES))]
    print("truth:", ", ".join(f"{name} {value:.4f}" for name, value in zip(MEASURES, truth, strict=False)))
    print(f"| patients | {' | '.join(MEASURES)} | width of accuracy |")
    for patients in PATIENTS:
        start = time.monotonic()
        held, width = coverage(patients, truth, arguments.repeats, arguments.seed)
        cells = " | ".join(f"{100 * share:.1f}" for share in held)
        print(f"| {patients} | {cells} | {width[0]:.3f} |  {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
