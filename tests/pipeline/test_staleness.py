"""Each leaf of ``params.yaml`` makes exactly the stages stale that it can affect, and no other.

A lock with invented hashes but true params and paths stands for a finished run, so this needs no data. A stage is
directly stale when DVC's own comparison finds its command, a parameter or the path of an input changed; everything
downstream of it in DVC's graph follows.
"""

import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import dvc.dependency.param
import networkx
import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from workspace import REPOSITORY, Workspace, leaves, read_yaml

#: DVC 3.67 uses a call that pygtrie is about to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

PARAMS = read_yaml(REPOSITORY / "params.yaml")
BASELINES = [f"baseline@{name}" for name in PARAMS["evaluate"]["baselines"]]
SHOWN = {"explain", "page"}
ASSESS = {"pretrain", "train", "predict", *BASELINES, "evaluate", "report"} | SHOWN
SCORE = {"denoise", "read", "caption"} | ASSESS

#: Section: the stages that a change in it makes stale, written by hand from the method, not from dvc.yaml.
STALE: dict[str, set[str]] = {
    "phantom": {"phantom", "ingest", "split", "simulate", "denoisers@map_nn", "denoisers@red_cnn"} | SCORE,
    "ingest": {"ingest", "split", "simulate", "denoisers@map_nn", "denoisers@red_cnn"} | SCORE,
    "split": {"split", "denoisers@map_nn", "denoisers@red_cnn"} | SCORE,
    "simulate": {"simulate", "denoisers@map_nn", "denoisers@red_cnn"} | SCORE,
    "denoisers.map_nn": {"denoisers@map_nn"} | SCORE,
    "denoisers.red_cnn": {"denoisers@red_cnn"} | SCORE,
    "denoise": SCORE,
    "read": {"read", "caption"} | ASSESS,
    "caption": {"caption"} | ASSESS,
    "pretrain": ASSESS,
    "train": {"train", "predict", "evaluate", "report"} | SHOWN,
    "predict": {"predict", "evaluate", "report"} | SHOWN,
    **{f"baseline.{name}": {f"baseline@{name}", "evaluate"} | SHOWN for name in PARAMS["evaluate"]["baselines"]},
    # Not enabled: no stage reads the section (the page, which shows the whole file, depends on it as a file).
    **{f"baseline.{name}": set() for name in PARAMS["baseline"] if name not in PARAMS["evaluate"]["baselines"]},
    "evaluate": {"evaluate"} | SHOWN,
    "report": {"report"} | SHOWN,
    "explain": SHOWN,
    "page": {"page"},
}
#: Leaves that name a file or folder of the user's, and the stage that has it as a dependency.
PATHS = {
    "ingest.root": "ingest",
    "denoisers.map_nn.weights": "denoisers@map_nn",
    "denoisers.red_cnn.weights": "denoisers@red_cnn",
    "denoise.code": "denoise",
    "denoise.folder": "denoise",
    "read.table": "read",
    "caption.vocabulary": "caption",
    "pretrain.weights": "pretrain",
    "report.space": "report",
}
LEAVES = [".".join(path) for path, _ in leaves(PARAMS)]


def section_of(leaf: str) -> str:
    return next(name for name in STALE if leaf.startswith(f"{name}."))


def changed_value(leaf: str, value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if value is None:
        return 1.0
    return value[:-1] if value else ["L185"]


def write_lock(path: Path) -> None:
    """Write the ``dvc.lock`` that a run would leave, but for hashes and sizes."""
    with Repo(str(path)) as repo:
        stages = {stage.name: lock_entry(stage) for stage in repo.index.stages}
    (path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))


def lock_entry(stage: PipelineStage) -> dict[str, Any]:
    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    entry = {
        "cmd": stage.cmd,
        "deps": [{"path": dep.def_path, "hash": "md5", "md5": "0" * 32, "size": 1} for dep in files],
        "outs": [{"path": out.def_path, "hash": "md5", "md5": "1" * 32, "size": 1} for out in stage.outs],
    }
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            entry["params"] = {dep.def_path: dict(dep.read_params())}
    return entry


def directly_stale(stage: PipelineStage) -> bool:
    """Compare command, params and input paths with the lock; contents are not looked at."""
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            if dep.workspace_status():
                return True
        elif not dep.hash_info:  # a path that the lock does not know
            return True
    return stage.changed_stage()


def stale_stages(path: Path) -> tuple[set[str], set[str]]:
    """Return the directly stale stages, and these with everything downstream."""
    with Repo(str(path)) as repo:
        graph = repo.index.graph  # from a stage to the stages it reads from
        direct = {stage for stage in repo.index.stages if directly_stale(stage)}
        downstream = direct.union(*(networkx.ancestors(graph, stage) for stage in direct))
        return {stage.name for stage in direct}, {stage.name for stage in downstream}


@pytest.fixture(scope="module")
def locked(plain_copy: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locked") / "iqagpt"
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(plain_copy.path / name, folder / name)
    shutil.copytree(plain_copy.path / ".dvc", folder / ".dvc")
    write_lock(folder)
    return folder


@pytest.fixture(autouse=True)
def parse_params_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let DVC parse each text of ``params.yaml`` once, not once per stage: three times as fast."""
    parsed: dict[bytes, Any] = {}
    load_path = dvc.dependency.param.load_path

    def load_known(path: str, *args: Any, **options: Any) -> Any:
        text = Path(path).read_bytes()
        if text not in parsed:
            parsed[text] = load_path(path, *args, **options)
        return parsed[text]

    monkeypatch.setattr(dvc.dependency.param, "load_path", load_known)


@pytest.fixture
def workspace(locked: Path) -> Iterator[Path]:
    yield locked
    shutil.copy(REPOSITORY / "params.yaml", locked / "params.yaml")


def change(path: Path, leaf: str) -> None:
    params = deepcopy(PARAMS)
    *parents, key = leaf.split(".")
    node = params
    for parent in parents:
        node = node[parent]
    node[key] = changed_value(leaf, node[key])
    (path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def test_table_covers_every_stage_and_section(workspace: Path) -> None:
    with Repo(str(workspace)) as repo:
        names = {stage.name for stage in repo.index.stages}
    assert set().union(*STALE.values()) == names
    assert {section.partition(".")[0] for section in STALE} == set(PARAMS)
    assert set(PATHS) <= set(LEAVES)


def test_nothing_is_stale_after_a_run(workspace: Path) -> None:
    assert stale_stages(workspace) == (set(), set())


def test_comments_and_spelling_of_numbers_change_nothing(workspace: Path) -> None:
    text = yaml.safe_dump(PARAMS, sort_keys=True, default_flow_style=True)
    (workspace / "params.yaml").write_text(f"# another comment\n{text}")
    assert stale_stages(workspace) == (set(), set())


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_makes_its_stages_stale_and_no_other(leaf: str, workspace: Path) -> None:
    change(workspace, leaf)
    expected = set(STALE[section_of(leaf)])
    if leaf == "evaluate.baselines":  # one name fewer: its stage is gone, the others stay as they are
        expected -= {BASELINES[-1]}
    direct, stale = stale_stages(workspace)
    assert stale == expected
    assert len(direct) == (1 if expected else 0)


@pytest.mark.parametrize("leaf", PATHS)
def test_path_of_a_user_is_a_dependency(leaf: str, workspace: Path) -> None:
    change(workspace, leaf)
    *parents, key = leaf.split(".")
    node = PARAMS
    for parent in parents:
        node = node[parent]
    with Repo(str(workspace)) as repo:
        paths = {stage.name: [dep.def_path for dep in stage.deps] for stage in repo.index.stages}
    owners = [other for other, stage in PATHS.items() if stage == PATHS[leaf] and other != leaf]
    assert f"{node[key]}x" in paths[PATHS[leaf]]
    assert paths[PATHS[leaf]].count(node[key]) == len(owners)  # their defaults name the same file


def test_another_baseline_adds_its_stage_and_leaves_the_others(workspace: Path) -> None:
    params = deepcopy(PARAMS)
    dropped = params["evaluate"]["baselines"].pop()
    (workspace / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_lock(workspace)
    (workspace / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    try:
        assert stale_stages(workspace)[1] == {f"baseline@{dropped}", "evaluate"} | SHOWN
    finally:
        write_lock(workspace)
