"""The contract between ``dvc.yaml``, ``params.yaml``, the stage scripts and the library."""

import ast
import importlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import closure
import pytest
import yaml
from dvc.repo import Repo
from workspace import REPOSITORY, Workspace, leaves, read_yaml

from iqagpt.config import load_section
from iqagpt.errors import ParamsError
from iqagpt.sections import SECTIONS

#: DVC 3.67 uses a call that pygtrie is about to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

DVC_YAML = read_yaml(REPOSITORY / "dvc.yaml")
STAGES: dict[str, dict[str, Any]] = {name: node.get("do", node) for name, node in DVC_YAML["stages"].items()}
PARAMS_FILES = ["params.yaml", *sorted(f"presets/{f.name}" for f in (REPOSITORY / "presets").glob("*.yaml"))]
FAMILIES = closure.FAMILIES


def stage_items() -> list[tuple[str, str | None]]:
    """List each stage with each of its items, None for a stage that has none."""
    plain = [(name, None) for name in STAGES if name not in FAMILIES]
    return plain + [(name, item) for name, family in FAMILIES.items() for item in family.items()]


def metrics_of(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    entries = [entry if isinstance(entry, dict) else {entry: {}} for entry in stage.get("metrics", [])]
    return {path: options for entry in entries for path, options in entry.items()}


def template(text: str) -> str:
    """Write ``${key}``, ``${item.name}`` and ``{name}`` alike, for comparison."""
    return re.sub(r"\$?\{[^}]*\}", "*", text)


# Names


def test_each_stage_has_a_script_and_each_script_a_stage() -> None:
    scripts = {file.stem for file in (REPOSITORY / "stages").glob("*.py")} - {"__init__"}
    assert scripts == set(STAGES) | {"study"}  # first stage of study/dvc.yaml, see test_study_pipeline


@pytest.mark.parametrize("name", STAGES)
def test_command_runs_the_module_of_the_stage(name: str) -> None:
    cmd = STAGES[name]["cmd"]
    expected = f"python -m stages.{name}"
    if name in FAMILIES:
        expected += f" ${{{FAMILIES[name].variable}}}"
    assert cmd == expected or cmd.startswith(f"{expected} --")
    assert "\n" not in cmd


@pytest.mark.parametrize("name", STAGES)
def test_command_names_every_data_dependency_and_output_or_its_folder(name: str) -> None:
    """What a stage reads and writes shows in its command; files that users name come from params."""
    stage = STAGES[name]
    paths = [*stage.get("outs", []), *metrics_of(stage)]
    paths += [dep for dep in stage["deps"] if not dep.startswith(("${", *closure.CODE))]
    words = {PurePosixPath(word) for word in stage["cmd"].split()[3:]}
    for path in map(PurePosixPath, paths):
        assert words & {path, *path.parents}, f"{name}: {path} is not in cmd"


@pytest.mark.parametrize("name", STAGES)
def test_stage_tracks_its_own_section_and_no_other(name: str) -> None:
    declared = STAGES[name].get("params", [])
    section = f"{name}.${{{FAMILIES[name].variable}}}" if name in FAMILIES else name
    params = read_yaml(REPOSITORY / "params.yaml")
    assert declared == ([section] if name in params else [])


def test_each_section_has_a_stage() -> None:
    assert set(read_yaml(REPOSITORY / "params.yaml")) <= set(STAGES)


def test_table_of_sections_is_complete() -> None:
    params = read_yaml(REPOSITORY / "params.yaml")
    expected = {section for section in params if section not in FAMILIES}
    expected |= {f"{name}.{item}" for name in FAMILIES for item in params[name]}
    assert set(SECTIONS) == expected


@pytest.mark.parametrize("file", PARAMS_FILES)
@pytest.mark.parametrize("section", SECTIONS)
def test_each_leaf_is_a_field_and_each_field_a_leaf(file: str, section: str) -> None:
    module, _, name = SECTIONS[section].partition(":")
    cls = getattr(importlib.import_module(module), name)
    node: Any = read_yaml(REPOSITORY / file)
    for key in section.split("."):
        node = node[key]
    loaded = load_section(REPOSITORY / file, section, cls)
    assert {path for path, _ in leaves(asdict(loaded))} == {path for path, _ in leaves(node)}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("bad", [-1, "fast"])
def test_wrong_number_is_refused_with_its_key_and_value(section: str, bad: int | str, tmp_path: Path) -> None:
    module, _, name = SECTIONS[section].partition(":")
    cls = getattr(importlib.import_module(module), name)
    file = tmp_path / "params.yaml"
    params = read_yaml(REPOSITORY / "params.yaml")
    node: Any = params
    for key in section.split("."):
        node = node[key]
    for path, value in list(leaves(node)):
        if isinstance(value, int | float) and not isinstance(value, bool):
            holder = node
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = bad
            file.write_text(yaml.safe_dump(params), encoding="utf-8")
            with pytest.raises(ParamsError) as caught:
                load_section(file, section, cls)
            assert str(caught.value).startswith(f"{file}: {section}.{'.'.join(path)}: expected ")
            assert f"got {bad!r}" in str(caught.value)
            holder[path[-1]] = value


@pytest.mark.parametrize("name", STAGES)
def test_dataclass_lives_in_code_that_the_stage_depends_on(name: str) -> None:
    for section, place in SECTIONS.items():
        if section.split(".")[0] == name:
            item = section.partition(".")[2] or None
            path = place.partition(":")[0].replace(".", "/")
            assert {f"{path}.py", f"{path}/__init__.py"} & closure.stage_closure(name, item), section


# What a stage reads


@pytest.mark.parametrize(("name", "item"), stage_items())
def test_stage_lists_every_module_it_imports(name: str, item: str | None) -> None:
    deps = {dep.replace(f"${{{FAMILIES[name].variable}}}", item) if item else dep for dep in STAGES[name]["deps"]}
    missing = sorted(closure.stage_closure(name, item) - deps)
    assert not missing, "run: python tests/pipeline/closure.py --write"


@pytest.mark.parametrize("name", STAGES)
def test_stage_lists_no_module_it_does_not_import(name: str) -> None:
    code = [dep for dep in STAGES[name]["deps"] if dep.startswith(closure.CODE)]
    assert code == closure.code_deps(name), "run: python tests/pipeline/closure.py --write"


@pytest.mark.parametrize("name", STAGES)
def test_order_of_keys_and_dependencies(name: str) -> None:
    deps = STAGES[name]["deps"]
    code = [dep for dep in deps if dep.startswith(closure.CODE)]
    assert deps[: len(code)] == sorted(code), "code first, sorted"
    assert len(set(deps)) == len(deps)
    order = ["desc", "matrix", "cmd", "deps", "params", "outs", "metrics"]
    keys = list(STAGES[name])
    assert keys == [key for key in order if key in keys]
    assert {"desc", "cmd", "deps"} <= set(keys)


def test_closure_follows_what_the_tests_rely_on(tmp_path: Path) -> None:
    """Lazy, relative, submodule and package imports count; annotations-only ones do not."""
    files = {
        "stages/one.py": "import typing\nfrom iqagpt import a\ndef main():\n    import iqagpt.p.deep\n"
        "if typing.TYPE_CHECKING:\n    import iqagpt.unused\n",
        "iqagpt/__init__.py": "",
        "iqagpt/a.py": "from .b import thing\nimport numpy\n",
        "iqagpt/b.py": "from iqagpt.p import deep, name\n",
        "iqagpt/p/__init__.py": "from . import shown\nname = 1\n",
        "iqagpt/p/deep.py": "from ..c import other\n",
        "iqagpt/p/shown.py": "",
        "iqagpt/c.py": "",
        "iqagpt/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert closure.closure("stages/one.py", tmp_path) == set(files) - {"iqagpt/unused.py"}


def test_closure_agrees_with_the_interpreter() -> None:
    """Import one stage in a fresh interpreter: whatever it loaded at import time is in the closure."""
    code = (
        "import sys, stages.predict\n"
        "print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)), sep='\\n')"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [Path(line) for line in loaded.stdout.splitlines()]
    own = {file.relative_to(REPOSITORY).as_posix() for file in files if file.is_relative_to(REPOSITORY)}
    own = {file for file in own if file.startswith(closure.CODE)}
    assert "stages/predict.py" in own
    assert own <= closure.stage_closure("predict")


@pytest.mark.parametrize("name", STAGES)
def test_only_families_import_by_name(name: str) -> None:
    allowed = f"{FAMILIES[name].folder}/*".replace("/", ".") if name in FAMILIES else None
    # The package's front door opens the captioner by name, for users; no stage calls it.
    for file in closure.stage_closure(name) - {"iqagpt/__init__.py"}:
        for argument in closure.dynamic_imports(file):
            assert file == f"stages/{name}.py", f"{file}: import_module({argument}) hides from deps"
            assert template(ast.literal_eval(argument.removeprefix("f"))) == allowed


@pytest.mark.parametrize(("name", "item"), stage_items())
def test_code_loads_the_declared_section_only(name: str, item: str | None) -> None:
    loaded, readers = set(), set()
    code = {file for file in closure.stage_closure(name, item) if file.endswith(".py")}
    for file in code - {"iqagpt/config.py"}:
        for node in ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_section"):
                argument = node.args[1]
                assert isinstance(argument, ast.Constant | ast.JoinedStr), f"{file}: section must be a literal"
                loaded.add(template(ast.literal_eval(ast.unparse(argument).removeprefix("f"))))
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("read_params"):
                readers.add(file)
    assert loaded == {template(section) for section in STAGES[name].get("params", [])}
    whole_file = "params.yaml" in STAGES[name]["deps"]  # the stage page, which shows all parameters
    assert whole_file or not readers, "read_params sees sections that the stage does not declare"


# What a stage writes


def test_outputs_do_not_overlap(plain_copy: Workspace) -> None:
    with Repo(str(plain_copy.path)) as repo:
        repo.check_graph(repo.index.stages)
        outputs = [PurePosixPath(out.def_path) for stage in repo.index.stages for out in stage.outs]
    assert [path for path, count in Counter(outputs).items() if count > 1] == []
    for path in outputs:
        assert not set(path.parents) & set(outputs), path


def test_metrics_are_in_git_and_other_outputs_in_the_cache() -> None:
    for name, stage in STAGES.items():
        for path, options in metrics_of(stage).items():
            assert re.fullmatch(r"metrics/[a-z_]+\.json", path), name
            assert options == {"cache": False}, name
        for out in stage.get("outs", []):
            assert isinstance(out, str), f"{name}: {out}: no options (persist, cache) on outputs"
            assert not out.startswith("metrics/"), name


def test_each_metrics_file_is_declared() -> None:
    declared = {path for stage in STAGES.values() for path in metrics_of(stage)}
    present = {f"metrics/{file.name}" for file in (REPOSITORY / "metrics").glob("*")}
    assert present <= declared


def test_each_declared_metrics_file_is_in_git() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git repository here (a source archive)")
    listing = subprocess.run(["git", "ls-files", "metrics"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    tracked = set(listing.stdout.split())
    if not tracked:
        pytest.skip("metrics/ has not been committed yet")
    assert tracked == {path for stage in STAGES.values() for path in metrics_of(stage)}


def metrics_files() -> list[Path]:
    return sorted((REPOSITORY / "metrics").glob("*.json"))


@pytest.mark.parametrize("file", metrics_files(), ids=lambda file: file.name)
def test_metrics_are_finite_sorted_and_free_of_paths(file: Path) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"{file.name} holds {text}")

    text = file.read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert text == json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    for path, value in leaves(content):
        for number in value if isinstance(value, list) else [value]:
            assert isinstance(number, int | float | str), path
            assert not isinstance(number, float) or math.isfinite(number), path
            assert not isinstance(number, str) or not number.startswith(("/", "~")), path
        assert not {"time", "seconds", "host", "date"} & set("_".join(map(str, path)).split("_")), path


# Parameter files


@pytest.mark.parametrize("file", PARAMS_FILES[1:])
def test_presets_have_the_keys_of_params(file: str) -> None:
    ours = [path for path, _ in leaves(read_yaml(REPOSITORY / "params.yaml"))]
    theirs = [path for path, _ in leaves(read_yaml(REPOSITORY / file))]
    assert sorted(theirs) == sorted(ours)
    assert theirs == ours, "same keys, other order"


def test_presets_are_complete() -> None:
    assert {f"presets/{name}.yaml" for name in ("paper", "medxvl", "real", "smoke")} <= set(PARAMS_FILES)


def test_medxvl_differs_from_the_paper_in_the_text_width_only() -> None:
    paper, medxvl = (dict(leaves(read_yaml(REPOSITORY / f"presets/{name}.yaml"))) for name in ("paper", "medxvl"))
    assert {path for path in paper if paper[path] != medxvl[path]} == {("pretrain", "text", "width")}


def test_training_recipe_of_the_paper_is_shared() -> None:
    """The paper trains ViT-C, ViT-R and CLIP-IQA+ as it trains IQAGPT, so the copies agree."""
    paper = read_yaml(REPOSITORY / "presets/paper.yaml")
    recipe = [
        "epochs", "batch_size", "lr", "warmup_epochs", "warmup_lr", "min_lr", "weight_decay", "augment", "clip_norm", "keep",
    ]  # fmt: skip
    expected = {key: paper["train"][key] for key in recipe}
    for name in ("vit_c", "vit_r", "clip_iqa_plus"):
        assert {key: paper["baseline"][name][key] for key in recipe} == expected


@pytest.mark.parametrize("file", PARAMS_FILES)
def test_both_clip_rivals_have_the_same_clip(file: str) -> None:
    baselines = read_yaml(REPOSITORY / file)["baseline"]
    ours = {key: baselines["clip_iqa"][key] for key in ("weights", "weights_sha256", "builtin", "prompts")}
    assert baselines["clip_iqa_plus"]["clip"] == ours


@pytest.mark.parametrize("file", PARAMS_FILES)
def test_enabled_baselines_have_a_section(file: str) -> None:
    params = read_yaml(REPOSITORY / file)
    enabled = params["evaluate"]["baselines"]
    assert set(enabled) <= set(params["baseline"])
    assert len(set(enabled)) == len(enabled)


@pytest.mark.parametrize("file", ["dvc.yaml", *PARAMS_FILES])
def test_no_path_leaves_the_repository(file: str) -> None:
    for path, value in leaves(read_yaml(REPOSITORY / file)):
        for text in map(str, value if isinstance(value, list) else [value]):
            for word in re.split(r"[\s'\"]+", text):
                assert not re.match(r"/|~|[A-Za-z]:[\\/]|(.*/)?\.\.(/|$)", word), (path, word)


def test_no_setting_that_hides_a_change() -> None:
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert not re.findall(r"\b(always_changed|persist|frozen|wdir)\s*:", text)
    allowed = {"key", "item.name", "item.weights", "ingest.root", "read.table", "caption.vocabulary",
               "denoise.code", "denoise.folder", "evaluate.baselines", "denoisers.map_nn.weights",
               "denoisers.red_cnn.weights", "pretrain.weights", "report.space"}  # fmt: skip
    assert set(re.findall(r"\$\{([^}]*)\}", text)) <= allowed


def test_dvc_sends_no_statistics(plain_copy: Workspace) -> None:
    assert plain_copy.check("dvc", "config", "core.analytics").strip() == "false"
