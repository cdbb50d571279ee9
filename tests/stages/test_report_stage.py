"""The stage ``report``: by templates without network, and by an endpoint of this machine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from iqagpt.artifacts import write_table
from iqagpt.chat.client import ChatClient
from stages.report import app
from tests.chat.endpoint import Endpoint, completion, good_report
from tests.evaluation.prediction_tables import perfect

KEY = "sk-secret-0123456789"


@pytest.fixture
def table(tmp_path: Path, scored_run: Path) -> Path:
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
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "m",
        "timeout_s": 5,
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
    assert "STUBBED" in written
    assert KEY not in written + result.output


def test_bad_answers_fall_back_and_are_counted(table: Path, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: good_report(request) if len(endpoint.requests) % 2 else completion("Fine.")
    assert run(table, generator="openai", endpoint=endpoint.url).exit_code == 0
    assert metrics(table)["fallbacks"] == 4


def test_refused_key_fails_the_stage_and_leaves_nothing(table: Path, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (401, "application/json", b'{"error": {"message": "bad key"}}')
    result = run(table, generator="openai", endpoint=endpoint.url)
    assert result.exit_code == 1
    assert "refused" in result.output
    assert "OPENAI_API_KEY" in result.output
    assert KEY not in result.output
    assert len(endpoint.requests) == 1
    assert not table.with_name("reports").exists()


def test_missing_key_fails_before_any_call(table: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    result = run(table, generator="openai", endpoint=endpoint.url)
    assert result.exit_code == 1
    assert "OPENAI_API_KEY is not set" in result.output
    assert endpoint.requests == []


def test_unreachable_endpoint_fails_the_stage(table: Path, endpoint: Endpoint) -> None:
    endpoint.close()
    result = run(table, generator="openai", endpoint=endpoint.url)
    assert result.exit_code == 1
    assert "cannot be reached" in result.output


def test_missing_table_and_bad_params_are_one_line(table: Path) -> None:
    assert "report.generator: expected one of template, openai, got 'gpt'" in run(table, generator="gpt").output
    table.unlink()
    result = run(table)
    assert result.exit_code == 1
    assert "no such table" in result.output
