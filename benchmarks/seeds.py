"""Tables 1-4 of the demo as the mean over seeds of the three fitted models.

Command: ``python benchmarks/seeds.py --seeds 1 2 3 --output benchmarks/results``. Needs ``data/`` and ``predictions/`` from
``dvc repro``. Images, scores and split stay the same; only ``pretrain.seed``, ``train.seed``, ``baseline.vit_c.seed`` and
``baseline.vit_r.seed`` change, so the spread is that of fitting, first weights included.
The workspace's own models, predictions and metrics are not touched; its own seed's are taken as they are. ``seed_N.json`` there
holds what another seed gave; it is not fitted again as long as params.yaml and data stay the same; delete it when the code has
changed. So seeds may run one at a time, or side by side.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

FITTED = ("vit_c", "vit_r")
INPUTS = ["--variants", "data/variants", "--captions", "data/captions", "--split", "data/split"]


def seeded(seed: int) -> dict:
    """Return params.yaml with one seed for everything that is fitted here."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["pretrain"]["seed"] = params["train"]["seed"] = seed
    for name in FITTED:
        params["baseline"][name]["seed"] = seed
    return params


def found(seed: int, file: Path) -> dict:
    """Return what the workspace or `file` holds of this seed, or fit, predict and evaluate and write it."""
    params = seeded(seed)
    if params == yaml.safe_load(Path("params.yaml").read_text()):
        return {name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("evaluate", "by_variant")}
    content = json.dumps([params, Path("data/captions/manifest.csv").read_text()], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()
    if file.exists():
        run = json.loads(file.read_text())
        if run["key"] == key:
            return run
    with tempfile.TemporaryDirectory() as folder:
        run = {"key": key, **run_seed(params, Path(folder))}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")
    return run


def run_seed(params: dict, folder: Path) -> dict:
    """Fit, predict and evaluate; return the evaluation metrics."""
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    common = ["--params", str(file)]
    predictions = folder / "predictions"
    pretrained = folder / "pretrained"
    stage("pretrain", *INPUTS, "--output", pretrained, "--metrics", folder / "pretrain.json", *common)
    start = ["--pretrained", pretrained]
    stage("train", *INPUTS, *start, "--output", folder / "iqagpt", "--metrics", folder / "train.json", *common)
    given = ["--variants", "data/variants", "--split", "data/split"]
    stage(
        "predict",
        "--model",
        folder / "iqagpt",
        *given,
        "--output",
        predictions / "iqagpt.csv",
        "--metrics",
        folder / "predict.json",
        *common,
    )
    for name in params["evaluate"]["baselines"]:
        if name in FITTED:
            outputs = ["--output", folder / name, "--predictions", predictions / f"{name}.csv"]
            stage("baseline", name, *INPUTS, "--pairs", "data/pairs", *start, *outputs, *common)
        else:
            shutil.copy(Path("predictions") / f"{name}.csv", predictions / f"{name}.csv")
    metrics = folder / "evaluate.json"
    stage(
        "evaluate", "--predictions", predictions, "--captions", "data/captions", "--split", "data/split",
        "--variants", "data/variants", "--output", folder / "results", "--metrics", metrics,
        "--by-variant", folder / "by_variant.json", *common,
    )  # fmt: skip
    return {
        "evaluate": json.loads(metrics.read_text()),
        "by_variant": json.loads((folder / "by_variant.json").read_text()),
    }


def stage(name: str, *options: object) -> None:
    print(f"  {name} {options[0] if name == 'baseline' else ''}", flush=True)
    command = [sys.executable, "-m", f"stages.{name}", *map(str, options)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})


def mean_of(nodes: list) -> object:
    """Average numbers leaf by leaf; a leaf that is undefined in one run is left out."""
    if isinstance(nodes[0], dict):
        shared = [key for key in nodes[0] if all(key in node for node in nodes)]
        return {key: mean_of([node[key] for node in nodes]) for key in shared}
    if isinstance(nodes[0], int | float):
        return round(statistics.fmean(nodes), 6)
    return nodes[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    runs = []
    for seed in arguments.seeds:
        print(f"seed {seed}", flush=True)
        runs.append(found(seed, arguments.output / f"seed_{seed}.json"))
        accuracy = {m: v["accuracy"]["mean"] for m, v in runs[-1]["evaluate"].items() if isinstance(v, dict)}
        print(f"  mean accuracy {accuracy}", flush=True)
    content = {"seeds": arguments.seeds, "mean": mean_of(runs), "runs": runs}
    (arguments.output / "seeds.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    print_table(content["mean"]["evaluate"], runs)


def print_table(mean: dict, runs: list[dict]) -> None:
    print(f"\n{'method':22} {'accuracy':>9} {'spread':>14} {'PLCC':>7} {'SROCC':>7} {'BLEU-4':>7} {'CIDEr':>7}")
    for method, values in mean.items():
        if not isinstance(values, dict):
            continue
        single = [run["evaluate"][method]["accuracy"]["mean"] for run in runs]
        cells = [values.get("plcc", {}).get("mean"), values.get("srocc", {}).get("mean")]
        cells += [values.get("captioning", {}).get(key) for key in ("bleu_4", "cider")]
        text = " ".join(f"{'-' if cell is None else format(cell, '.3f'):>7}" for cell in cells)
        print(f"{method:22} {values['accuracy']['mean']:9.3f} {min(single):6.3f}-{max(single):.3f} {text}")


if __name__ == "__main__":
    main()
