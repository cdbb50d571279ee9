"""Pairing by patient and z; traps 1, 5, 6 and 7 of the AAPM data."""

import numpy as np
import pytest
from pydicom import dcmread

from iqagpt.data.pairing import pair_slices
from iqagpt.errors import InputError
from tests.data.dicom_files import find, make_params, truncate, write_patient, write_series, write_slice


def pair(root, **changes):
    params = make_params(root, **changes)
    found = find(params)
    return pair_slices(found, params), found.rejected


def heights(pairs):
    return [(item.ndct.header.z_mm, item.ldct.header.z_mm) for item in pairs]


def test_trap_01_sorted_by_position_not_by_name_or_slice_location(tmp_path):
    zs = {"1": 30.0, "10": 0.0, "100": 10.0, "2": 20.0}
    for dose in ("full", "quarter"):
        for name, z in zs.items():
            write_slice(tmp_path / "L067" / f"{dose}_3mm" / f"{name}.IMA", z=z, SliceLocation=-z, PatientName="x")
    pairs, _ = pair(tmp_path)
    assert heights(pairs) == [(z, z) for z in (0.0, 10.0, 20.0, 30.0)]
    assert [item.ndct.path.stem for item in pairs] == ["10", "100", "2", "1"]
    assert [item.slice_id for item in pairs] == ["L067_000", "L067_001", "L067_002", "L067_003"]


def test_trap_05_shifted_ends_are_cut_to_the_common_part(tmp_path):
    write_series(tmp_path / "L067" / "full_3mm", zs=np.arange(0, 30, 3.0))
    write_series(tmp_path / "L067" / "quarter_3mm", zs=np.arange(6, 39, 3.0) + 0.04, stem="L067_QD_3_1")
    pairs, rejected = pair(tmp_path)
    assert [round(full) for full, _ in heights(pairs)] == list(range(6, 30, 3))
    assert all(abs(full - quarter) < 0.1 for full, quarter in heights(pairs))
    assert len(rejected) == 0


def test_trap_05_small_intersection_is_refused(tmp_path):
    write_series(tmp_path / "L067" / "full_3mm", zs=np.arange(0, 30, 3.0))
    write_series(tmp_path / "L067" / "quarter_3mm", zs=np.arange(18, 48, 3.0), stem="L067_QD_3_1")
    with pytest.raises(InputError, match=r"L067 below .*only 4 of 10 slices are at the same z.*ingest\.patients"):
        pair(tmp_path)


def test_slices_half_a_spacing_apart_do_not_match(tmp_path):
    write_series(tmp_path / "L067" / "full_3mm", zs=(0, 3, 6))
    write_series(tmp_path / "L067" / "quarter_3mm", zs=(1.5, 4.5, 7.5), stem="L067_QD_3_1")
    with pytest.raises(InputError, match="only 0 of 3"):
        pair(tmp_path)


@pytest.fixture
def two_reconstructions(tmp_path):
    """Two kernels and two thicknesses at the same z in one folder, with the D45f and 1 mm series shorter."""
    for dose, tag in (("full", "FD"), ("quarter", "QD")):
        folder = tmp_path / "L067" / dose
        write_series(folder, zs=range(0, 30, 3), stem=f"L067_{tag}_3_1", kernel="B30f", thickness=3)
        write_series(folder, zs=range(0, 24, 3), stem=f"L067_{tag}_3_SHARP_1", kernel="D45f", thickness=3)
        write_series(folder, zs=range(0, 18, 1), stem=f"L067_{tag}_1_1", kernel="B30f", thickness=1)
    return tmp_path


@pytest.mark.parametrize(
    ("thickness", "kernel", "count"), [(3.0, "B30f", 10), (3.0, "D45f", 8), (1.0, None, 18), (None, "D45f", 8)]
)
def test_trap_06_reconstructions_in_one_folder_are_told_apart(two_reconstructions, thickness, kernel, count):
    pairs, rejected = pair(two_reconstructions, thickness_mm=thickness, kernel=kernel)
    assert len(pairs) == count
    for item in pairs:
        assert item.ndct.header.kernel == item.ldct.header.kernel
        assert item.ndct.header.thickness_mm == item.ldct.header.thickness_mm
    assert len(rejected) == 0


def test_trap_06_ambiguity_is_an_error_that_lists_the_choice(two_reconstructions):
    with pytest.raises(
        InputError, match=r"L067: 2 kinds.*3 mm B30f, 3 mm D45f; set ingest\.thickness_mm and ingest\.k"
    ):
        pair(two_reconstructions, thickness_mm=3.0)


def test_trap_06_second_slice_at_one_z_is_rejected_not_dropped(tmp_path):
    folder = write_patient(tmp_path, "L067")
    write_slice(folder / "full_3mm" / "again.IMA", z=3.05, InstanceNumber=99)
    pairs, rejected = pair(tmp_path)
    assert len(pairs) == 4
    assert all(item.ndct.path.name != "again.IMA" for item in pairs)
    (row,) = rejected.table().to_dict("records")
    assert row["file"] == "L067/full_3mm/again.IMA"
    assert "a second slice at z = 3.05 mm" in row["reason"]


def test_trap_07_uids_do_not_matter(tmp_path):
    folder = write_patient(tmp_path, "L067", StudyInstanceUID="1.2.3", PatientID="Anonymous")
    for path in (folder / "quarter_3mm").iterdir():
        dataset = dcmread(path)
        dataset.StudyInstanceUID = "4.5.6"
        dataset.FrameOfReferenceUID = "7.8.9"
        dataset.SeriesNumber = 44
        dataset.save_as(path)
    write_patient(tmp_path, "L096", StudyInstanceUID="1.2.3", PatientID="Anonymous")
    pairs, _ = pair(tmp_path)
    assert [item.patient_id for item in pairs] == ["L067"] * 4 + ["L096"] * 4
    assert all(item.ldct.patient_id == item.ndct.patient_id for item in pairs)


@pytest.mark.parametrize("quarter", [{"kernel": "D45f"}, {"thickness": 1}])
def test_kernel_and_thickness_are_equal_within_a_pair(tmp_path, quarter):
    write_series(tmp_path / "L067" / "full_3mm", zs=(0, 3))
    write_series(tmp_path / "L067" / "quarter_3mm", zs=(0, 3), stem="L067_QD_3_1", **quarter)
    with pytest.raises(
        InputError, match=r"L067 .*no full and low dose series of the same thickness and kernel \(full: 3"
    ):
        pair(tmp_path)


def test_unpaired_series_is_an_error(tmp_path):
    write_patient(tmp_path, "L067")
    write_series(tmp_path / "L096" / "full_3mm", zs=(0, 3), stem="L096_FD_3_1")
    with pytest.raises(InputError, match=r"L096 .*full: 3 mm B30f; low: none.*leave the patient out"):
        pair(tmp_path)
    assert len(pair(tmp_path, patients=("L067",))[0]) == 4


def test_thickness_that_no_series_has_names_the_key(tmp_path):
    write_patient(tmp_path, "L067", kind="1mm", thickness=1)
    with pytest.raises(InputError, match=r"full: 1 mm B30f; low: 1 mm B30f\) for ingest\.thickness_mm: 3 mm"):
        pair(tmp_path, thickness_mm=3.0)


def test_patient_unpaired_by_a_bad_file_is_left_out(tmp_path, caplog):
    write_patient(tmp_path, "L067")
    folder = write_patient(tmp_path, "L096", zs=(0,))
    truncate(next((folder / "quarter_3mm").iterdir()))
    pairs, rejected = pair(tmp_path)
    assert {item.patient_id for item in pairs} == {"L067"}
    assert len(rejected) == 1
    assert "L096 is left out" in caplog.text


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"hu": np.zeros((8, 8))}, "matrix is 8 x 8, but 16 x 16 in its partner"),
        ({"PixelSpacing": [0.9, 0.9]}, "pixel spacing in mm is 0.9, but 0.75"),
        ({"ImagePositionPatient": [-20, -10, 6]}, "position in mm is -20 x -10, but -10 x -10"),
    ],
)
def test_unequal_geometry_within_a_pair_is_rejected(tmp_path, tags, reason):
    folder = write_patient(tmp_path, "L067")
    third = sorted((folder / "quarter_3mm").iterdir())[2]
    write_slice(third, **{"z": 6, "InstanceNumber": 3, **tags})
    pairs, rejected = pair(tmp_path)
    assert [item.slice_id for item in pairs] == ["L067_000", "L067_001", "L067_003"]
    (row,) = rejected.table().to_dict("records")
    assert row["file"].startswith("L067/quarter_3mm/")
    assert reason in row["reason"]


def test_minority_matrix_size_is_rejected(tmp_path):
    write_patient(tmp_path, "L067")
    write_patient(tmp_path, "L096", zs=(0, 3), hu=np.zeros((8, 8)))
    pairs, rejected = pair(tmp_path)
    assert {item.patient_id for item in pairs} == {"L067"}
    assert len(rejected) == 4
    assert set(rejected.table()["reason"]) == {"matrix is 8 x 8, but 16 x 16 in most slices"}


def test_nothing_left_quotes_the_first_reasons(tmp_path):
    folder = write_patient(tmp_path, "L067")
    for path in folder.rglob("*.IMA"):
        truncate(path)
    with pytest.raises(
        InputError, match=r"ingest\.root: no usable pair .*8 file\(s\) rejected: L067/full.*truncated.* 5 m"
    ):
        pair(tmp_path)
