"""The command ``iqagpt validate``: what goes where, and one line for everything a user can mend."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from iqagpt.cli import app
from iqagpt.study.report import FILES


def run(*words):
    return CliRunner().invoke(app, ["validate", *map(str, words)])


@pytest.fixture
def words(study_folder, noise_model, tmp_path):
    window = ["--window", "-160", "240", "--higher-is-better", "noise=quality"]
    return [study_folder, "--model", noise_model, "-o", tmp_path / "out", *window]


def test_table_on_stdout_notes_on_stderr_files_in_the_folder(words, tmp_path):
    result = run(*words)
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "out/table.md").read_text()
    assert all(line.startswith("note: ") for line in result.stderr.splitlines())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_nothing_is_replaced_unasked(words, tmp_path):
    assert run(*words).exit_code == 0
    again = run(*words)
    assert again.exit_code == 2 and "--force to replace it" in " ".join(again.stderr.split())
    assert run(*words, "--force").exit_code == 0
    (tmp_path / "out/mine.txt").write_text("x")
    kept = run(*words, "--force")
    assert kept.exit_code == 2 and (tmp_path / "out/mine.txt").is_file()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--higher-is-worse", "noise"], 2, "expected CRITERION=EXPRESSION"),
        (["--higher-is-worse", "small_structures="], 2, "expected CRITERION=EXPRESSION"),
        (["--higher-is-better", "noise=fixed"], 2, "noise is given twice"),
        (["--higher-is-worse", "noise=fixed"], 1, "noise is mapped twice"),
        (["--higher-is-worse", "contrast=quality"], 1, "unknown criterion 'contrast'"),
        (["--higher-is-worse", "small_structures=fixed"], 1, "a constant column"),
        (["--higher-is-worse", "small_structures=qality"], 1, "no column 'qality'"),
        (["--set-column", "patient"], 1, "no column 'patient' for the set"),
        (["--draws", "10"], 2, "draws"),
    ],
)
def test_wrong_options(words, tmp_path, more, code, message):
    result = run(*words, *more)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert code == 2 or len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_no_mapping(words):
    result = run(*words[:-2])
    assert result.exit_code == 1 and "give --higher-is-worse CRITERION=EXPRESSION" in result.stderr


def test_no_model(words, tmp_path):
    words[2] = tmp_path / "nothing"
    result = run(*words)
    assert result.exit_code == 1 and "expected models/iqagpt or models/baseline/NAME" in result.stderr


def test_a_failure_leaves_the_earlier_result(words, study_folder, tmp_path):
    assert run(*words).exit_code == 0
    before = (tmp_path / "out/study.json").read_bytes()
    (study_folder / "images/s2_4.png").write_bytes(b"broken")
    result = run(*words, "--force")
    assert result.exit_code == 1 and "cannot be read as PNG" in result.stderr
    assert (tmp_path / "out/study.json").read_bytes() == before


def test_help_imports_no_heavy_library():
    code = "import sys, iqagpt.cli; sys.exit(bool({'torch', 'matplotlib', 'nibabel', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
