"""The whole pipeline at the size of ``presets/smoke.yaml``: run from nothing, run again, forced, and as experiments.

It runs once; each test works on a copy of that state. The real repository and its cache are not used.
"""

import json
import shutil

from smoke_run import OUTPUTS, Finished, digest, lock, ran, skipped
from workspace import Workspace

DOWNSTREAM_OF_TRAIN = {"train", "predict", "evaluate", "report", "explain", "page"}


def test_everything_runs_from_nothing(finished: Finished) -> None:
    path = finished.workspace.path
    stages = lock(finished.workspace)
    assert sorted(ran(finished.output)) == sorted(stages)
    for stage in stages.values():
        for entry in stage["outs"]:
            assert (path / entry["path"]).exists(), entry["path"]
    assert any((path / "reports").iterdir())
    assert any((path / "results").iterdir())
    evaluation = json.loads((path / "metrics/evaluate.json").read_text(encoding="utf-8"))
    enabled = finished.workspace.params()["evaluate"]["baselines"]
    assert {"iqagpt", *enabled} <= set(evaluation)


def test_only_outputs_are_new_to_git(finished: Finished) -> None:
    """Data stay out of git, numbers and the lock go in, and no part of an artifact is left over."""
    listing = finished.workspace.check("git", "diff", "--name-only", "HEAD~1", "HEAD")
    assert {name.partition("/")[0] for name in listing.split()} <= {"dvc.lock", "metrics"}
    assert finished.workspace.check("git", "status", "--porcelain") == ""
    leftovers = [file for name in OUTPUTS for file in (finished.workspace.path / name).rglob("*.partial")]
    assert leftovers == []


def test_outputs_name_no_place_and_no_machine(finished: Finished) -> None:
    place = str(finished.workspace.path).encode()
    for name in OUTPUTS:
        for file in (finished.workspace.path / name).rglob("*"):
            assert not file.is_file() or place not in file.read_bytes(), file
    assert place not in (finished.workspace.path / "dvc.lock").read_bytes()


def test_second_run_skips_every_stage(finished: Finished, copy: Workspace) -> None:
    output = copy.check("dvc", "repro")
    assert ran(output) == []
    assert set(lock(finished.workspace)) <= set(skipped(output))
    assert copy.check("git", "status", "--porcelain") == ""


def test_forced_run_without_git_changes_nothing(finished: Finished, copy: Workspace) -> None:
    """Equal inputs give equal bytes; and a source archive, which has no ``.git``, works."""
    shutil.rmtree(copy.path / ".git")
    failed = copy.run("dvc", "status")
    assert failed.returncode != 0, "DVC no longer needs core.no_scm: simplify the Makefile"
    copy.check("dvc", "config", "--local", "core.no_scm", "true")
    before = digest(copy.path, "dvc.lock", *OUTPUTS)
    output = copy.check("dvc", "repro", "--force")
    assert sorted(ran(output)) == sorted(lock(finished.workspace))
    after = digest(copy.path, "dvc.lock", *OUTPUTS)
    assert [name for name in before | after if before.get(name) != after.get(name)] == []
    copy.check("dvc", "metrics", "show")


def test_experiment_reruns_only_what_the_parameter_reaches(finished: Finished, copy: Workspace) -> None:
    output = copy.check("dvc", "exp", "run", "-S", "train.lr=1e-5")
    assert {"train", "predict"} <= set(ran(output)) <= DOWNSTREAM_OF_TRAIN
    assert set(lock(finished.workspace)) - DOWNSTREAM_OF_TRAIN <= set(skipped(output))
    assert "1e-05" in (copy.path / "params.yaml").read_text(encoding="utf-8"), "the spelling that PyYAML reads as text"
    recorded = lock(copy)["train"]["params"]["params.yaml"]["train"]["lr"]
    assert float(recorded) == 1e-5


def test_experiment_in_a_temporary_copy(copy: Workspace) -> None:
    """``--temp`` runs the code of the copy, and leaves the workspace as it is."""
    before = digest(copy.path, "params.yaml", "dvc.lock", *OUTPUTS)
    output = copy.check("dvc", "exp", "run", "--temp", "--name", "slower", "-S", "train.lr=1e-5")
    assert {"train", "predict"} <= set(ran(output)) <= DOWNSTREAM_OF_TRAIN
    assert digest(copy.path, "params.yaml", "dvc.lock", *OUTPUTS) == before
    assert "slower" in copy.check("dvc", "exp", "list", "--name-only")
