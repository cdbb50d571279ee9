"""The stage ``report``: by templates without network, and by an endpoint of this machine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import stages.report
from iqagpt.artifacts import read_table, write_table
from iqagpt.chat.client import ChatClient
from iqagpt.chat.reports import open_writer
from iqagpt.chat.space import build_space
from iqagpt.criteria import KEYS
from stages.report import app
from tests.chat.endpoint import Endpoint, completion, good_report
from tests.evaluation.prediction_tables import perfect

KEY = "sk-secret-0123456789"


@pytest.fixture
def table(tmp_path: Path, scored_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stages.report, "ANSWERS", tmp_path / "answers")
    write_table(tmp_path / "iqagpt.csv", perfect(scored_run, "iqagpt"))
    return tmp_path / "iqagpt.csv"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Endpoint(good_report)
    yield server
    server.close()


def run(table: Path, **changes: Any) -> Result:
    section = {
        "generator": "template",
        "space": "presets/none.txt",
        "allow_remote": False,
        "rate": False,
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "m",
        "timeout_s": 20,
        "max_retries": 0,
    }
    params = table.with_name("params.yaml")
    params.write_text(json.dumps({"report": section | changes}))
    options = {"predictions": table, "output": table.with_name("reports"), "metrics": table.with_name("report.json")}
    words = [word for name, value in (options | {"params": params}).items() for word in (f"--{name}", str(value))]
    return CliRunner().invoke(app, words)


def metrics(table: Path) -> dict[str, Any]:
    return json.loads(table.with_name("report.json").read_text())


def test_templates_use_no_network_and_no_key(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("network used"))
    monkeypatch.setattr(ChatClient, "complete", lambda *a: pytest.fail("model asked"))
    assert run(table).exit_code == 0
    assert metrics(table) == {"fallbacks": 0, "generator": "template", "n": 8, "unparsed": 0}
    lines = table.with_name("reports").joinpath("reports.jsonl").read_text().splitlines()
    assert {json.loads(line)["image_id"].split("_")[0] for line in lines} == {"P6"}, "test images only"


def test_equal_inputs_give_equal_bytes(table: Path) -> None:
    contents = []
    for _ in range(2):
        assert run(table).exit_code == 0
        files = sorted(table.with_name("reports").iterdir())
        contents.append([file.read_bytes() for file in [*files, table.with_name("report.json")]])
    assert contents[0] == contents[1]


def test_endpoint_writes_the_reports(table: Path, endpoint: Endpoint) -> None:
    result = run(table, generator="openai", endpoint=endpoint.url, model="local-model")
    assert result.exit_code == 0, result.output
    assert metrics(table) == {"fallbacks": 0, "generator": "openai", "n": 8, "unparsed": 0}
    assert len(endpoint.requests) == 8, "eight images, eight combinations of scores"
    assert {request["model"] for request in endpoint.requests} == {"local-model"}
    sent = json.dumps(endpoint.requests)
    assert "P6" not in sent
    assert str(table.parent) not in sent
    written = "".join(file.read_text() for file in table.with_name("reports").iterdir())
    assert "With regard to this slice" in written
    assert KEY not in written + result.output


def test_answers_are_kept_so_that_a_second_run_asks_nothing(table: Path, endpoint: Endpoint) -> None:
    for _ in range(2):
        assert run(table, generator="openai", endpoint=endpoint.url).exit_code == 0
    assert len(endpoint.requests) == 8


def test_bad_answers_fall_back_and_are_counted(table: Path, endpoint: Endpoint) -> None:
    given: set[str] = set()

    def answer(request: dict[str, Any]) -> Any:
        given.add(request["messages"][1]["content"])
        return completion("Fine.") if len(given) % 2 else good_report(request)

    endpoint.answer = answer
    assert run(table, generator="openai", endpoint=endpoint.url).exit_code == 0
    assert metrics(table)["fallbacks"] == 4
    assert len(endpoint.requests) == 4 + 2 * 4, "one repair each"


def test_refused_key_gives_templates_and_never_shows(table: Path, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (401, "application/json", f'{{"error": {{"message": "bad {KEY}"}}}}'.encode())
    result = run(table, generator="openai", endpoint=endpoint.url)
    assert result.exit_code == 0
    assert metrics(table)["fallbacks"] == 8
    assert len(endpoint.requests) == 3
    assert KEY not in result.output


def test_a_remote_endpoint_must_be_allowed_and_needs_a_key(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = run(table, generator="openai", endpoint="https://example.org/v1")
    assert result.exit_code == 1
    assert "report.allow_remote: true" in result.output
    result = run(table, generator="openai", endpoint="https://example.org/v1", allow_remote=True)
    assert result.exit_code == 1
    assert "OPENAI_API_KEY is not set" in result.output
    assert not table.with_name("reports").exists()


def test_a_finished_space_needs_no_endpoint(table: Path, tmp_path: Path) -> None:
    build_space(tmp_path / "space", open_writer())
    file = tmp_path / "space/reports.json"
    file.write_text(file.read_text().replace('"generator": "template"', '"generator": "model"'))
    assert run(table, space=str(tmp_path / "space/reports.json")).exit_code == 0
    manifest = read_table(table.with_name("reports") / "manifest.csv")
    assert set(manifest["generator"]) == {"space"}
    assert metrics(table) == {"fallbacks": 0, "generator": "template", "n": 8, "unparsed": 0}


def test_rating_is_measured_beside_the_reports(table: Path, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: completion(json.dumps(dict.fromkeys(KEYS, 1)))
    before = metrics(table) if run(table).exit_code == 0 else None
    assert run(table, rate=True, endpoint=endpoint.url).exit_code == 0
    after = metrics(table)
    rating = after.pop("rating_by_language_model")
    assert after == before
    assert rating["rated"] == rating["captions"] == 8
    assert len(rating["misses"]) == 8 - round(8 * rating["agreement"]["all"])


def test_missing_table_and_bad_params_are_one_line(table: Path) -> None:
    assert "report.generator: expected one of template, openai, got 'gpt'" in run(table, generator="gpt").output
    assert "no such file" in run(table, space="absent.json").output.lower()
    table.unlink()
    result = run(table)
    assert result.exit_code == 1
    assert "no such table" in result.output
