"""The shipped captioner on the phantoms of a finished run, which it has never seen, beside the run's own methods.

Command: ``python benchmarks/shipped.py [--model iqagpt/shipped/captioner] [--run .]``, after ``dvc repro``. Prints accuracy,
PLCC and SROCC on the run's test split, from parsed and from expected scores, with the ceiling; the methods of the run had its own
training patients only.
"""

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd
from tuning import run

from iqagpt.artifacts import open_artifact
from iqagpt.criteria import KEYS
from iqagpt.predictions import expected_scores, probability_columns
from iqagpt.score_metrics import accuracy, correlations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("iqagpt/shipped/captioner"))
    parser.add_argument("--run", type=Path, default=Path())
    options = parser.parse_args()
    data, metrics = options.run / "data", options.run / "metrics"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "predictions.csv"
        given = ["--variants", data / "variants", "--split", data / "split", "--output", table]
        run("predict", "--model", options.model, *given, "--metrics", Path(folder) / "predict.json")
        predicted = pd.read_csv(table).query("split == 'test'").reset_index(drop=True)
    predicted["unparsed"] = predicted["unparsed"].astype(object).fillna("")
    truth = open_artifact(data / "captions", "captions").manifest.set_index("image_id").loc[predicted["image_id"]]
    truth = truth.reset_index()
    columns = [column for key in KEYS for column in probability_columns(key)]
    expected = expected_scores(predicted[columns]).assign(unparsed="")
    evaluated = json.loads((metrics / "evaluate.json").read_text())
    ceiling = json.loads((metrics / "read.json").read_text())[evaluated["score_source"]]["ceiling"]["accuracy"]
    rows = {"shipped captioner": accuracy(truth, predicted), "ceiling": ceiling}
    rows |= {f"{name}, of the run": found["accuracy"] for name, found in evaluated.items() if isinstance(found, dict)}
    print(f"accuracy on {len(truth)} test images; scores: {evaluated['score_source']}")
    print(pd.DataFrame(rows).T[[*KEYS, "mean"]].round(3).to_string())
    print(f"share of the ceiling: {rows['shipped captioner']['mean'] / ceiling['mean']:.3f}")
    for name, scores in (("parsed", predicted), ("expected", expected)):
        found = correlations(truth, scores)
        shown = ", ".join(f"{kind} {values['mean']:.3f}" for kind, values in found.items())
        print(f"from {name} scores: {shown}")


if __name__ == "__main__":
    main()
