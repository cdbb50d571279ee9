"""The command ``iqagpt dose``: exit status, rows on stderr, no torch."""

import subprocess
import sys

import numpy as np
import pytest
from dicom_files import truncate, write_slice
from scans import SPACING_MM, clean_body, scanned
from typer.testing import CliRunner

from iqagpt.cli import app
from iqagpt.data.scan_noise import Scan

FAST = ["--photons", "1e5", "--kernel", "0.38", "--views", "360"]


@pytest.fixture
def series(tmp_path):
    for number in (1, 2):
        image = scanned(Scan(1e5, 0.38), seed=number, views=360).astype(np.int32)
        write_slice(tmp_path / f"in/{number}.dcm", z=number, hu=image, PixelSpacing=[SPACING_MM] * 2)
    return tmp_path / "in"


def run(*words):
    return CliRunner().invoke(app, ["dose", *map(str, words)])


def test_a_series_in_a_series_out(series, tmp_path):
    result = run(series, "-o", tmp_path / "out", "--dose", "0.5", "--views", "360")
    assert result.exit_code == 0
    assert "kernel half at 0.3" in result.stdout and "measured on 2 slice(s)" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("2 slice(s) written to ")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_bad_file_is_a_row_and_the_count_comes_last(series, tmp_path):
    truncate(write_slice(series / "bad.dcm"))
    result = run(series, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 3
    assert "skipped: " in result.stderr and "bad.dcm: pixel data are truncated" in result.stderr
    assert result.stdout.splitlines()[-1].endswith("1 file(s) skipped")


def test_clipped_air_gives_a_visible_warning(series, tmp_path):
    result = run(series, "-o", tmp_path / "out", *FAST)
    assert "pixel values below and 0 above" in result.stderr


@pytest.mark.parametrize("words", [[], FAST])
def test_nothing_usable(tmp_path, words):
    write_slice(tmp_path / "in/a.dcm", hu=np.clip(clean_body(), -160, 240).astype(np.int32))
    result = run(tmp_path / "in", "-o", tmp_path / "out", *words)
    assert result.exit_code == 1
    assert "its lowest value is -160 HU" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dose", "1.5"], "dose: expected above 0 and at most 1"),
        (["--dose", "0"], "dose: expected above 0"),
        (["--photons", "many"], "photons: expected 'auto' or a number"),
        (["--kernel", "9"], "kernel_half_per_mm: expected"),
    ],
)
def test_usage(series, tmp_path, words, message):
    result = run(series, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_output_is_not_overwritten_without_force(series, tmp_path):
    assert run(series, "-o", tmp_path / "out", *FAST).exit_code == 0
    assert run(series, "-o", tmp_path / "out", *FAST).exit_code == 2
    assert run(series, "-o", tmp_path / "out", *FAST, "--force").exit_code == 0


@pytest.mark.parametrize("content", [None, []])
def test_absent_or_empty_input(tmp_path, content):
    if content is not None:
        (tmp_path / "in").mkdir()
    result = run(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_help_needs_neither_torch_nor_finufft():
    code = "import sys, iqagpt.cli; sys.exit(bool({'torch', 'finufft'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
