"""``study/dvc.yaml``: the root's own stage commands with parameters of its own, and nothing at all while no study is named."""

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import closure
import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from workspace import REPOSITORY, Workspace, leaves, read_yaml

from iqagpt.config import load_section
from iqagpt.params_check import find_problems
from iqagpt.sections import STUDY_SECTIONS

#: DVC 3.67 uses a call that pygtrie is about to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

PIPELINE = "study/dvc.yaml"
PARAMS = read_yaml(REPOSITORY / "study/params.yaml")


def bodies(file: str) -> dict[str, dict[str, Any]]:
    return {name: node.get("do", node) for name, node in read_yaml(REPOSITORY / file)["stages"].items()}


ROOT, STUDY = bodies("dvc.yaml"), bodies(PIPELINE)


def named(tmp_path: Path, plain_copy: Workspace, **study: Any) -> Path:
    """Return a workspace of the pipelines alone, with values in section ``study``."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(plain_copy.path / name, tmp_path / name)
    for name in (".dvc", "study"):
        shutil.copytree(plain_copy.path / name, tmp_path / name)
    (tmp_path / "study/params.yaml").write_text(yaml.safe_dump(PARAMS | {"study": PARAMS["study"] | study}))
    return tmp_path


@pytest.mark.parametrize("name", sorted(set(STUDY) - {"study"}))
def test_stage_runs_the_roots_command_with_its_own_parameters(name: str) -> None:
    options = [re.findall(r"--[a-z-]+", stages[name]["cmd"]) for stages in (ROOT, STUDY)]
    # A study has no organ maps, which are in the root's pairs.
    assert options[1] == [*(option for option in options[0] if option != "--pairs"), "--params"]
    module = [stages[name]["cmd"].split(" --")[0].split()[:3] for stages in (ROOT, STUDY)]
    assert module[0] == module[1]


@pytest.mark.parametrize("name", STUDY)
def test_stage_reads_and_tracks_no_other_parameters(name: str) -> None:
    assert STUDY[name]["wdir"] == ".."
    assert STUDY[name]["cmd"].endswith(" --params study/params.yaml")
    section = "baseline.${item.method}" if name == "baseline" else name
    assert STUDY[name]["params"] == [{"study/params.yaml": [section]}]


@pytest.mark.parametrize("name", STUDY)
def test_command_names_every_data_dependency_and_output_or_its_folder(name: str) -> None:
    stage = STUDY[name]
    metrics = [path for entry in stage.get("metrics", []) for path in entry]
    data = [dep for dep in stage["deps"] if not dep.startswith(("${", *closure.CODE))]
    words = set(stage["cmd"].split()[3:])
    for path in [*stage["outs"], *metrics, *data]:
        assert path in words or str(Path(path).parent) in words, path


@pytest.mark.parametrize("name", STUDY)
def test_stage_lists_the_modules_it_imports(name: str) -> None:
    code = [dep for dep in STUDY[name]["deps"] if dep.startswith(closure.CODE)]
    assert code == closure.code_deps(name, pipeline=PIPELINE), "run: python tests/pipeline/closure.py --write"


@pytest.mark.parametrize("section", STUDY_SECTIONS)
def test_each_section_is_valid_and_has_the_roots_keys(section: str) -> None:
    module, _, cls = STUDY_SECTIONS[section].partition(":")
    load_section(REPOSITORY / "study/params.yaml", section, getattr(importlib.import_module(module), cls))
    if section != "study":
        top = section.partition(".")[0]
        keys = [{path for path, _ in leaves(file[top])} for file in (PARAMS, read_yaml(REPOSITORY / "params.yaml"))]
        assert keys[0] == keys[1]


def test_sections_are_those_of_the_stages() -> None:
    assert set(PARAMS) == set(STUDY) == {section.partition(".")[0] for section in STUDY_SECTIONS}


def test_check_knows_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert find_problems("study/params.yaml") == []
    wrong = PARAMS | {"study": PARAMS["study"] | {"root": "nowhere", "folds": [1, 2]}, "ingest": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(wrong))
    text = "\n".join(find_problems(tmp_path / "params.yaml"))
    assert "unknown section 'ingest'" in text
    assert "study.folds: expected 0, 1, 2, ... in order, got [1, 2]" in text
    assert "study.root: no such file or folder 'nowhere'" in text


def test_without_a_study_the_root_has_its_own_stages_alone(plain_copy: Workspace) -> None:
    with Repo(str(plain_copy.path)) as repo:
        assert {stage.path_in_repo for stage in repo.index.stages} == {"dvc.yaml"}
    assert "study" not in plain_copy.run("dvc", "status").stdout


def test_a_named_study_has_every_fold_and_method(plain_copy: Workspace, tmp_path: Path) -> None:
    folds, methods = [0, 1, 2], PARAMS["evaluate"]["baselines"]
    with Repo(str(named(tmp_path, plain_copy, names=["mine"], root="elsewhere", folds=folds))) as repo:
        stages = {stage.name: stage for stage in repo.index.stages if stage.path_in_repo == PIPELINE}
        each = [f"{name}@mine-{fold}" for name in ("pretrain", "train", "predict", "report") for fold in folds]
        each += [f"baseline@mine-{fold}-{method}" for fold in folds for method in methods]
        assert set(stages) == {"study@mine", "caption@mine", "evaluate@mine", *each}
        upstream = {stage.name for stage in repo.index.graph.successors(stages["evaluate@mine"])}
        assert upstream == {"study@mine", "caption@mine"} | {
            name for name in each if name.startswith(("predict", "baseline"))
        }
        params = {dep.def_path for stage in stages.values() for dep in stage.deps if isinstance(dep, ParamsDependency)}
    assert params == {"study/params.yaml"}


def test_the_study_has_every_method_of_the_root() -> None:
    assert PARAMS["evaluate"]["baselines"] == read_yaml(REPOSITORY / "params.yaml")["evaluate"]["baselines"]


def test_outputs_stay_out_of_git_and_numbers_go_in(plain_copy: Workspace) -> None:
    lines = (plain_copy.path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/study/*/*", "!/study/*/metrics/"} <= set(lines)
