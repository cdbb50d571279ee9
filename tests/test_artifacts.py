"""Artifacts: complete or not at all, byte-equal for equal content, and typed when read."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import (
    create_artifact,
    dump_yaml,
    open_artifact,
    read_table,
    write_metrics,
    write_table,
)
from iqagpt.errors import ArtifactError


def write_pairs(folder: Path, value: int = 7) -> None:
    with create_artifact(folder, "pairs") as artifact:
        artifact.array("ndct", (2, 4, 4), np.int16)[:] = value
        artifact.manifest(pd.DataFrame({"slice_id": ["001", "002"], "row": [0, 1], "z_mm": [0.5, 1 / 3]}))
        artifact.json("notes", {"b": 1, "a": [1, 2]})
        artifact.info["window_hu"] = [-160.0, 240.0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_round_trip(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data/pairs")
    artifact = open_artifact(tmp_path / "data/pairs", "pairs")
    assert artifact.info["window_hu"] == [-160.0, 240.0]
    array = artifact.array("ndct")
    assert (array.shape, array.dtype) == ((2, 4, 4), np.int16)
    assert (array == 7).all()
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1
    assert artifact.manifest["slice_id"].tolist() == ["001", "002"]
    assert artifact.manifest["z_mm"].tolist() == [0.5, 0.333333]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_pairs(tmp_path / "first")
    time.sleep(0.01)
    write_pairs(tmp_path / "second")
    first = content(tmp_path / "first")
    assert first == content(tmp_path / "second")
    assert set(first) == {"artifact.json", "manifest.csv", "ndct.npy", "notes.json"}
    assert b"\r" not in first["manifest.csv"]
    assert str(tmp_path).encode() not in b"".join(first.values())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_exception_leaves_the_previous_artifact(tmp_path: Path, error: type[BaseException]) -> None:
    write_pairs(tmp_path / "pairs")
    before = content(tmp_path)
    with pytest.raises(error), create_artifact(tmp_path / "pairs", "pairs") as artifact:
        artifact.array("ndct", (2, 4, 4), np.int16)[:] = 9
        raise error
    assert content(tmp_path) == before
    assert os.listdir(tmp_path) == ["pairs"]


def test_exception_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), create_artifact(tmp_path / "pairs", "pairs"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_unwritable_info_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"), create_artifact(tmp_path / "pairs", "pairs") as artifact:
        artifact.info["mean"] = float("nan")
    assert os.listdir(tmp_path) == []


def test_kill_leaves_no_artifact_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    code = (
        "import signal, os\nfrom iqagpt.artifacts import create_artifact\n"
        "with create_artifact('pairs', 'pairs') as artifact:\n"
        "    artifact.json('half', 1)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".pairs.partial"]
    with pytest.raises(ArtifactError, match=r"artifact\.json is missing"):
        open_artifact(tmp_path / "pairs", "pairs")
    write_pairs(tmp_path / "pairs")
    assert os.listdir(tmp_path) == ["pairs"]
    assert "half.json" not in content(tmp_path / "pairs")


def test_leftover_old_folder_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / ".pairs.old.partial").mkdir()
    (tmp_path / ".pairs.old.partial/x").touch()
    write_pairs(tmp_path / "pairs")
    assert os.listdir(tmp_path) == ["pairs"]


def test_replacing_leaves_no_file_of_the_previous_artifact(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs")
    with create_artifact(tmp_path / "pairs", "pairs") as artifact:
        artifact.json("only", 1)
    assert set(content(tmp_path / "pairs")) == {"artifact.json", "only.json"}


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder belongs")
    with (
        pytest.raises(ArtifactError, match=r"data/pairs: cannot be written"),
        create_artifact(tmp_path / "data/pairs", "pairs"),
    ):
        pass


def test_wrong_kind_names_both(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs")
    with pytest.raises(ArtifactError, match=r"pairs: expected a 'variants' artifact, found 'pairs'"):
        open_artifact(tmp_path / "pairs", "variants")


def test_other_schema_version(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs")
    file = tmp_path / "pairs/artifact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))
    with pytest.raises(ArtifactError, match="schema version 99, expected 1; run dvc repro"):
        open_artifact(tmp_path / "pairs", "pairs")


def test_missing_and_broken_artifacts(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no 'pairs' artifact here .* run dvc repro"):
        open_artifact(tmp_path / "pairs", "pairs")
    write_pairs(tmp_path / "pairs")
    with pytest.raises(ArtifactError, match=r"ldct.npy: cannot be read as an array"):
        open_artifact(tmp_path / "pairs", "pairs").array("ldct")
    (tmp_path / "pairs/ndct.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(ArtifactError, match=r"ndct.npy: cannot be read as an array"):
        open_artifact(tmp_path / "pairs", "pairs").array("ndct")
    (tmp_path / "pairs/artifact.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"artifact.json: not valid JSON"):
        open_artifact(tmp_path / "pairs", "pairs")


def test_a_fact_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """As in an artifact of an older version."""
    write_pairs(tmp_path / "pairs")
    artifact = open_artifact(tmp_path / "pairs", "pairs")
    for info in (artifact.info, pickle.loads(pickle.dumps(artifact)).info):
        assert info["window_hu"] == [-160, 240] and info.get("source") is None
        with pytest.raises(ArtifactError, match=r"pairs/artifact.json: says nothing of 'source' .*run dvc repro"):
            info["source"]


def test_arrays_are_opened_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's parser of headers is not safe in threads (Python 3.11)."""
    write_pairs(tmp_path / "pairs")
    pairs, load, busy, most = open_artifact(tmp_path / "pairs", "pairs"), np.load, [], []

    def slow(*given: object, **options: object) -> np.ndarray:
        busy.append(0)
        most.append(len(busy))
        time.sleep(0.002)
        busy.pop()
        return load(*given, **options)

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(pairs.array, ["ndct"] * 24))
    assert len(opened) == 24 and max(most) == 1


def test_identifiers_and_na_stay_text(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "slice_id": ["001", "010"],
            "patient_id": ["1e5", "N/A"],
            "caption": ["NA", 'quoted "a", b'],
            "reader": ["nan", "None"],
            "remedy": ["N/A", "null"],
        }
    )
    write_table(tmp_path / "t.csv", table)
    read = read_table(tmp_path / "t.csv")
    for column in table:
        assert read[column].tolist() == table[column].tolist(), column


def test_empty_cell_is_the_only_missing_value(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,caption\n1,\n2,N/A\n")
    read = read_table(tmp_path / "t.csv")
    assert read["caption"].isna().tolist() == [True, False]


def test_scores_with_gaps_are_integers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,lesion_conspicuity,noise,z_mm\na,,4,\nb,3,1,2\n")
    read = read_table(tmp_path / "t.csv")
    assert str(read["lesion_conspicuity"].dtype) == "Int64"
    assert read["lesion_conspicuity"].isna().tolist() == [True, False]
    assert read["lesion_conspicuity"][1] == 3
    assert read["noise"].dtype == np.int64
    assert read["z_mm"].dtype == np.float64


def test_a_score_that_is_infinite_stays_for_the_reader_of_the_table_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("image_id,noise\na,inf\nb,\n")
    assert read_table(file)["noise"].tolist()[0] == float("inf")


def test_fractional_scores_stay_fractional(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,lesion_conspicuity\na,\nb,3.25\nc,2\n")
    assert read_table(tmp_path / "t.csv")["lesion_conspicuity"].tolist()[1:] == [3.25, 2.0]


def test_table_survives_a_second_round(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id,lesion_conspicuity,row\n001,,0\n002,3,1\n")
    write_table(tmp_path / "b.csv", read_table(tmp_path / "a.csv"))
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_missing_and_ragged_tables(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"t.csv: no such table"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    with pytest.raises(ArtifactError, match=r"t.csv: not a readable CSV table"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ArtifactError, match=r"t.csv: not a readable CSV table"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(ArtifactError, match=r"t.csv: not a readable CSV table"):
        read_table(tmp_path / "t.csv")


def test_metrics_are_sorted_rounded_and_finite(tmp_path: Path) -> None:
    file = tmp_path / "metrics/m.json"
    write_metrics(file, {"b": {"y": np.float64(1 / 3), "x": np.int64(3)}, "a": "text", "c": [1, 0.1234567]})
    assert json.loads(file.read_text()) == {"a": "text", "b": {"x": 3, "y": 0.333333}, "c": [1, 0.123457]}
    assert file.read_text().index('"a"') < file.read_text().index('"b"')
    assert file.read_text().endswith("}\n")
    assert os.listdir(tmp_path / "metrics") == ["m.json"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), [1.0, float("-inf")]])
def test_undefined_metrics_are_refused_and_the_file_kept(tmp_path: Path, bad: object) -> None:
    file = tmp_path / "m.json"
    write_metrics(file, {"plcc": 0.5})
    with pytest.raises(ValueError, match=r"m.json: plcc: mean.* is -?(nan|inf)"):
        write_metrics(file, {"plcc": {"mean": bad}})
    assert json.loads(file.read_text()) == {"plcc": 0.5}


def test_yaml_keeps_order_and_blocks() -> None:
    assert dump_yaml({"b": [1.5, "N/A"], "a": {"on": True}}) == "b:\n- 1.5\n- N/A\na:\n  'on': true\n"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_an_array_that_does_not_fit_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing into the memory map of a sparse file on a full disk would end in SIGBUS."""

    def full(descriptor: int, begin: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(OSError, match=r"No space left on device: .*ndct\.npy"),
        create_artifact(tmp_path / "a", "pairs") as w,
    ):
        w.array("ndct", (2, 2), np.int16)
    assert not (tmp_path / "a").exists()
