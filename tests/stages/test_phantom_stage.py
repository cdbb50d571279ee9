import hashlib
import os

import numpy as np
import pydicom
import pytest
import yaml
from typer.testing import CliRunner

from iqagpt.artifacts import open_artifact
from stages.phantom import app

SECTION = {
    "patients": 2, "pretrain_patients": 0, "slices": 2, "slice_increment_mm": 8.0, "thickness_mm": 3.0, "matrix": 128, "dose": 0.25,
    "views": 60, "photons": 3.5e5, "electronic_sd": 6.0, "seed": 5,
}  # fmt: skip


def run(folder, **changes):
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump({"phantom": {**SECTION, **changes}}))
    return CliRunner().invoke(app, ["--output", str(folder / "phantom"), "--params", str(params)])


def digest(root):
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom_stage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        result = run(folder)
    assert result.exit_code == 0, result.output
    return folder / "phantom"


def headers(made, patient, kind):
    return [pydicom.dcmread(file) for file in sorted((made / patient / kind).glob("*.IMA"))]


def test_layout_is_that_of_the_challenge(made):
    assert sorted(p.name for p in made.iterdir()) == ["L001", "L002", "artifact.json", "manifest.csv"]
    for patient in ("L001", "L002"):
        assert sorted(p.name for p in (made / patient).iterdir()) == ["full_3mm", "organs.npz", "quarter_3mm"]
        for kind, tag in (("full_3mm", "FD"), ("quarter_3mm", "QD")):
            names = sorted(p.name for p in (made / patient / kind).iterdir())
            assert len(names) == 2
            assert names[0].startswith(f"{patient}_{tag}_3_1.CT.")
            assert names[0].endswith(".0001.2016.01.01.00.00.00.000000.IMA")


def test_headers_have_the_traps_of_the_real_data(made):
    full, quarter = headers(made, "L001", "full_3mm"), headers(made, "L001", "quarter_3mm")
    for a, b in zip(full, quarter, strict=True):
        assert a.ImagePositionPatient == b.ImagePositionPatient
        assert a.PatientName == b.PatientName == "L001"
        assert a.PatientID == "Anonymous"
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SeriesNumber"):
            assert a[name].value != b[name].value, name
        assert b.XRayTubeCurrent == pytest.approx(a.XRayTubeCurrent / 4, abs=1)
        assert a.ConvolutionKernel == "B30f"
    assert full[0].StudyInstanceUID == full[1].StudyInstanceUID
    assert full[0].ImagePositionPatient[2] - full[1].ImagePositionPatient[2] == pytest.approx(8.0)
    assert headers(made, "L002", "full_3mm")[0].SeriesInstanceUID != full[0].SeriesInstanceUID


def test_files_say_that_they_are_synthetic(made):
    dataset = headers(made, "L001", "full_3mm")[0]
    assert dataset.Manufacturer == "IQAGPT phantom"
    assert "not a patient" in dataset.ImageComments
    assert open_artifact(made, "phantom").info["synthetic"] is True


def test_organ_maps_lie_at_the_positions_of_the_slices(made):
    full = headers(made, "L002", "full_3mm")
    with np.load(made / "L002" / "organs.npz") as organs:
        assert organs["labels"].shape == (2, 128, 128)
        assert organs["labels"].dtype == np.uint8
        assert organs["z_mm"].dtype == np.float64
        np.testing.assert_allclose(organs["z_mm"], [float(d.ImagePositionPatient[2]) for d in full])
        for labels, dataset in zip(organs["labels"], full, strict=True):
            hu = dataset.pixel_array.astype(int) - 1024
            assert 70 < np.median(hu[labels == 5]) < 150


def test_manifest_has_a_row_per_slice(made):
    table = open_artifact(made, "phantom").manifest
    assert list(table.patient_id) == ["L001", "L001", "L002", "L002"]
    assert all((made / file).is_file() for file in [*table.ndct_file, *table.ldct_file])


def test_result_does_not_depend_on_the_number_of_workers(made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert digest(tmp_path / "phantom") == digest(made)


def test_another_seed_gives_other_images(made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert run(tmp_path, seed=6, patients=1).exit_code == 0
    assert digest(tmp_path / "phantom")["L001/organs.npz"] != digest(made)["L001/organs.npz"]


def test_wrong_value_is_one_message_and_no_output(tmp_path):
    result = run(tmp_path, dose=2.0)
    assert result.exit_code == 1
    assert "phantom.dose: expected above 0 and at most 1, got 2.0" in result.output
    assert not (tmp_path / "phantom").exists()


def test_further_patients_lie_apart_and_change_no_other(made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert run(tmp_path, pretrain_patients=1).exit_code == 0
    more, own = digest(tmp_path / "phantom"), digest(made)
    files = {name for name in own if name.startswith("L")}
    assert {name: more[name] for name in files} == {name: own[name] for name in files}
    assert {name.split("/")[1] for name in more if name.startswith("pretrain/")} == {"L003"}
    table = open_artifact(tmp_path / "phantom", "phantom").manifest
    assert (table["ndct_file"].str.startswith("pretrain/") == (table["patient_id"] == "L003")).all()
