"""All problems of a params file, each named with its key."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from iqagpt.config import read_params
from iqagpt.params_check import find_problems
from iqagpt.sections import SECTIONS

REPOSITORY = Path(__file__).resolve().parents[1]
Params = dict[str, Any]


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    """The default parameters; paths in them count from the repository's root."""
    monkeypatch.chdir(REPOSITORY)
    return read_params(REPOSITORY / "params.yaml")


def problems(folder: Path, params: Params) -> list[str]:
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    return find_problems(file)


def set_key(params: Params, key: str, value: Any) -> Params:
    *parents, last = key.split(".")
    node = params
    for parent in parents:
        node = node[parent]
    node[last] = value
    return params


def test_defaults_are_valid(tmp_path: Path, params: Params) -> None:
    assert problems(tmp_path, params) == []


def test_sections_name_dataclasses() -> None:
    for target in SECTIONS.values():
        module, name = target.split(":")
        assert hasattr(getattr(importlib.import_module(module), name), "__dataclass_fields__")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("evaluat", {}, "unknown section 'evaluat' (did you mean 'evaluate'?)"),
        ("denoisers.red_cn", {}, "denoisers.red_cn: unknown (did you mean 'red_cnn'?)"),
        ("baseline.vit", {}, "baseline.vit: unknown"),
        ("evaluate.baselines", ["vit_c", "vitr"], "evaluate.baselines: unknown 'vitr' (did you mean 'vit_r'?)"),
        ("report.timeout", 3, "report.timeout: unknown key (did you mean 'timeout_s'?)"),
        ("report.timeout_s", "soon", "report.timeout_s: expected a number, got 'soon'"),
        ("read.table", "scores.csv", "read.table: no such file 'scores.csv'; give a file, or presets/none.txt"),
        ("denoise.code", "mine.py", "denoise.code: no such file or folder 'mine.py'; presets/none.txt says none"),
        ("denoise.folder", "images", "denoise.folder: no such file or folder 'images'"),
        ("denoise.extra", ["nml"], "denoise.extra: unknown 'nml' (did you mean 'nlm'?)"),
        ("caption.vocabulary", "v.txt", "caption.vocabulary: no such file 'v.txt'"),
        ("denoisers.map_nn.weights", "w", "denoisers.map_nn.weights: no such file 'w'"),
        ("denoisers.red_cnn.weights", "presets", "denoisers.red_cnn.weights: no such file 'presets'"),
        ("ingest.root", "aapm", "ingest.root: no such folder or zip archive 'aapm'"),
    ],
)
def test_each_problem_is_one_line_with_its_key(
    tmp_path: Path, params: Params, key: str, value: Any, expected: str
) -> None:
    before = problems(tmp_path, params)
    found = [problem for problem in problems(tmp_path, set_key(params, key, value)) if problem not in before]
    # A weights file also asks for the published width, which is a line of its own.
    found = [problem for problem in found if expected.split(":")[0] in problem]
    assert len(found) == 1
    assert expected in found[0]
    assert "\n" not in found[0]


def test_all_problems_are_found_at_once(tmp_path: Path, params: Params) -> None:
    before = problems(tmp_path, params)
    del params["split"]
    params["report"]["max_retries"] = -1
    params["ingest"]["root"] = "absent"
    found = [problem for problem in problems(tmp_path, params) if problem not in before]
    assert len(found) == 3
    assert any("section 'split' is missing" in problem for problem in found)


def test_a_file_that_is_no_mapping_or_absent_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert len(find_problems(tmp_path / "list.yaml")) == 1
    assert "no such params file" in find_problems(tmp_path / "absent.yaml")[0]


def test_gpt4v_is_checked_only_where_it_is_enabled(tmp_path: Path, params: Params) -> None:
    set_key(params, "baseline.gpt4v.endpoint", "http://127.0.0.1:9/v1")
    set_key(params, "baseline.gpt4v.model", "stub")
    assert problems(tmp_path, params) == []
    params["evaluate"]["baselines"].append("gpt4v")
    (problem,) = problems(tmp_path, params)
    assert "baseline.gpt4v.allow_images: false" in problem


def test_a_name_on_a_hub_is_no_path(tmp_path: Path, params: Params) -> None:
    set_key(params, "baseline.minigpt4.model", "hub:someone/blip2")
    assert problems(tmp_path, params) == []
    set_key(params, "baseline.minigpt4.model", "someone/blip2")
    assert "baseline.minigpt4.model: no such file or folder 'someone/blip2'" in problems(tmp_path, params)[0]
