"""A cut-off ``dvc.lock``: mended from its whole entries, whatever the byte at which it ends; anything else is left alone."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import YAMLFileCorruptedError, dumps_yaml, parse_yaml
from typer.testing import CliRunner
from voluptuous import MultipleInvalid

from iqagpt import cli
from iqagpt.dvc_lock import mend_lock, whole_part
from iqagpt.errors import ArtifactError
from tests.pipeline.workspace import REPOSITORY, Workspace

#: DVC 3.67 uses a call that pygtrie is about to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

LOCK = Path("dvc.lock")


def tracked(path: str, *, folder: bool = False) -> dict[str, Any]:
    entry = {"path": path, "hash": "md5", "md5": "0123456789abcdef0123456789abcdef", "size": 12345}
    return entry | {"md5": entry["md5"] + ".dir", "nfiles": 12} if folder else entry


def stage(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "cmd": f"python -m stages.{name} --input data/a-long-name --output data/{name} " + "--and more " * 8,
        "deps": [tracked("code.py"), tracked("data/früher", folder=True)],
        "params": {"params.yaml": params},
        "outs": [tracked(f"data/{name}", folder=True), tracked(f"metrics/{name}.json")],
    }


STAGES = {
    "first": stage("first", {"text": "one line\nanother\n\nmore  \n", "on": True, "rate": 1e-5, "none": None}),
    "matrix@a_b": stage("matrix", {"long": "words " * 40, "list": [1, "2", {"key": []}]}),
    "last": stage("last", {"empty": {}}),
}
TEXT = dumps_yaml({"schema": "2.0", "stages": STAGES})


def stages_in(text: str) -> dict[str, Any]:
    """Read a lock file as DVC does, with its schema."""
    content = parse_yaml(text, LOCK)
    COMPILED_LOCKFILE_SCHEMA(content)
    return content.get("stages", {})


def entry_ends(content: bytes) -> list[tuple[str, int]]:
    """Return the name of every stage and the byte at which its entry ends."""
    names = list(stages_in(content.decode()))
    starts = [content.index(f"\n  {name}:\n".encode()) + 1 for name in names]
    return list(zip(names, [*starts[1:], len(content)], strict=True))


@pytest.mark.parametrize("step", [1, 1499], ids=["every byte", "the committed lock"])
def test_wherever_it_is_cut_the_whole_entries_stay(step: int) -> None:
    if step > 1 and not (REPOSITORY / "dvc.lock").exists():
        pytest.skip("there is no dvc.lock: the pipeline has not been run here")
    content = (REPOSITORY / "dvc.lock").read_bytes() if step > 1 else TEXT.encode()
    ends, original = entry_ends(content), stages_in(content.decode())
    for cut in range(0, len(content) + 1, step):
        found = stages_in(whole_part(content[:cut], LOCK))
        expected = {name: original[name] for name, end in ends if end <= cut}
        if found != expected:  # all but the last outputs, cut between two lines: DVC sees that one is missing
            name, entry = found.popitem()
            outs = entry["outs"]
            assert content[:cut].rstrip(b" ").endswith(b"\n"), f"cut at byte {cut}"
            assert entry | {"outs": outs + original[name]["outs"][len(outs) :]} == original[name], f"cut at byte {cut}"
        assert found == expected, f"cut at byte {cut}"


def test_whole_file_and_one_cut_between_stages_stay_byte_for_byte() -> None:
    content = TEXT.encode()
    for _, end in entry_ends(content):
        assert whole_part(content[:end], LOCK).encode() == content[:end]


def test_zeros_behind_the_text_are_a_cut() -> None:
    content = TEXT.encode()
    assert list(stages_in(whole_part(content[:-40] + bytes(512), LOCK))) == ["first", "matrix@a_b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TEXT.replace("  matrix@a_b:\n", "<<<<<<< HEAD\n  matrix@a_b:\n"), "holds merge conflicts"),
        (TEXT[:-30].replace("  last:\n", "=======\n  last:\n"), "holds merge conflicts"),
        (TEXT.replace("    deps:\n", "   deps: [\n", 1), "is not valid YAML (line "),
        (TEXT.replace("  first:\n", "  first: 3\n  second:\n"), "is not what DVC writes"),
        (TEXT.replace("schema: '2.0'", "schema: '1.0'"), "is not what DVC writes"),
        ("outs:\n- path: data\n", "does not begin as a lock file"),
        (TEXT.replace("ü", "\udcfc"), "is no UTF-8 text"),
    ],
    ids=["conflict", "conflict and cut", "broken inside", "no entry", "other version", "other file", "other encoding"],
)
def test_what_is_not_merely_cut_is_left_as_it_is(
    content: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    LOCK.write_bytes(content.encode(errors="surrogateescape"))
    before = LOCK.read_bytes()
    with pytest.raises(ArtifactError, match=r"dvc\.lock: ") as raised:
        mend_lock(LOCK)
    assert words in str(raised.value)
    assert "dvc repro" in str(raised.value)
    assert LOCK.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["dvc.lock"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DVC repository, as the working directory."""
    Repo.init(str(tmp_path), no_scm=True).close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_lock_file_is_nothing_to_mend(repository: Path) -> None:
    assert mend_lock(LOCK) is None


def test_check_mends_both_locks_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_problems", lambda path: [])
    locks = [LOCK, Path("study/dvc.lock")]
    locks[1].parent.mkdir()
    for lock in locks:
        lock.write_text(TEXT[:-40], encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["check"])
    assert result.exit_code == 0
    for lock, line in zip(locks, result.stderr.splitlines(), strict=True):
        assert line.startswith(f"{lock}: was cut off")
        assert "2 whole stage entries kept" in line
        assert f"the damaged file is now {lock}.damaged" in line
        assert list(stages_in(lock.read_text(encoding="utf-8"))) == ["first", "matrix@a_b"]
        assert lock.with_name("dvc.lock.damaged").read_text(encoding="utf-8") == TEXT[:-40]
    again = CliRunner().invoke(cli.app, ["check"])
    assert (again.exit_code, again.stderr) == (0, "")


def test_check_fails_on_merge_conflicts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_problems", lambda path: [])
    LOCK.write_text(f"<<<<<<< ours\n{TEXT}", encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["check"])
    assert result.exit_code == 1
    assert result.stderr.startswith("dvc.lock: holds merge conflicts (line 1)")


def test_a_file_that_dvc_is_writing_is_not_taken_for_damaged(repository: Path) -> None:
    """DVC holds its lock while it writes; another process, since a process does not shut itself out."""
    LOCK.write_text(TEXT[:-40], encoding="utf-8")
    code = "from dvc.repo import Repo\nwith Repo() as repo, repo.lock:\n    print('held', flush=True)\n    input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match="cannot be mended now: Unable to acquire lock"):
            mend_lock(LOCK)
        other.communicate("\n")
    assert LOCK.read_text(encoding="utf-8") == TEXT[:-40]


PIPELINE = """
stages:
  one:
    cmd: echo one >> ran; echo 1 > one
    deps: [source]
    outs: [one]
  two:
    cmd: echo two >> ran; mkdir two; cat one one > two/a; cat one > two/b; cat one > zwei
    deps: [one]
    outs: [two, zwei]
  three:
    cmd: echo three >> ran; cat two/a > three
    deps: [two]
    outs: [three]
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three stages that DVC has run; each leaves its name in the file ``ran``."""
    workspace = Workspace(tmp_path_factory.mktemp("pipeline"))
    (workspace.path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (workspace.path / "source").write_text("1", encoding="utf-8")
    workspace.check("dvc", "init", "--no-scm")
    workspace.check("dvc", "repro")
    return workspace


@pytest.mark.parametrize(
    ("mark", "shift", "accepted"),
    [
        ("schema", 0, False), ("\n  two:", 6, False), ("\n    - path: two", 11, False),
        ("\n  three:", 1, True), (".dir", 5, True), ("\n    - path: zwei", 1, True),
    ],
    ids=[
        "empty", "after a name", "inside an output", "between stages", "between lines",
        "between outputs",
    ],
)  # fmt: skip
def test_after_mending_dvc_restores_from_its_run_cache(
    mark: str, shift: int, accepted: bool, pipeline: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage runs again and the lock ends in the same bytes; DVC itself refuses most files that are cut."""
    lock, content = pipeline.path / "dvc.lock", (pipeline.path / "dvc.lock").read_bytes()
    ran = (pipeline.path / "ran").read_text()
    lock.write_bytes(content[: content.index(mark.encode()) + shift])
    with contextlib.nullcontext() if accepted else pytest.raises((YAMLFileCorruptedError, MultipleInvalid)):
        stages_in(lock.read_text(encoding="utf-8"))
    monkeypatch.chdir(pipeline.path)
    assert (mend_lock(LOCK) is None) == (mark in ("\n  three:", "\n    - path: zwei"))
    for out in ("two/a", "zwei", "three"):
        (pipeline.path / out).unlink()  # as a killed stage leaves it
    output = pipeline.check("dvc", "repro")
    assert "Running stage" not in output
    assert "is cached - skipping run" in output
    assert (pipeline.path / "three").read_text() == "1\n1\n"
    assert (pipeline.path / "ran").read_text() == ran == "one\ntwo\nthree\n"
    assert lock.read_bytes() == content
