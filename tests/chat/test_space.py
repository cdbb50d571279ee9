"""All 320 reports in one file: built, resumed, verified again when read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iqagpt.chat.reports import Report, ReportWriter, open_writer, space_key
from iqagpt.chat.space import FILE, build_space, read_space
from iqagpt.chat.verifier import find_contradictions
from iqagpt.criteria import Scores, all_scores
from iqagpt.errors import InputError
from tests.chat.endpoint import Endpoint, good_content, good_report, scores_in

SCORES: Scores = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint(good_report)
    yield server
    server.close()


@pytest.fixture(scope="module")
def template_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    assert build_space(folder, ReportWriter()) == {"template": 320}
    return folder


def copied(space: Path, folder: Path) -> tuple[Path, dict]:
    return folder / FILE, json.loads((space / FILE).read_text())


def test_all_reports_are_there_and_true(template_space: Path) -> None:
    reports = read_space(template_space)
    assert reports == read_space(template_space / FILE)
    for scores in all_scores():
        assert find_contradictions(reports[space_key(scores)].text, scores) == ()


class Faithful:
    """A language model without a wire; every tenth answer is useless."""

    model, endpoint = "m", "http://127.0.0.1:1/v1"

    def __init__(self) -> None:
        self.asked = 0

    def budget(self) -> None:
        """Have no limits."""

    def complete(self, messages: list[dict[str, str]], schema: dict[str, Any], budget: None) -> str:
        self.asked += 1
        return json.dumps(good_content(scores_in({"messages": messages}))) if self.asked % 10 else "Fine."


class Interrupted(ReportWriter):
    """A language model whose user loses patience after some reports."""

    left = 20

    def write(self, scores: Scores) -> Report:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().write(scores)


def test_a_build_goes_on_where_it_was_interrupted_and_is_used_without_network(tmp_path: Path) -> None:
    client = Faithful()
    with pytest.raises(KeyboardInterrupt):
        build_space(tmp_path, Interrupted(client))
    assert len(json.loads((tmp_path / FILE).read_text())["reports"]) == 20
    asked = client.asked
    with pytest.raises(InputError, match="300 of 320 reports are missing"):
        read_space(tmp_path)
    assert build_space(tmp_path, ReportWriter(client)) == {"model": 320}, "each refusal was repaired"
    assert 300 <= client.asked - asked <= 340
    report = open_writer(space=tmp_path).write(SCORES)
    assert report.generator == "space"
    assert "With regard to this slice" in report.text


def test_fallbacks_are_marked_and_asked_for_again_on_demand(
    tmp_path: Path, endpoint: Endpoint, template_space: Path
) -> None:
    file, content = copied(template_space, tmp_path)
    content["model"] = "m"
    content["reports"]["3-2-n-1"] |= {"generator": "fallback", "findings": ["why"]}
    file.write_text(json.dumps(content))
    assert read_space(tmp_path)["3-2-n-1"].generator == "fallback"
    writer = open_writer(endpoint=endpoint.url, model="m")
    assert build_space(tmp_path, writer) == {"fallback": 1, "template": 319}
    assert build_space(tmp_path, writer, retry=True) == {"model": 1, "template": 319}
    assert len(endpoint.requests) == 1


def test_an_edited_report_is_refused_and_written_again(tmp_path: Path, template_space: Path) -> None:
    file, content = copied(template_space, tmp_path)
    content["reports"]["3-2-n-1"]["text"] = content["reports"]["1-2-n-1"]["text"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="the report for 3-2-n-1 is not true of its scores"):
        read_space(tmp_path)
    build_space(tmp_path, ReportWriter())
    assert file.read_bytes() == (template_space / FILE).read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "report_space", "schema_version": 1, "reports": {"a": 1}}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"reports\.json: "):
        read_space(tmp_path)
    with pytest.raises(InputError, match=r"reports\.json: "):
        build_space(tmp_path, ReportWriter())


def test_a_folder_of_another_model_is_not_mixed(tmp_path: Path, template_space: Path, endpoint: Endpoint) -> None:
    file, content = copied(template_space, tmp_path)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="holds reports of model 'template'"):
        build_space(tmp_path, open_writer(endpoint=endpoint.url, model="m"))
    assert endpoint.requests == []


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run iqagpt reports build"):
        open_writer(space=tmp_path / "absent.json")
