"""The stage `ingest` as a command."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import open_artifact
from stages.ingest import app
from tests.data.dicom_files import SIDE, truncate, write_patient

SHARED = Path(__file__).resolve().parents[2] / "../shared/data/aapm_layout"


def run(tmp_path, root, *, output="pairs", **changes):
    section = dict(
        root=str(root), low_dose="given", pairs=6, pretrain_pairs=0,
        thickness_mm=3.0, kernel=None, patients=[], exclude=[], matrix=None,
        dose=dict(fraction=0.25, photons=4e5, views=60, seed=1), window_hu=[-160.0, 240.0], strict=False,
    )  # fmt: skip
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"ingest": {**section, **changes}}))
    result = CliRunner().invoke(app, ["--output", str(tmp_path / output), "--params", str(params)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def root(tmp_path):
    for code in ("L067", "L096"):
        write_patient(tmp_path / "root", code, zs=range(0, 15, 3))
    labels = np.zeros((2, SIDE, SIDE), np.uint8)
    labels[:] = 5
    np.savez(tmp_path / "root" / "L096" / "organs.npz", z_mm=np.array([0.0, 6.0]), labels=labels)
    return tmp_path / "root"


def tree(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_files_columns_types(tmp_path, root):
    result = run(tmp_path, root)
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "pairs", "pairs")
    assert sorted(path.name for path in artifact.path.iterdir()) == [
        "artifact.json", "ldct.npy", "manifest.csv", "ndct.npy", "organs.npy", "rejected.csv",
    ]  # fmt: skip
    manifest = artifact.manifest
    assert list(manifest.columns) == [
        "slice_id", "patient_id", "instance_number", "slice_location_mm", "pixel_spacing_mm", "thickness_mm",
        "kernel", "has_organ_map", "row", "pretrain",
    ]  # fmt: skip
    assert list(manifest["slice_id"]) == [f"{code}_{k:03d}" for code in ("L067", "L096") for k in (0, 2, 4)]
    assert list(manifest["row"]) == list(range(6))
    assert list(manifest["has_organ_map"]) == [0, 0, 0, 1, 1, 0]
    for name, dtype in (("ndct", np.int16), ("ldct", np.int16), ("organs", np.uint8)):
        assert artifact.array(name).shape == (6, SIDE, SIDE)
        assert artifact.array(name).dtype == dtype
    assert np.all(artifact.array("organs")[3:5] == 5)
    assert not artifact.array("organs")[[0, 1, 2, 5]].any()
    assert artifact.info["window_hu"] == [-160.0, 240.0]
    assert artifact.table("rejected").empty
    pixels = np.random.default_rng(67).integers(-200, 300, size=(5, SIDE, SIDE), dtype=np.int32)
    np.testing.assert_array_equal(artifact.array("ndct")[1], pixels[2])


@pytest.mark.parametrize(
    ("described", "source"),
    [
        (None, "data of the user, low dose as given"),
        ('{"kind": "phantom", "schema_version": 1}', "built-in CT phantom: SYNTHETIC patients, no real CT"),
        ("anything", "data of the user, low dose as given"),
    ],
)
def test_where_images_come_from_goes_with_them(tmp_path, root, described, source):
    if described:
        (root / "artifact.json").write_text(described)
    assert run(tmp_path, root).exit_code == 0
    assert open_artifact(tmp_path / "pairs", "pairs").info["data_source"] == source


def test_equal_inputs_give_equal_bytes_anywhere(tmp_path, root, monkeypatch):
    run(tmp_path, root)
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, "root", output="again").exit_code == 0
    assert tree(tmp_path / "pairs") == tree(tmp_path / "again")
    assert all(str(tmp_path).encode() not in content for content in tree(tmp_path / "pairs").values())


def test_trap_03_unusual_intercept_is_reported_and_used(tmp_path):
    write_patient(tmp_path / "root", "L067", RescaleIntercept=-1000, hu=55)
    result = run(tmp_path, tmp_path / "root", pairs=2)
    assert "rescale intercepts are [-1000.0]" in result.output
    artifact = open_artifact(tmp_path / "pairs", "pairs")
    assert np.all(artifact.array("ndct") == 55)
    assert artifact.info["rescale_intercepts_hu"] == [-1000.0]


def test_truncated_file_is_a_row_and_the_count_comes_last(tmp_path, root):
    bad = sorted((root / "L067" / "full_3mm").iterdir())[2]
    truncate(bad)
    result = run(tmp_path, root)
    assert result.exit_code == 0, result.output
    assert "6 pairs written; 1 file(s) rejected" in result.output.strip().splitlines()[-1]
    (row,) = open_artifact(tmp_path / "pairs", "pairs").table("rejected").to_dict("records")
    assert row["file"] == bad.relative_to(root).as_posix()
    assert "truncated" in row["reason"]
    assert row["remedy"]


def test_strict_turns_a_row_into_a_failure_and_keeps_what_was_there(tmp_path, root):
    run(tmp_path, root)
    before = tree(tmp_path / "pairs")
    bad = sorted((root / "L067" / "full_3mm").iterdir())[2]
    truncate(bad)
    result = run(tmp_path, root, strict=True)
    assert result.exit_code == 1
    assert "ingest.strict: 1 rejected file(s)" in result.output
    assert bad.name in result.output
    assert tree(tmp_path / "pairs") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "no/such/folder"}, "ingest.root: no such folder or zip archive: no/such/folder"),
        ({"pairs": "many"}, "ingest.pairs: expected a whole number, got 'many'"),
        ({"pair": 3}, "ingest.pair: unknown key (did you mean 'pairs'?)"),
        ({"patients": ["L777"]}, "ingest.patients: L777 not found"),
        ({"thickness_mm": 5.0}, "ingest.thickness_mm: 5 mm"),
        ({"exclude": ["L185"]}, "ingest.exclude: expected PATIENT:FIRST-LAST"),
    ],
)
def test_one_clear_error_and_no_output(tmp_path, root, changes, message):
    result = run(tmp_path, changes.pop("root", root), **changes)
    assert result.exit_code == 1
    assert result.output.count("error:") == 1
    assert message in result.output
    assert not (tmp_path / "pairs").exists()


def test_bad_organ_map_leaves_nothing_half_written(tmp_path, root):
    np.savez(root / "L096" / "organs.npz", z_mm=np.zeros(2), labels=np.zeros((2, 8, 8), np.uint8))
    result = run(tmp_path, root)
    assert result.exit_code == 1
    assert "organs.npz: z_mm has shape (2,) and labels (2, 8, 8)" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "root"]


def test_real_pairs(tmp_path):
    if not SHARED.is_dir():
        pytest.skip(f"no real CT at {SHARED}")
    assert run(tmp_path, SHARED, thickness_mm=None).exit_code == 0
    artifact = open_artifact(tmp_path / "pairs", "pairs")
    assert list(artifact.manifest["patient_id"]) == ["L506", "L901", "L902", "L903", "L904", "L905"]
    noise = [np.std(artifact.array(name)[0, 250:260, 60:70].astype(float)) for name in ("ndct", "ldct")]
    assert noise[1] > 1.3 * noise[0]


def write_pretrain_patients(root):
    for code in ("L097", "L001"):  # before and after the others in order
        write_patient(root / "pretrain", code, zs=range(0, 15, 3))


def test_patients_for_pretraining_are_counted_apart_and_marked(tmp_path, root):
    write_pretrain_patients(root)
    assert run(tmp_path, root, pretrain_pairs=4).exit_code == 0
    manifest = open_artifact(tmp_path / "pairs", "pairs").manifest
    expected = {"L001": (2, 1), "L067": (3, 0), "L096": (3, 0), "L097": (2, 1)}
    assert {p: (len(t), t["pretrain"].max()) for p, t in manifest.groupby("patient_id")} == expected
    assert list(manifest["row"]) == list(range(10))


def test_patients_for_pretraining_change_nothing_else(tmp_path, root):
    run(tmp_path, root)
    alone = tree(tmp_path / "pairs")
    write_pretrain_patients(root)
    run(tmp_path, root, output="with")
    assert tree(tmp_path / "with") == alone
    run(tmp_path, root, output="further", pretrain_pairs=4)
    own, further = (open_artifact(tmp_path / name, "pairs") for name in ("pairs", "further"))
    rows = further.manifest.loc[further.manifest["pretrain"] == 0]
    assert list(rows["slice_id"]) == list(own.manifest["slice_id"])
    assert np.array_equal(further.array("ldct")[rows["row"]], own.array("ldct"))


def test_pairs_for_pretraining_without_patients_are_refused(tmp_path, root):
    result = run(tmp_path, root, pretrain_pairs=4)
    assert result.exit_code == 1
    assert "ingest.pretrain_pairs: 4 wanted, but no patient lies below a folder 'pretrain'" in result.output


def test_a_patient_both_for_pretraining_and_not_is_refused(tmp_path, root):
    write_patient(root / "pretrain", "L067", zs=range(0, 15, 3))
    result = run(tmp_path, root, pretrain_pairs=4)
    assert result.exit_code == 1
    assert "L067 both below a folder 'pretrain' and elsewhere" in result.output
