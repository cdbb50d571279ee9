"""The same tuning effort for every method, on a phantom of another seed than the one that is reported.

Command: ``python benchmarks/tuning.py --seed 31 --only train``. Makes the data of ``phantom.seed`` in a clone (or takes
``--data``), fits every method with each setting of its grid, and prints accuracy on the held-out patients of that phantom.
The choice goes into params.yaml by hand; the reported phantom is not looked at.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from iqagpt.score_metrics import accuracy

#: Settings tried, as many for each fitted method; the noise measure fits in no time and gets more.
RECIPE = {"lr": [5e-4, 1e-3, 2e-3]}
GRIDS = {
    "train": RECIPE,
    "vit_c": RECIPE,
    "vit_r": RECIPE,
    "noise_sd": {"bands_px": [[0.7, 1.4], [1.0, 2.0], [1.4, 2.8], [2.0, 4.0]], "leaves": [4, 6, 8]},
}


def make_data(folder: Path, seed: int) -> Path:
    """Clone the last commit and run it up to the captions with another phantom."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["phantom"]["seed"] = seed
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["dvc", "repro", "caption"], cwd=folder, check=True, env=environment)
    return folder


def settings(grid: dict[str, list]) -> list[dict]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def start(data: Path, pretrained: Path) -> None:
    """Make what every fit starts from, as section ``pretrain`` of params.yaml says."""
    given = [f"--{kind}={data / kind}" for kind in ("variants", "split", "captions")]
    run("pretrain", *given, "--output", pretrained, "--metrics", pretrained.with_suffix(".json"))


def held_out_accuracy(method: str, changes: dict, data: Path, pretrained: Path, folder: Path) -> dict[str, float]:
    """Fit a method with changed parameters; return its accuracy on val and test of the tuning phantom."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    section = params["train"] if method == "train" else params["baseline"][method]
    section.update(changes)
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    given = ["--variants", data / "variants", "--split", data / "split"]
    labelled = [*given, "--captions", data / "captions", "--pretrained", pretrained]
    common, table = ["--params", file], folder / "predictions.csv"
    if method == "train":
        run("train", *labelled, "--output", folder / "model", "--metrics", folder / "train.json", *common)
        saved = ["--output", table, "--metrics", folder / "predict.json"]
        run("predict", "--model", folder / "model", *given, *saved, *common)
    else:
        run("baseline", method, *labelled, "--output", folder / "model", "--predictions", table, *common)
    predicted = pd.read_csv(table).set_index("image_id")
    predicted["unparsed"] = predicted["unparsed"].astype(object).fillna("")
    truth = pd.read_csv(data / "captions/manifest.csv").set_index("image_id").loc[predicted.index]
    return accuracy(truth.reset_index(), predicted.reset_index())


def run(name: str, *options: object) -> None:
    command = [sys.executable, "-m", f"stages.{name}", *map(str, options)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=31, help="phantom.seed of the tuning data")
    parser.add_argument("--data", type=Path, help="data folder of a run with that phantom, instead of making it")
    parser.add_argument("--only", choices=list(GRIDS), nargs="+", default=list(GRIDS))
    parser.add_argument("--change", nargs="*", default=[], metavar="KEY=VALUE", help="further values, for all settings")
    arguments = parser.parse_args()
    further = {key: yaml.safe_load(value) for key, value in (item.split("=") for item in arguments.change)}
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or make_data(Path(folder) / "tuning", arguments.seed) / "data"
        pretrained = Path(folder) / "pretrained"
        start(data, pretrained)
        for method in arguments.only:
            for changes in settings(GRIDS[method]):
                work = Path(folder) / "fit"
                work.mkdir()
                found = held_out_accuracy(method, changes | further, data, pretrained, work)
                shutil.rmtree(work)
                cells = " ".join(f"{key} {value:.3f}" for key, value in found.items())
                print(f"{method:10} {changes | further}: {cells}", flush=True)


if __name__ == "__main__":
    main()
