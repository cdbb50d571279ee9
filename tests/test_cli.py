"""The command ``iqagpt``: exit codes, one line per problem, the summary."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from iqagpt import cli
from iqagpt.cli import app


def test_check_says_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_problems", lambda path: [])
    result = CliRunner().invoke(app, ["check", str(tmp_path / "my.yaml")])
    assert result.exit_code == 0
    assert "my.yaml: valid" in result.stdout


def test_check_lists_each_problem_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_problems", lambda path: ["a: wrong", "b: missing"])
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["a: wrong", "b: missing"]
    assert result.stdout == ""


def test_check_without_a_file_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path / "absent.yaml")])
    assert result.exit_code == 1
    assert "no such params file" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_summary_prints_the_tables_and_only_what_exists(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/tables.md").write_text("## Table 1.\n")
    result = CliRunner().invoke(app, ["summary", "--root", str(tmp_path)])
    assert result.exit_code == 0
    assert "## Table 1." in result.stdout
    assert "results/tables.md" in result.stdout
    assert "reports/reports.md" not in result.stdout


def test_summary_before_any_run_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["summary", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "no results yet; run dvc repro" in result.stderr


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["summary", "--help"]])
def test_help(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0
