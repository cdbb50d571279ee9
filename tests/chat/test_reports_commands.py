"""The commands ``iqagpt reports``."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from iqagpt.chat.client import open_client
from iqagpt.chat.prompts import report_messages, report_schema
from iqagpt.chat.templates import template_report
from iqagpt.cli import app
from iqagpt.criteria import Scores
from tests.chat.endpoint import Endpoint, good_report

SCORES: Scores = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}


def run(*words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["reports", *words], input=text)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint(good_report)
    yield server
    server.close()


def test_write_by_the_template_and_by_a_model(endpoint: Endpoint) -> None:
    assert run("write", "3,2,n,1").stdout == f"{template_report(SCORES)}\n"
    assert "With regard to this slice" in run("write", "3,2,N/A,1", "--endpoint", endpoint.url).stdout


def test_show_payload_prints_the_bytes_that_would_be_sent_and_sends_nothing(endpoint: Endpoint) -> None:
    shown = run("write", "3,2,n,1", "--endpoint", endpoint.url, "--model", "m", "--show-payload").stdout
    assert endpoint.requests == []
    open_client(endpoint.url, "m").complete(report_messages(SCORES), report_schema())
    assert json.loads(shown) == endpoint.requests[0]
    assert "--endpoint" in run("write", "3,2,n,1", "--show-payload").stderr


def test_build_then_write_from_the_space(tmp_path: Path) -> None:
    result = run("build", str(tmp_path / "space"))
    assert result.exit_code == 0
    assert "320 reports, all verified: 320 template" in result.stdout
    assert run("write", "3,2,n,1", "--space", str(tmp_path / "space")).stdout == f"{template_report(SCORES)}\n"


def test_check_tells_true_from_false(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_text(template_report(SCORES))
    assert run("check", "3,2,n,1", str(file)).exit_code == 0
    result = run("check", "3,3,n,1", "-", text=template_report(SCORES))
    assert result.exit_code == 1
    assert "Visibility of small structures: 'acceptable' contradicts the score 3" in result.stdout


@pytest.mark.parametrize("scores", ["3,2,1", "0,1,1,1", "n,1,1,1", "1,1,1,1,1", "good"])
def test_bad_scores_are_one_line(scores: str) -> None:
    result = run("write", scores)
    assert result.exit_code == 1
    assert "expected four scores" in result.stderr


@pytest.mark.parametrize("command", [["write", "3,2,n,1"], ["build", "out"]])
def test_a_remote_endpoint_must_be_allowed(command: list[str]) -> None:
    result = run(*command, "--endpoint", "https://example.org/v1")
    assert result.exit_code == 1
    assert "--allow-remote" in result.stderr
    assert not Path("out").exists()
