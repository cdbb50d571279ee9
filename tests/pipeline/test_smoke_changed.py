"""The whole pipeline at the size of ``presets/smoke.yaml``: killed, fed with bad input and with a person's data, in folds.

Each test works on a copy of the state that ``test_smoke.py`` begins with.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from smoke_run import OUTPUTS, Finished, digest, lock, ran
from workspace import Workspace, read_yaml

from tests.data.test_identity import COUNT, Canaries, leaks, plant

#: Baselines where the test is about something else: each is a process that loads PyTorch.
FEW = ["noise_sd", "majority"]


def test_folds_as_queued_experiments_become_one_table(copy: Workspace) -> None:
    """Two of the four patients test: fold 2 runs, fold 3 comes from the run cache; few baselines, to be quick."""
    copy.set_params(evaluate__baselines=FEW)
    copy.check("dvc", "exp", "run", "--queue", "-S", "split.fold=range(2,4)")
    copy.check("dvc", "exp", "run", "--run-all", timeout=1200)
    text = copy.check("python", "-m", "iqagpt.cli", "folds", "--draws", "200")
    assert "2 folds, 2 patients" in text
    assert "no fold 0, 1 (dvc exp run -S split.fold=0)" in text
    assert "2 of 4 patients never test (L001, L002)" in text
    assert "TOO FEW PATIENTS: 2." in text
    assert "nan" not in text.lower().split()


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_nothing_of_a_person_goes_past_ingest(finished: Finished, copy: Workspace, tmp_path: Path) -> None:
    """Canaries in every header and file name: none in any output, cache entry, log, metric or printed line."""
    root, canaries = tmp_path / "root", Canaries()
    for file in sorted((copy.path / "data/phantom").glob("*/*/*.IMA")):
        target = root / file.parent.relative_to(copy.path / "data/phantom") / f"CANARYFILE_{file.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        plant(target, canaries, together=target.parent.parent.name)
    assert len(canaries.words) >= COUNT
    copy.set_params(ingest__root=str(root), evaluate__baselines=FEW)
    output = copy.check("dvc", "repro")
    assert {"ingest", "train", "report"} <= set(ran(output))
    files = [file for name in (".dvc", *OUTPUTS) for file in (copy.path / name).rglob("*") if file.is_file()]
    files = [file for file in files if file.suffix != ".db"]  # where DVC itself keeps names and hashes of what it read
    assert any(file.is_relative_to(copy.path / ".dvc/cache") for file in files)
    assert leaks(output.encode(), *(str(file).encode() for file in files)) == []
    assert [file for file in files if leaks(file.read_bytes())] == []


def forget(workspace: Workspace, *stages: str) -> None:
    """Make DVC forget that these stages have run: lock, outputs and run-cache."""
    content = read_yaml(workspace.path / "dvc.lock")
    for name in stages:
        for entry in content["stages"].pop(name)["outs"]:
            out = workspace.path / entry["path"]
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    (workspace.path / "dvc.lock").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    shutil.rmtree(workspace.path / ".dvc/cache/runs", ignore_errors=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "dvc repro ended before it could be killed"
        assert time.monotonic() < end, "the stage did not start"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("stage", "output", "sign"),
    [("denoise", "data/variants", ""), ("train", "models/iqagpt", "epoch 1 of")],
    ids=["while it writes", "between epochs"],
)
def test_killed_run_is_completed_by_the_next(
    stage: str, output: str, sign: str, finished: Finished, copy: Workspace, tmp_path: Path
) -> None:
    forget(copy, stage)
    final, log = copy.path / output, tmp_path / "log"
    partial = final.with_name(f".{final.name}.partial")
    process = copy.start("dvc", "repro", stage, log=log)
    try:
        wait_for(lambda: sign in log.read_text() if sign else partial.exists(), process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert sign or partial.exists(), "killed too late to be a test"
    assert not final.exists()
    copy.check("dvc", "repro")
    assert lock(copy) == lock(finished.workspace)
    assert not partial.exists()
    assert digest(copy.path, *OUTPUTS) == digest(finished.workspace.path, *OUTPUTS)


# Bad input: one message, no traceback, earlier outputs as they were


def refusal(workspace: Workspace, stage: str) -> str:
    """Run the pipeline, which must fail in a stage of ours with one message; return it."""
    result = workspace.run("dvc", "repro")
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    messages = re.findall(rf"^{stage}: error: (.*)$", result.stdout, re.MULTILINE)
    assert len(messages) == 1, result.stdout
    return messages[0]


def unchanged_except(finished: Finished, copy: Workspace, *outputs: str) -> bool:
    """DVC deletes the outputs of a stage before it runs; those of all others must stay."""

    def others(workspace: Workspace) -> dict[str, str]:
        files = digest(workspace.path, *OUTPUTS)
        return {name: value for name, value in files.items() if not name.startswith(outputs)}

    return others(copy) == others(finished.workspace)


def test_missing_root(finished: Finished, copy: Workspace) -> None:
    copy.set_params(ingest__root="data/nowhere")
    result = copy.run("dvc", "repro")
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    errors = [line for line in result.stdout.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "data/nowhere" in errors[0]
    assert unchanged_except(finished, copy, "data/pairs/")


def test_empty_root(finished: Finished, copy: Workspace) -> None:
    (copy.path / "data/empty").mkdir()
    copy.set_params(ingest__root="data/empty")
    assert "data/empty" in refusal(copy, "ingest")
    assert unchanged_except(finished, copy, "data/pairs/")


def test_root_without_dicom(finished: Finished, copy: Workspace) -> None:
    (copy.path / "data/notes").mkdir()
    (copy.path / "data/notes/L001.IMA").write_text("not DICOM", encoding="utf-8")
    copy.set_params(ingest__root="data/notes")
    assert "data/notes" in refusal(copy, "ingest")
    assert unchanged_except(finished, copy, "data/pairs/", "data/notes/")


def test_unknown_key(finished: Finished, copy: Workspace) -> None:
    copy.set_params(train__epoch=3)
    message = refusal(copy, "train")
    assert message.startswith("params.yaml: train.epoch: unknown key (did you mean 'epochs'?)")
    assert unchanged_except(finished, copy, "models/iqagpt/", "metrics/train.json")


def test_wrong_type(finished: Finished, copy: Workspace) -> None:
    copy.set_params(train__lr="fast")
    assert refusal(copy, "train") == "params.yaml: train.lr: expected a number, got 'fast'"
    assert unchanged_except(finished, copy, "models/iqagpt/", "metrics/train.json")


def test_value_out_of_range(finished: Finished, copy: Workspace) -> None:
    copy.set_params(split__test_patients=99)
    assert "test_patients" in refusal(copy, "split")
    assert unchanged_except(finished, copy, "data/split/")


def test_best_epoch_without_validation_patients(copy: Workspace) -> None:
    """Two sections that do not fit each other: seen when the stage runs, told as one message."""
    copy.set_params(split__val_patients=0, train__keep="best")
    copy.check("python", "-m", "stages.split", "--pairs", "data/pairs", "--output", "data/split")
    result = copy.run(*lock(copy)["train"]["cmd"].split())
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    message = result.stdout.splitlines()[-1]
    assert message.startswith("train: error: ")
    assert "keep" in message
    assert "val_patients" in message


def test_reader_table_that_is_not_there(finished: Finished, copy: Workspace) -> None:
    copy.set_params(read__table="data/reader.csv")
    result = copy.run("dvc", "repro")
    assert result.returncode != 0
    assert "data/reader.csv" in result.stdout
    assert "Traceback" not in result.stdout
    assert unchanged_except(finished, copy, "data/scores/", "metrics/read.json")


def test_unknown_key_on_the_command_line(copy: Workspace) -> None:
    result = copy.run("dvc", "exp", "run", "-S", "train.epoch=3")
    assert result.returncode != 0
    assert "epoch" in result.stdout
    assert "Traceback" not in result.stdout
