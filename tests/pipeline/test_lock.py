"""The committed ``dvc.lock`` belongs to the committed code, parameters and metrics: a stale lock cannot land."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from workspace import REPOSITORY, Workspace, read_yaml

#: DVC 3.67 uses a call that pygtrie is about to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

REMEDY = "run dvc repro, and commit dvc.lock and metrics/"
IN_GIT = ("iqagpt/", "stages/", "presets/", "metrics/")

if not (REPOSITORY / "dvc.lock").exists():
    pytest.skip("there is no dvc.lock: the pipeline has not been run here", allow_module_level=True)

LOCK: dict[str, dict[str, Any]] = read_yaml(REPOSITORY / "dvc.lock")["stages"]


@pytest.fixture(scope="module")
def stages(plain_copy: Workspace) -> dict[str, PipelineStage]:
    with Repo(str(plain_copy.path)) as repo:
        return {stage.name: stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_lock_has_the_stages_of_the_pipeline_and_none_else(stages: dict[str, PipelineStage]) -> None:
    assert set(LOCK) == set(stages), REMEDY


@pytest.mark.parametrize("name", LOCK)
def test_command_and_paths_are_current(name: str, stages: dict[str, PipelineStage]) -> None:
    assert name in stages, REMEDY
    stage = stages[name]
    assert LOCK[name]["cmd"] == stage.cmd, REMEDY
    files = {dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)}
    assert {entry["path"] for entry in LOCK[name].get("deps", [])} == files, REMEDY
    assert {entry["path"] for entry in LOCK[name].get("outs", [])} == {out.def_path for out in stage.outs}, REMEDY


@pytest.mark.parametrize("name", LOCK)
def test_params_are_current(name: str, stages: dict[str, PipelineStage]) -> None:
    """Compare as DVC does, which knows that 1e-05 and 1.0e-5 are one number."""
    assert name in stages, REMEDY
    tracked = [dep for dep in stages[name].deps if isinstance(dep, ParamsDependency)]
    assert [dep.workspace_status() for dep in tracked] == [{}] * len(tracked), REMEDY
    recorded = LOCK[name].get("params", {}).get("params.yaml", {})
    assert set(recorded) == {section for dep in tracked for section in dep.params}, REMEDY


@pytest.mark.parametrize("name", LOCK)
def test_files_in_git_are_the_ones_that_ran(name: str) -> None:
    """Code, presets and metrics of the tree have the hashes of the run."""
    changed = []
    for entry in LOCK[name].get("deps", []) + LOCK[name].get("outs", []):
        if entry["path"].startswith(IN_GIT):
            file = REPOSITORY / entry["path"]
            if not file.is_file() or md5(file) != entry["md5"]:
                changed.append(entry["path"])
    assert not changed, REMEDY


def test_a_stage_read_what_another_wrote() -> None:
    """The hash of each input that is a stage's output is that output's: the lock comes from one run."""
    outs = {entry["path"]: entry["md5"] for stage in LOCK.values() for entry in stage.get("outs", [])}
    for name, stage in LOCK.items():
        for entry in stage.get("deps", []):
            if entry["path"] in outs:
                assert entry["md5"] == outs[entry["path"]], f"{name}: {entry['path']}; {REMEDY}"


def test_lock_names_no_place_outside_the_repository() -> None:
    for stage in LOCK.values():
        for entry in stage.get("deps", []) + stage.get("outs", []):
            assert not entry["path"].startswith(("/", "~", "..")), entry["path"]
