"""Time of the stage ``evaluate``: 200 captions of 10 patients, 8 methods and the floor, all metrics, 2,000 draws.

Command: ``python benchmarks/evaluation_speed.py --output benchmarks/results``. Made-up scores; one method gives fractional
scores, one probabilities. Writes the tables too, so that their form can be looked at.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, KEYS, scores_to_caption
from iqagpt.evaluation.comparison import Comparison
from iqagpt.evaluation.results import evaluate, write_results
from iqagpt.evaluation.tables import EvaluateParams
from iqagpt.predictions import probability_columns

VARIANTS = ("ndct", "ldct", "map_nn_d1", "map_nn_d2", "map_nn_d3", "map_nn_d4", "map_nn_d5", "red_cnn")
SOURCE = "random scores"
METHODS = ("iqagpt", "vit_c", "vit_r", "clip_iqa", "clip_iqa_plus", "minigpt4", "noise_sd", "majority")


def truth_table(images: int, rng: np.random.Generator) -> pd.DataFrame:
    slices = images // len(VARIANTS)
    rows = [(f"P{s % 10:02d}", f"P{s % 10:02d}_{s:03d}", v, k) for s in range(slices) for k, v in enumerate(VARIANTS)]
    table = pd.DataFrame(rows, columns=["patient_id", "slice_id", "variant", "kind"])
    level = np.array([1.0, 4.0, 3.6, 3.2, 2.8, 2.4, 2.0, 1.8])[table.pop("kind")]
    for key in KEYS:
        scores = np.clip(np.rint(level + rng.normal(0, 0.6, len(table))), 1, 4)
        lesion = table["slice_id"].str[-1].astype(int) % 2 == 0
        table[key] = pd.array(scores if key in ALWAYS_SCORED else np.where(lesion, scores, np.nan), dtype="Int64")
    table["image_id"] = table["slice_id"] + "_" + table["variant"]
    return table.assign(score_source="simulated", caption=captions(table))


def captions(table: pd.DataFrame) -> list[str]:
    whole = table[list(KEYS)].astype(float).round()
    return [
        scores_to_caption({key: None if np.isnan(row[key]) else int(row[key]) for key in KEYS})
        for row in whole.to_dict("records")
    ]


def predict(truth: pd.DataFrame, method: str, error: float, rng: np.random.Generator) -> pd.DataFrame:
    table = truth[["image_id"]].assign(method=method, unparsed="")
    for key in KEYS:
        scores = np.clip(truth[key].astype(float).fillna(2.0) + rng.normal(0, error, len(truth)), 1, 4)
        scores = scores if method == "vit_r" else scores.round()
        absent = (truth["lesion_conspicuity"].isna() ^ (rng.random(len(truth)) < 0.15)).to_numpy()
        table[key] = scores if key in ALWAYS_SCORED else np.where(absent, np.nan, scores)
    if method == "iqagpt":
        for key in KEYS:
            columns = probability_columns(key)
            table[columns] = rng.dirichlet(np.ones(len(columns)), len(table))
    return table.assign(caption=captions(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = truth_table(arguments.images, rng)
    tables = {name: predict(truth, name, 0.3 + 0.1 * place, rng) for place, name in enumerate(METHODS)}
    near = pd.DataFrame({name: rng.random(len(truth)) for name in ("psnr_db", "ssim", "rmse_hu")})
    near[truth["variant"] == "ndct"] = np.nan
    empty = Comparison("val", truth.iloc[:0], {name: table.iloc[:0] for name, table in tables.items()}, SOURCE)
    start = time.monotonic()
    settings = EvaluateParams(METHODS[1:], 2000, 1)
    results = evaluate(Comparison("test", truth, tables, SOURCE), empty, settings, near)
    write_results(arguments.output / "evaluation", results)
    print(f"{len(truth)} images, {len(tables)} methods: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
