"""Stage commands: a user's error is one line, a defect keeps its traceback."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from iqagpt.errors import ArtifactError, InputError, ParamsError
from iqagpt.stage import stage_app

REPOSITORY = Path(__file__).resolve().parents[1]


def app_raising(error: BaseException | None) -> typer.Typer:
    def main(output: Annotated[Path, typer.Option(help="Folder to write.")]) -> None:
        """Write nothing."""
        if error is not None:
            raise error

    return stage_app(main)


@pytest.mark.parametrize("kind", [ParamsError, ArtifactError, InputError])
def test_user_error_is_one_line_and_exit_code_1(kind: type[Exception]) -> None:
    result = CliRunner().invoke(
        app_raising(kind("params.yaml: train.lr: expected a number, got 'fast'")), ["--output", "x"]
    )
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(": error: params.yaml: train.lr: expected a number, got 'fast'")


def test_os_error_names_file_and_reason() -> None:
    result = CliRunner().invoke(
        app_raising(OSError(28, "No space left on device", "data/pairs/ndct.npy")), ["--output", "x"]
    )
    assert result.exit_code == 1
    assert "error: data/pairs/ndct.npy: No space left on device; check rights and free space" in result.stderr


def test_defect_keeps_its_traceback() -> None:
    result = CliRunner().invoke(app_raising(ZeroDivisionError("a defect")), ["--output", "x"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_success_is_silent() -> None:
    result = CliRunner().invoke(app_raising(None), ["--output", "x"])
    assert (result.exit_code, result.output) == (0, "")


def test_help_shows_docstring_and_options() -> None:
    result = CliRunner().invoke(app_raising(None), ["--help"])
    assert result.exit_code == 0
    assert "Write nothing." in result.stdout
    assert "Folder to write." in result.stdout


def test_missing_option_is_a_usage_error() -> None:
    result = CliRunner().invoke(app_raising(None), [])
    assert result.exit_code == 2
    assert "--output" in result.stderr


def test_as_a_command_the_message_has_the_stage_name_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/sample.py").write_text(
        textwrap.dedent(
            """
            import logging
            from pathlib import Path
            from iqagpt.config import load_section
            from iqagpt.stage import stage_app

            def main(params: Path = Path("params.yaml")) -> None:
                logging.getLogger("iqagpt.sample").info("reading")
                load_section(params, "train", dict)

            app = stage_app(main)
            if __name__ == "__main__":
                app()
            """
        )
    )
    (tmp_path / "params.yaml").write_text("trian: {}\n")
    code = (
        f"import runpy, sys; sys.path.insert(1, {str(REPOSITORY)!r}); "
        "runpy.run_module('stages.sample', run_name='__main__', alter_sys=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "sample: reading",
        "sample: error: params.yaml: section 'train' is missing (did you mean 'trian'?); "
        "compare with presets/smoke.yaml",
    ]
