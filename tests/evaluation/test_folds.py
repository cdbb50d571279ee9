"""A cross-validation gathered from real DVC experiments of a small repository, and from made-up ones."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from iqagpt.cli import app
from iqagpt.criteria import KEYS
from iqagpt.errors import InputError
from iqagpt.evaluation.folds import Fold, find_folds, gather, render

STAGE = """
import json, pathlib, yaml
fold = yaml.safe_load(open("params.yaml"))["split"]["fold"]
if fold == 3:
    raise SystemExit("no")
for folder in ("metrics", "results", "data/split"):
    pathlib.Path(folder).mkdir(exist_ok=True, parents=True)
sides = [f"P{p},{'test' if p // 2 == fold else 'train'}" for p in range(7)]
pathlib.Path("data/split/manifest.csv").write_text("\\n".join(["patient_id,split", *sides, "P7,pretrain"]) + "\\n")
metrics = {m: {"accuracy": {"mean": level + fold / 10}} for m, level in (("iqagpt", 0.7), ("majority", 0.4))}
json.dump(metrics | {"n_images": 8}, open("metrics/evaluate.json", "w"))
rows = [f"P{2 * fold + p},8,{right},{right},{right},{right},{m}" for p in (0, 1) for m, right in (("iqagpt", 6), ("majority", 3))]
head = "patient_id,images,noise,small_structures,lesion_conspicuity,diagnostic_confidence,method"
pathlib.Path("results/patients.csv").write_text("\\n".join([head, *rows]) + "\\n")
"""
PIPELINE = """
stages:
  evaluate:
    cmd: python stage.py
    params: [split, train]
    outs: [results, data/split]
    metrics:
    - metrics/evaluate.json:
        cache: false
"""


def call(folder: Path, *words: str, may_fail: bool = False) -> None:
    python = f"cmd: {sys.executable} stage.py"
    file = folder / "dvc.yaml"
    if file.exists() and python not in file.read_text():
        file.write_text(file.read_text().replace("cmd: python stage.py", python))
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert may_fail or done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fold 1 is committed; folds 0 and 2 are experiments, and so is one with another learning rate."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("folds")
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("split: {fold: 1}\ntrain: {lr: 0.1}\n")
    (folder / ".gitignore").write_text("/results\n/data\n")
    dvc = (sys.executable, "-m", "dvc")
    call(folder, "git", "init", "--quiet")
    call(folder, "git", "config", "user.email", "a@example.org")
    call(folder, "git", "config", "user.name", "a")
    call(folder, *dvc, "init", "--quiet")
    call(folder, *dvc, "repro", "--quiet")
    call(folder, "git", "add", ".")
    call(folder, "git", "commit", "--quiet", "--message", "a")
    for values in (("split.fold=0",), ("split.fold=2",), ("split.fold=0", "train.lr=0.2")):
        call(folder, *dvc, "exp", "run", "--quiet", *(word for value in values for word in ("-S", value)))
    call(folder, "git", "checkout", "--quiet", ".")
    return folder


def test_experiments_over_the_fold_become_one_table(repository: Path) -> None:
    folds, notes = find_folds(repository)
    assert [fold.number for fold in folds] == [0, 1, 2]
    assert folds[1].name == "HEAD"
    assert len(notes) == 1
    assert "differ from params.yaml in more than split.fold" in notes[0]
    found = gather(folds, draws=300, seed=1)
    assert found.patients == 6
    assert found.untested == ("P6",)
    pooled = found.pooled.set_index("method")
    assert pooled.loc["iqagpt", "value"] == 0.75
    assert pooled.loc["majority", ["value", "difference"]].tolist() == [0.375, 0.375]
    assert pooled.loc["majority", "p"] == pooled.loc["majority", "p_holm"] == 2 / 2**6
    values = found.by_fold.set_index(["method", "measure", "fold"])["value"]
    assert values["majority", "accuracy", 2] == pytest.approx(0.6)
    assert np.isnan(values["majority", "srocc", 2])


def test_the_command_prints_and_writes_it(repository: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["folds", "--root", str(repository), "--output", str(tmp_path / "folds.csv")])
    assert result.exit_code == 0, result.output
    assert "3 folds, 6 patients" in result.output
    assert "| majority | accuracy | 0.400  | 0.500  | 0.600  | 0.500 | 0.100 |" in result.output
    assert "the smallest it can give is 0.0312" in result.output
    assert pd.read_csv(tmp_path / "folds.csv")["method"].tolist() == ["iqagpt", "majority"]


def test_a_failed_experiment_does_not_stand_for_its_fold(repository: Path, tmp_path: Path) -> None:
    """Its revision still holds the commit's own results, of fold 1."""
    folder = Path(shutil.copytree(repository, tmp_path / "copy"))
    dvc = (sys.executable, "-m", "dvc")
    call(folder, *dvc, "exp", "run", "--quiet", "--queue", "-S", "split.fold=3")
    notes = find_folds(folder)[1]
    assert any("left out, DVC says 'Queued'" in note for note in notes)
    call(folder, *dvc, "exp", "run", "--quiet", "--run-all", may_fail=True)
    folds, notes = find_folds(folder)
    assert [fold.number for fold in folds] == [0, 1, 2]
    assert any("left out, DVC says 'Failed'" in note for note in notes)


def test_results_that_no_cache_holds_any_more_are_one_message(repository: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(repository, tmp_path / "copy")
    shutil.rmtree(folder / ".dvc/cache")
    with pytest.raises(InputError, match="left out, its results cannot be read"):
        find_folds(folder)


def test_no_repository_and_no_experiment_are_one_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["folds", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "DVC cannot list its experiments" in result.output


def fold(number: int, *patients: str, methods: tuple[str, ...] = ("majority", "iqagpt")) -> Fold:
    rows = pd.DataFrame(
        [(m, p, 8, *[6 if m == "iqagpt" else 3] * 4) for m in methods for p in patients],
        columns=["method", "patient_id", "images", *KEYS],
    )
    return Fold(f"exp-{number}", number, {m: {"accuracy": {"mean": 0.5}} for m in methods} | {"n_images": 8}, rows)


def test_a_patient_may_test_once() -> None:
    with pytest.raises(InputError, match="patient P2 tests in 2 folds"):
        gather([fold(0, "P1", "P2"), fold(1, "P2", "P3")], draws=200, seed=1)


def test_methods_of_some_folds_only_are_left_out_and_few_patients_are_named() -> None:
    found = gather([fold(0, "P1"), fold(1, "P2", methods=("iqagpt", "majority", "vit_c"))], draws=200, seed=1)
    assert found.pooled["method"].tolist() == ["iqagpt", "majority"]
    assert "TOO FEW PATIENTS: 2." in render(found)
    assert "INCOMPLETE: not in every fold, and left out: vit_c." in render(found)


def test_missing_folds_and_patients_who_never_test_are_named() -> None:
    everyone = frozenset(f"P{number}" for number in range(1, 6))
    parts = [replace(fold(0, "P1"), everyone=everyone), replace(fold(2, "P3"), everyone=everyone)]
    found = gather(parts, draws=200, seed=1)
    assert found.untested == ("P2", "P4", "P5")
    text = render(found)
    assert "no fold 1 (dvc exp run -S split.fold=1)" in text
    assert "3 of 5 patients never test (P2, P4, P5)" in text
    whole = gather([replace(fold(0, *sorted(everyone)), everyone=everyone)], draws=200, seed=1)
    assert "INCOMPLETE" not in render(whole)
