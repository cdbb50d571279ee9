"""The same tuning effort for every method, on a phantom of another seed than the one that is reported.

Command: ``python benchmarks/tuning.py --seed 31 --only train vit_c``. Makes the data of ``phantom.seed`` in a clone below
``--folder`` (or takes ``--data``), fits every method with each setting of its grid, and names the one with the highest mean
accuracy on val. The choice goes into params.yaml by hand; the reported phantom is not looked at.

What has been fitted stands in ``tuning.csv`` there and is not fitted again, as long as params.yaml says the same: stop at any
time and start again, or run a few methods or ``--most`` fits at a time. On a GPU ``--parallel 8`` fits eight at once.
"""

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
import yaml

from iqagpt.artifacts import write_table
from iqagpt.score_metrics import accuracy

#: Of the tuning phantom: as many patients train as in the demo, and four choose instead of one.
SPLIT = {"test_patients": 1, "val_patients": 4, "fold": 4}
#: Six settings a method. Fitted ones have three rates, each twice the one before, and two batches, one twice the other, around
#: what their kind of model usually takes. All else, epochs too, is as in params.yaml.
GRIDS = {
    "train": {"lr": [5e-4, 1e-3, 2e-3], "batch_size": [8, 16]},
    "vit_c": {"lr": [5e-4, 1e-3, 2e-3], "batch_size": [8, 16]},
    "vit_r": {"lr": [5e-4, 1e-3, 2e-3], "batch_size": [8, 16]},
    "clip_iqa_plus": {"lr": [5e-3, 1e-2, 2e-2], "batch_size": [32, 64]},
    "minigpt4": {"lr": [1.5e-3, 3e-3, 6e-3], "batch_size": [12, 24]},
    "noise_sd": {"bands_px": [[1.0, 2.0], [1.4, 2.8], [2.0, 4.0]], "leaves": [6, 8]},
}
COLUMNS = ("data", "start", "method", "section", "settings", "val", "test")


def make_data(folder: Path, seed: int) -> Path:
    """Clone the last commit, unless it is there, and run it up to the captions with another phantom."""
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["phantom"]["seed"] = seed
    params["split"] = SPLIT
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = "."
    subprocess.run(["dvc", "repro", "caption"], cwd=folder, check=True, env=environment)
    return folder / "data"


def settings(grid: dict[str, list]) -> list[dict]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def changed_params(method: str, changes: dict) -> tuple[dict, dict]:
    """Return params.yaml with changes to a method's section, and that section."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    section = params["train"] if method == "train" else params["baseline"][method]
    unknown = set(changes) - set(section)
    if unknown:
        raise SystemExit(f"{method}: params.yaml has no key {', '.join(sorted(unknown))}")
    section.update(changes)
    return params, section


def start(data: Path, folder: Path) -> Path:
    """Make what every fit starts from, as section ``pretrain`` of params.yaml says, unless it is there."""
    section = yaml.safe_load(Path("params.yaml").read_text())["pretrain"]
    content = json.dumps([str(data), section], sort_keys=True)
    pretrained = folder / f"pretrained_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if not pretrained.exists():
        given = [f"--{kind}={data / kind}" for kind in ("variants", "split", "captions")]
        run("pretrain", *given, "--output", pretrained, "--metrics", pretrained.with_suffix(".json"))
    return pretrained


def fit(method: str, params: dict, data: Path, pretrained: Path, folder: Path) -> dict[str, float]:
    """Fit a method; return its mean accuracy on val and on test of the tuning phantom."""
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    given = ["--variants", data / "variants", "--split", data / "split"]
    model, table = folder / "model", folder / "predictions.csv"
    common = ["--params", file, "--pretrained", pretrained, "--output", model]
    labelled = [*given, "--captions", data / "captions", *common]
    if method == "train":
        run("train", *labelled, "--metrics", folder / "train.json")
        saved = ["--output", table, "--metrics", folder / "predict.json"]
        run("predict", "--model", model, *given, *saved, "--params", file)
    else:
        run("baseline", method, *labelled, "--pairs", data / "pairs", "--predictions", table)
    return held_out_accuracy(pd.read_csv(table), pd.read_csv(data / "captions/manifest.csv"))


def fitted(row: dict[str, str], params: dict, data: Path, pretrained: Path) -> dict:
    """Return a row of the table with what its fit gave."""
    with tempfile.TemporaryDirectory() as folder:
        return row | fit(row["method"], params, data, pretrained, Path(folder))


def gather(jobs: list[Future], rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Add each row as it comes and write the table; a fit that failed stops the rest."""
    try:
        for job in as_completed(jobs):
            row = job.result()
            rows = pd.DataFrame([*rows.to_dict("records"), row], columns=list(COLUMNS))
            write_table(table, rows)
            print(f"{row['method']:13} {row['settings']}: val {row['val']:.3f}, test {row['test']:.3f}", flush=True)
    finally:
        for job in jobs:
            job.cancel()
    return rows


def held_out_accuracy(predicted: pd.DataFrame, captions: pd.DataFrame) -> dict[str, float]:
    predicted = predicted.assign(unparsed=predicted["unparsed"].astype(object).fillna(""))
    truth = captions.set_index("image_id").loc[predicted["image_id"]].reset_index()
    sides = {name: (predicted["split"] == name).to_numpy() for name in ("val", "test")}
    if not sides["val"].any():
        raise SystemExit("no image is in split 'val', and test may choose nothing: set split.val_patients for --data")
    return {name: accuracy(truth[rows], predicted[rows])["mean"] for name, rows in sides.items()}


def run(name: str, *options: object) -> None:
    command = [sys.executable, "-m", f"stages.{name}", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": ".", "IQAGPT_CHECKPOINTS": "off"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")


def choose(rows: pd.DataFrame) -> list[str]:
    """Return a line for every method: its best setting by val, of equally good ones the first, and how it did on test."""
    lines = []
    for method, found in rows.groupby("method", sort=False):
        best = found.loc[found["val"].idxmax()]
        tried = f"{len(found)} of {len(settings(GRIDS[method]))} settings"
        lines.append(f"{method}: {best['settings']}, val {best['val']:.3f}, test {best['test']:.3f} ({tried})")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=31, help="phantom.seed of the tuning data")
    parser.add_argument("--data", type=Path, help="data folder of a run with that phantom, instead of making it")
    parser.add_argument("--folder", type=Path, default=Path(".iqagpt/tuning"), help="for the data and what was found")
    parser.add_argument("--only", choices=list(GRIDS), nargs="+", default=list(GRIDS))
    parser.add_argument("--most", type=int, help="fits in this run; default: all that are left")
    parser.add_argument("--parallel", type=int, default=1, help="fits at once")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data = (arguments.data or make_data(arguments.folder / f"phantom_{arguments.seed}", arguments.seed)).resolve()
    table = arguments.folder / "tuning.csv"
    rows = pd.read_csv(table) if table.exists() else pd.DataFrame(columns=list(COLUMNS))
    pretrained = start(data, arguments.folder)
    place = {"data": str(data), "start": pretrained.name}
    left = []
    for method in arguments.only:
        for changes in settings(GRIDS[method]):
            params, section = changed_params(method, changes)
            row = place | {"method": method, "section": json.dumps(section, sort_keys=True)}
            if not (rows[list(row)] == pd.Series(row)).all(axis=1).any():
                left.append((row | {"settings": json.dumps(changes)}, params))
    with ThreadPoolExecutor(arguments.parallel) as pool:
        jobs = [pool.submit(fitted, row, params, data, pretrained) for row, params in left[: arguments.most]]
        rows = gather(jobs, rows, table)
    here = rows[(rows[list(place)] == pd.Series(place)).all(axis=1) & rows["method"].isin(arguments.only)]
    print("\n".join(["chosen by val:", *choose(here)]))


if __name__ == "__main__":
    main()
