"""The command ``iqagpt assess``: data on stdout, talk on stderr, exit status, and an output that is never half there."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from iqagpt.assessment import journal, running
from iqagpt.assessment.assessor import Assessor
from iqagpt.assessment.journal import journal_path, series_path
from iqagpt.cli import app
from iqagpt.criteria import KEYS
from tests.assessment.conftest import body, write_scan
from tests.data.dicom_files import truncate, write_slice


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """Eleven good slices, and one whose pixels cannot be decompressed is not among them."""
    monkeypatch.chdir(tmp_path)
    return write_scan(tmp_path / "scan").relative_to(tmp_path)


@pytest.fixture
def run(captioner_folder):
    def call(*words, model=captioner_folder):
        return CliRunner().invoke(app, ["assess", *map(str, words), "--model", str(model)])

    return call


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_of_jsonl_says_what_it_is(run, scan, assessor):
    result = run(scan, "--format", "jsonl")
    assert result.exit_code == 0
    head, *slices, series = records(result.stdout)
    assert head["record"] == "run" and len(slices) == 11 and series["record"] == "series"
    for record in slices:
        assert record["direction"] == "1 best to 4 worst" and record["model_sha256"] == assessor.weights_sha256
        assert record["report"].startswith("TECHNIQUE") and len(record["sha256"]) == 64 and record["sop_uid"]
        assert record["warnings"] == []
    expected = assessor.assess([body(k) for k in range(11)], pixel_spacing_mm=[0.75] * 11)
    assert [record["scores"] for record in slices] == [found.scores for found in expected]
    assert [record["caption"] for record in slices] == [found.caption for found in expected]
    mean = np.mean([found.expected["noise"] for found in expected])
    assert series["mean_expected"]["noise"] == pytest.approx(mean, abs=1e-4)
    assert sum(series["scores"]["lesion_conspicuity"].values()) == 11
    assert series["series_uid"] == "1.2.3" and "series 1: scan (11 slices" in result.stderr


def test_json_and_csv_say_the_same(run, scan):
    lines = [r for r in records(run(scan, "--format", "jsonl").stdout) if r["record"] == "slice"]
    document = json.loads(run(scan, "--format", "json").stdout)
    assert document["series"][0]["slices"] == lines and document["other_files"] == []
    assert document["series"][0]["summary"]["assessed"] == 11
    rows = list(csv.DictReader(io.StringIO(run(scan, "--format", "csv").stdout)))
    assert [row["input"] for row in rows] == [record["input"] for record in lines]
    for row, record in zip(rows, lines, strict=True):
        assert row["report"] == record["report"]
        for key in KEYS:
            score = record["scores"][key]
            assert row[key] == ("n/a" if score is None else str(score))
            assert float(row[f"{key}_p3"]) == record["probabilities"][key]["3"]
        assert float(row["lesion_conspicuity_none"]) == record["probabilities"]["lesion_conspicuity"]["n/a"]


def test_the_table_is_for_people(run, scan):
    result = run(scan)
    assert result.exit_code == 0
    assert "11 assessed" in result.stdout and "1 best to 4 worst" in result.stdout and "TECHNIQUE" not in result.stdout
    assert "not for diagnosis" in result.stdout and result.stderr.endswith("11 slices assessed\n")
    one = run(scan / "s03.dcm")
    assert "TECHNIQUE" in one.stdout and "Caption: Image noise" in one.stdout


def test_a_bad_file_is_a_row_not_an_end(run, scan):
    truncate(scan / "s02.dcm")
    write_slice(scan / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    result = run(scan, "--format", "jsonl")
    assert result.exit_code == 3
    rows = [r for r in records(result.stdout) if r["record"] == "slice"]
    bad = {r["input"]: r for r in rows if r["status"] != "ok"}
    assert len(rows) == 12 and {r["status"] for r in bad.values()} == {"failed", "skipped"}
    assert "truncated" in bad["scan/s02.dcm"]["problem"] and bad["scan/s02.dcm"]["scores"] is None
    assert "10 slices assessed, 1 failed, 1 skipped" in result.stderr
    table = run(scan)
    assert "scan/s02.dcm: failed" in table.stdout and table.exit_code == 3
    rows = list(csv.DictReader(io.StringIO(run(scan, "--format", "csv").stdout)))
    assert {row["status"] for row in rows if row["noise"] == ""} == {"failed", "skipped"}


def test_a_scout_view_among_the_slices_is_no_failure(run, scan):
    write_slice(scan / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert run(scan).exit_code == 0


def test_a_file_that_breaks_between_listing_and_reading(run, scan, monkeypatch):
    read = running.read_ct

    def gone(path, frame=0):
        if path.name == "s04.dcm":
            path.unlink()
        return read(path, frame)

    monkeypatch.setattr(running, "read_ct", gone)
    result = run(scan, "--format", "jsonl")
    assert result.exit_code == 3
    (bad,) = [r for r in records(result.stdout) if r.get("status") == "failed"]
    assert bad["input"] == "scan/s04.dcm" and "cannot be read" in bad["problem"]


def test_pictures_need_a_window_and_keep_their_limits(run, scan, tmp_path):
    Image.fromarray(((body(0).clip(-160, 240) + 160) / 400 * 255).astype(np.uint8)).save(tmp_path / "a.png")
    without = run("a.png")
    assert without.exit_code == 4 and "state the HU of black" in without.stderr and without.stdout == ""
    result = run("a.png", "--window", -160, 240, "--format", "jsonl")
    assert result.exit_code == 0 and records(result.stdout)[1]["warnings"] == ["pixel size unknown"]
    wide = run("a.png", "--window", -1000, 1000, "--format", "jsonl")
    assert any("steps of 7.8 HU" in text for text in records(wide.stdout)[1]["warnings"])
    assert run("a.png", "--window", 240, -160).exit_code == 2


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "txt"])
def test_output_files(run, scan, suffix, tmp_path):
    result = run(scan, "-o", f"out/a.{suffix}")
    assert result.exit_code == 0 and result.stdout == ""
    assert "11 slices assessed: out/a." in result.stderr
    names = {f"a.{suffix}", *(["a.series.csv"] if suffix == "csv" else [])}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    again = run(scan, "-o", f"out/a.{suffix}")
    assert again.exit_code == 2 and "--force to replace" in " ".join(again.stderr.split())
    before = (tmp_path / f"out/a.{suffix}").read_bytes()
    assert run(scan, "-o", f"out/a.{suffix}", "--force").exit_code == 0
    assert (tmp_path / f"out/a.{suffix}").read_bytes() == before


@pytest.fixture
def three_cores(monkeypatch):
    """Batches of two slices, assessed three at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(running, "BATCH_SIZE", 2)
    yield
    torch.set_num_threads(before)


def test_batches_side_by_side_change_nothing(run, scan, three_cores, monkeypatch):
    assess, calls, together = Assessor.assess_prepared, [], threading.Barrier(3)

    def watched(self, slices):
        calls.append(torch.get_num_threads())
        if len(calls) <= 3:
            together.wait(timeout=60)  # passed by three at once alone
        return assess(self, slices)

    unwatched = run(scan, "--format", "jsonl")
    monkeypatch.setattr(Assessor, "assess_prepared", watched)
    side_by_side = run(scan, "--format", "jsonl")
    assert calls == [1] * 6 and side_by_side.exit_code == 0
    torch.set_num_threads(1)
    assert side_by_side.stdout == unwatched.stdout == run(scan, "--format", "jsonl").stdout


def test_a_fault_in_one_of_several_batches_ends_the_run(run, scan, three_cores, monkeypatch):
    def failing(self, slices):
        raise KilledError

    monkeypatch.setattr(Assessor, "assess_prepared", failing)
    with pytest.raises(KilledError):
        run(scan)
    assert torch.get_num_threads() == 3


class KilledError(BaseException):
    """What a killed process leaves behind: no clean-up, no last words."""


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
@pytest.mark.parametrize("torn", [b"", b'{"record": "slice", "ser'])
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(run, scan, suffix, torn, monkeypatch, tmp_path):
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert run(scan, "-o", whole).exit_code == 0
    assess, calls = Assessor.assess_prepared, []

    def dying(self, images, **options):
        calls.append(len(images))
        if len(calls) == 2:
            raise KilledError
        return assess(self, images, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Assessor, "assess_prepared", dying)
        with pytest.raises(KilledError):
            run(scan, "-o", output)
    assert not output.exists() and journal_path(output).exists()
    with journal_path(output).open("ab") as file:
        file.write(torn)
    assert run(scan, "-o", output).exit_code == 2  # unasked it neither goes on nor starts again
    assessed = []
    monkeypatch.setattr(
        Assessor, "assess_prepared", lambda s, images, **o: assessed.append(len(images)) or assess(s, images, **o)
    )
    result = run(scan, "-o", output, "--resume")
    assert result.exit_code == 0 and sum(assessed) == 3 and "3 slices assessed, 8 taken over" in result.stderr
    assert output.read_bytes() == whole.read_bytes() and not journal_path(output).exists()
    if suffix == "csv":
        assert series_path(output).read_bytes() == series_path(whole).read_bytes()


def test_sigkill(run, scan, captioner_folder, tmp_path):
    write_scan(scan, 120)
    words = ["assess", str(scan), "-o", "out.jsonl", "--model", str(captioner_folder), "-q"]
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r}); import iqagpt.cli; iqagpt.cli.app()"
    process = subprocess.Popen([sys.executable, "-c", code, *words])
    partial = journal_path(tmp_path / "out.jsonl")
    while process.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 8):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "out.jsonl").exists()
    result = run(scan, "-o", "out.jsonl", "--resume")
    assert result.exit_code == 0 and "taken over" in result.stderr
    assert run(scan, "-o", "whole.jsonl").exit_code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_interrupted(run, scan, monkeypatch):
    monkeypatch.setattr(Assessor, "assess_prepared", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    result = run(scan, "-o", "out.csv")
    assert result.exit_code == 130 and result.stderr.endswith("interrupted; --resume goes on\n")


def test_resume_assesses_what_has_changed_and_what_is_new(run, scan):
    assert run(scan, "-o", "out.jsonl").exit_code == 0
    write_slice(
        scan / "s00.dcm", z=0, hu=body(99).astype(np.int32), SeriesInstanceUID="1.2.3", BodyPartExamined="ABDOMEN"
    )
    write_slice(
        scan / "s90.dcm", z=90, hu=body(98).astype(np.int32), SeriesInstanceUID="1.2.3", BodyPartExamined="ABDOMEN"
    )
    result = run(scan, "-o", "out.jsonl", "--resume")
    assert "2 slices assessed, 10 taken over" in result.stderr
    assert run(scan, "-o", "fresh.jsonl").exit_code == 0
    with open("out.jsonl", "rb") as old, open("fresh.jsonl", "rb") as new:
        assert old.read() == new.read()


def test_another_models_output_is_not_gone_on_with(run, scan, captioner_folder, tmp_path):
    assert run(scan, "-o", "out.jsonl").exit_code == 0
    head, *rest = (tmp_path / "out.jsonl").read_text().splitlines(keepends=True)
    changed = json.loads(head) | {"model_sha256": "0" * 64}
    (tmp_path / "out.jsonl.partial").write_text(json.dumps(changed) + "\n" + "".join(rest))
    result = run(scan, "-o", "out.jsonl", "--resume")
    assert result.exit_code == 1 and "with another model_sha256; --force starts again" in result.stderr


def test_two_runs_do_not_write_one_output(run, scan, monkeypatch):
    seen = []
    assess = Assessor.assess_prepared

    def nested(self, images, **options):
        seen.append(None)
        if len(seen) == 2:  # when the first batch is in the journal
            seen.append(run(scan, "-o", "out.csv", "--force"))
        return assess(self, images, **options)

    monkeypatch.setattr(Assessor, "assess_prepared", nested)
    assert run(scan, "-o", "out.csv").exit_code == 0
    (refused,) = filter(None, seen)
    with open("out.csv", newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok"] * 11
    assert refused.exit_code == 1 and "another run is writing it" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["absent.dcm"], 4, "absent.dcm: failed: cannot be read (No such file or directory)"),
        (["scan", "--format", "xml"], 2, "expected table, json, jsonl, csv"),
        (["scan", "-o", "out.xyz"], 2, "does not say a format"),
        (["scan", "-o", "scan"], 2, "is a folder"),
        (["scan", "-o", "a.csv", "--resume", "--force"], 2, "not both"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_words(run, scan, words, code, message):
    if words and words[-1] == "scan" and "-o" in words:
        words = [*words[:-1], "scan", "--format", "csv"]
    result = run(*words)
    assert result.exit_code == code and message in " ".join(result.stderr.split()) and result.stdout == ""


def test_no_model(run, scan, tmp_path):
    result = run(scan, model=tmp_path / "nothing")
    assert result.exit_code == 5 and len(result.stderr.splitlines()) == 1 and result.stdout == ""
    (tmp_path / "broken").mkdir()
    for content in ("{}", '{"kind": "captioner", "schema_version": 1}', "[", "", '{"kind": "pairs"}'):
        (tmp_path / "broken/artifact.json").write_text(content)
        result = run(scan, model=tmp_path / "broken")
        assert result.exit_code == 5 and len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(run, scan, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run(scan, "-o", "closed/out.csv").exit_code == 7


def test_a_full_disk_keeps_what_was_there(run, scan, monkeypatch, tmp_path):
    (tmp_path / "out.csv").write_text("mine")

    def full(*_):
        raise OSError(28, "No space left on device", "out.csv")

    monkeypatch.setattr(journal.os, "replace", full)
    result = run(scan, "-o", "out.csv", "--force")
    assert result.exit_code == 7 and "No space left on device" in result.stderr and "--resume goes on" in result.stderr
    assert (tmp_path / "out.csv").read_text() == "mine" and not (tmp_path / ".out.csv.partial").exists()


def test_no_text_of_a_header_comes_out(run, scan):
    write_slice(scan / "named.dcm", z=-3, hu=body(0).astype(np.int32), PatientName="DOE^JANE", PatientID="MRN123",
                SeriesDescription="Jane's scan", SeriesInstanceUID="1.2.3 Jane", BodyPartExamined="JANE")  # fmt: skip
    for form in ("table", "json", "jsonl", "csv"):
        result = run(scan, "--format", form)
        assert result.exit_code == 0
        assert not any(
            word in (result.stdout + result.stderr).lower() for word in ("doe^", "jane's", "mrn123", "2.3 jane")
        )
