"""What each pre-training objective buys: accuracy on val after the same fine-tuning.

Command: ``python benchmarks/pretraining_ablation.py --seeds 1 2 3 --output benchmarks/results``. Needs ``data/`` from
``dvc repro``; with ``phantom.pretrain_patients`` and ``ingest.pretrain_pairs`` above 0 their images are pre-trained on as well.
Ways: none, each objective alone, all four. A seed is that of pre-training and fine-tuning. Test patients are not looked at, and
the workspace's own models, predictions and metrics are not touched.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from iqagpt.predictions import read_predictions
from iqagpt.score_metrics import accuracy
from iqagpt.scored_images import open_scored_images

OBJECTIVES = ("contrast", "language", "image", "matching")
WAYS = {"none": (), **{name: (name,) for name in OBJECTIVES}, "all": OBJECTIVES}


def run(way: str, seed: int, params_file: Path, folder: Path) -> dict:
    """Pre-train in one way, fine-tune, predict; return figures on val and the losses of pre-training."""
    params = yaml.safe_load(params_file.read_text())
    given = params["pretrain"]["objectives"]
    if params["pretrain"]["encoder"]["stem"] == "focal":
        params["pretrain"]["encoder"]["stem"] = "conv"  # the path of lesions needs its own objective in every way
    params["pretrain"]["seed"] = params["train"]["seed"] = seed
    params["pretrain"]["source"] = "objectives" if WAYS[way] else "none"
    chosen = WAYS[way] or OBJECTIVES  # without pre-training they are unused, but may not all be off
    params["pretrain"]["objectives"] = {"lesion": 0.0} | {
        name: (given[name] or 1.0) if name in chosen else 0.0 for name in OBJECTIVES
    }
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    images = ["--variants", "data/variants", "--split", "data/split", "--params", file]
    captions = ["--captions", "data/captions"]
    pretrained, model, table = (folder / name for name in ("pretrained", "iqagpt", "iqagpt.csv"))
    stage("pretrain", *images, *captions, "--output", pretrained, "--metrics", folder / "pretrain.json")
    start = ["--pretrained", pretrained]
    stage("train", *images, *captions, *start, "--output", model, "--metrics", folder / "train.json")
    stage("predict", *images, "--model", model, "--output", table, "--metrics", folder / "predict.json")
    fitted = json.loads((folder / "train.json").read_text())
    losses = json.loads((folder / "pretrain.json").read_text()).get("losses", {})
    return {"accuracy": val_accuracy(table), "val_loss": fitted["val_loss"], "epoch": fitted["epoch"], "losses": losses}


def stage(name: str, *options: object) -> None:
    command = [sys.executable, "-m", f"stages.{name}", *map(str, options)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})


def val_accuracy(table: Path) -> dict[str, float]:
    predicted = read_predictions(table, "val")
    truth = open_scored_images(Path("data/variants"), Path("data/split"), Path("data/captions")).subset("val").table
    if truth["image_id"].tolist() != predicted["image_id"].tolist():
        raise SystemExit("data/ and the predictions differ in their val images; run dvc repro")
    return accuracy(truth, predicted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    found: dict[str, list[dict]] = {}
    print(f"{'way':10} {'seed':>4} {'accuracy':>9} {'val loss':>9} {'best epoch':>10}", flush=True)
    for way in arguments.ways:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as folder:
                result = run(way, seed, arguments.params, Path(folder))
            found.setdefault(way, []).append(result)
            values = f"{result['accuracy']['mean']:9.3f} {result['val_loss']:9.3f} {result['epoch']:10d}"
            print(f"{way:10} {seed:4d} {values}", flush=True)
    print("\nmean over seeds")
    for way, results in found.items():
        mean = {k: statistics.fmean(r["accuracy"][k] for r in results) for k in results[0]["accuracy"]}
        print(f"{way:10} " + ", ".join(f"{key} {value:.3f}" for key, value in mean.items()))
    arguments.output.mkdir(parents=True, exist_ok=True)
    content = {"seeds": arguments.seeds, "runs": found}
    (arguments.output / "pretraining.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
