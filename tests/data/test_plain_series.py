"""NDCT of any names: numbered patients, a simulated low dose, matrices, gaps and tilt."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.data import pixel_jobs
from iqagpt.data.finding import find_slices
from iqagpt.data.ingest_params import SimulatedDose
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.pair_store import write_pairs
from iqagpt.data.pairing import pair_slices
from iqagpt.data.selection import select_pairs
from iqagpt.data.sources import opened_source
from iqagpt.errors import InputError
from tests.data.dicom_files import find, make_params, write_enhanced, write_patient, write_series, write_slice

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
AIR = np.full((16, 16), -1000)
AIR[4:12, 4:12] = 40


def ingest(root, output, **changes):
    params = make_params(root, **changes)
    with opened_source(root, output.parent / ".scratch") as source:
        found = find_slices(params, source)
        pairs = select_pairs(pair_slices(found, params), params.pairs, found.rejected)
        pairs, scans = pixel_jobs.measure_scans(pairs, params, found.rejected)
        with create_artifact(output, "pairs") as writer:
            write_pairs(writer, pairs, found, params, scans=scans)
    return open_artifact(output, "pairs")


def test_patients_are_numbered_and_the_low_dose_is_simulated(tmp_path):
    root = tmp_path / "root"
    for name in ("Miller", "Smith"):
        write_series(root / name, zs=range(0, 9, 3), stem="scan", hu=AIR, PatientName=name, PatientID=name, seed=2)
    artifact = ingest(root, tmp_path / "pairs", low_dose="simulated")
    assert artifact.info["data_source"] == "data of the user, low dose simulated"
    assert sorted(set(artifact.manifest["patient_id"])) == ["P001", "P002"]
    ndct, ldct = (artifact.array(name).astype(int) for name in ("ndct", "ldct"))
    assert np.all(ndct == AIR)
    noise = (ldct - ndct)[:, 6:10, 6:10]
    assert 0.5 < noise.std() < 200
    assert not np.array_equal(noise[0], noise[1])
    assert "simulated at 0.25" in artifact.info["dose_note"]


def test_output_is_the_same_for_any_number_of_processes(tmp_path, monkeypatch):
    root = tmp_path / "root"
    for name in ("a", "b"):
        write_series(root / name, zs=(0, 3), hu=AIR, PatientName=name)
    changes = {"low_dose": "simulated"}
    ingest(root, tmp_path / "one", **changes)
    monkeypatch.setattr(pixel_jobs, "_WORTHWHILE_SECONDS", 0.0)
    monkeypatch.setattr(pixel_jobs.os, "cpu_count", lambda: 2)
    ingest(root, tmp_path / "two", **changes)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_frame_is_a_slice(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    write_enhanced(root / "a.dcm", frames=4)
    artifact = ingest(root, tmp_path / "pairs", low_dose="simulated")
    assert list(artifact.manifest["slice_location_mm"]) == [0, 3, 6, 9]


def test_images_without_air_are_refused(tmp_path):
    write_series(tmp_path / "root", zs=(0, 3), hu=np.full((16, 16), 40))
    with pytest.raises(InputError, match=r"no air: its lowest value is 40 HU"):
        ingest(tmp_path / "root", tmp_path / "pairs", low_dose="simulated")


MEASURED_DOSE = SimulatedDose(0.25, None, 60, 1)


def test_noise_that_cannot_be_measured_names_the_way_out(tmp_path):
    write_series(tmp_path / "root", zs=(0, 3), hu=AIR)
    with pytest.raises(InputError, match=r"no usable pair.*no slice of the patient has flat soft tissue"):
        ingest(tmp_path / "root", tmp_path / "out", low_dose="simulated", dose=MEASURED_DOSE)


def test_a_patient_whose_noise_cannot_be_measured_stops_nobody_else(tmp_path):
    root, rng = tmp_path / "root", np.random.default_rng(3)
    rows, columns = np.mgrid[:96, :96] - 48
    body = np.where(np.hypot(rows, columns) < 40, 50, -1000)
    for name, noise in (("a", 0.0), ("b", 12.0)):
        hu = np.rint(body + noise * rng.standard_normal(body.shape)).astype(int)
        identity = {"PatientName": name, "PatientID": name}
        write_series(root / name, zs=(0, 3), stem=name, hu=hu, PixelSpacing=[2.0, 2.0], **identity)
    artifact = ingest(root, tmp_path / "pairs", low_dose="simulated", dose=MEASURED_DOSE)
    assert set(artifact.manifest["patient_id"]) == {"P002"}
    assert (artifact.array("ldct") != artifact.array("ndct")).any()
    rejected = pd.read_csv(tmp_path / "pairs/rejected.csv")
    assert len(rejected) == 2
    assert rejected["reason"].str.contains("flat soft tissue").all()
    assert rejected["remedy"].str.contains("ingest.dose.photons").all()


def test_the_longest_series_counts(tmp_path):
    write_series(
        tmp_path / "r/a", zs=range(0, 12, 3), stem="a", PatientID="x", PatientName="x", SeriesInstanceUID="1.1"
    )
    write_series(tmp_path / "r/b", zs=range(0, 9, 3), stem="b", PatientID="x", PatientName="x", SeriesInstanceUID="1.2")
    params = make_params(tmp_path / "r", low_dose="simulated")
    found = find(params)
    assert len(pair_slices(found, params)) == 4
    assert set(found.rejected.table()["reason"]) == {
        "belongs to a second series of the same patient, thickness and kernel"
    }
    assert len(found.rejected) == 3


def test_aapm_codes_are_kept_and_low_dose_files_unused(tmp_path):
    write_patient(tmp_path, "L067")
    params = make_params(tmp_path, low_dose="simulated")
    pairs = pair_slices(find(params), params)
    assert [(pair.patient_id, pair.ldct) for pair in pairs] == [("L067", None)] * 4


@pytest.mark.parametrize(
    ("shape", "side"), [((10, 10), 16), ((20, 20), 16), ((10, 21), 16), ((16, 16), 16), ((15, 17), 16)]
)
def test_matrix_is_padded_or_cropped_about_the_centre(shape, side):
    image = np.arange(shape[0] * shape[1]).reshape(shape) + 1
    fitted = fit_matrix(image, side, 0)
    assert fitted.shape == (side, side)
    rows, columns = (min(length, side) for length in shape)
    assert np.count_nonzero(fitted) == rows * columns
    kept = fitted[np.ix_(fitted.any(axis=1), fitted.any(axis=0))]
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    np.testing.assert_array_equal(kept, image[top : top + rows, left : left + columns])


def test_other_matrices_are_fitted_and_counted(tmp_path, caplog):
    root = tmp_path / "root"
    write_patient(root, "L067")
    write_patient(root, "L096", hu=np.full((20, 20), 7))
    write_patient(root, "L109", hu=np.full((10, 10), 9))
    with caplog.at_level(logging.WARNING):
        artifact = ingest(root, tmp_path / "pairs", matrix=16, pairs=12)
    assert artifact.array("ndct").shape == (12, 16, 16)
    assert artifact.info["matrix"] == {"cropped_pairs": 4, "padded_pairs": 4}
    assert np.all(artifact.array("ndct")[4] == 7)
    assert np.count_nonzero(artifact.array("ndct")[8] == 9) == 100
    assert np.count_nonzero(artifact.array("ndct")[8] == -1024) == 156
    assert "4 pairs cropped" in caplog.text


def test_a_gap_in_z_is_told_and_harmless(tmp_path, caplog):
    root = tmp_path / "root"
    write_patient(root, "L067", zs=(0, 3, 6, 12, 15))
    artifact = ingest(root, tmp_path / "pairs", pairs=5)
    assert "L067: 1 gap(s) in z, the longest 6 mm where 3 mm is usual" in caplog.text
    assert artifact.info["gaps_in_z"] == {"L067": 1}
    assert len(artifact.manifest) == 5


def test_tilt_must_be_equal_within_a_pair(tmp_path):
    tilted = [1, 0, 0, 0, 0.939693, -0.342020]
    write_patient(tmp_path, "L067", ImageOrientationPatient=tilted)
    assert len(pair_slices(find(make_params(tmp_path)), make_params(tmp_path))) == 4
    third = sorted((tmp_path / "L067" / "quarter_3mm").iterdir())[2]
    write_slice(third, z=6, InstanceNumber=3)
    params = make_params(tmp_path)
    found = find(params)
    assert len(pair_slices(found, params)) == 3
    assert "orientation is" in found.rejected.table()["reason"][0]


def test_slope_may_differ_from_slice_to_slice(tmp_path):
    root = tmp_path / "root"
    for dose in ("full", "quarter"):
        for k, slope in enumerate((1, 2)):
            stored = np.full((16, 16), 1024 // slope + 20, np.uint16)
            write_slice(
                root / "L067" / f"{dose}_3mm" / f"{k}.IMA", z=3 * k, RescaleSlope=slope, PixelData=stored.tobytes()
            )
    artifact = ingest(root, tmp_path / "pairs")
    assert artifact.array("ndct")[:, 0, 0].tolist() == [20, 40]


def test_the_series_of_a_hospital(tmp_path):
    root = SHARED / "dicom_series"
    if not root.is_dir():
        pytest.skip(f"no real CT at {SHARED}")
    changes = {"low_dose": "simulated", "pairs": 3, "matrix": 512, "dose": SimulatedDose(0.25, None, 360, 1)}
    artifact = ingest(root, tmp_path / "pairs", **changes)
    ndct, ldct = (artifact.array(name).astype(float) for name in ("ndct", "ldct"))
    added = np.std((ldct - ndct)[:, 240:280, 150:200])
    assert 8 < added < 80
    assert set(artifact.manifest["patient_id"]) == {"P001"}
    assert list(artifact.table("rejected")["file"]) == []
