"""Finding the slices of the AAPM layouts; traps 7, 10, 11 and 12 of that data."""

import shutil
from pathlib import Path

import pytest

from iqagpt.data.aapm import identify
from iqagpt.errors import InputError
from tests.data.dicom_files import find, make_params, truncate, write_patient, write_series, write_slice

SHARED = Path(__file__).resolve().parents[2] / "../shared/data/aapm_layout"


def found_ids(found):
    return sorted({(item.patient_id, item.dose) for item in found.slices})


def test_old_layout(tmp_path):
    write_patient(tmp_path, "L067")
    write_patient(tmp_path, "L096")
    found = find(make_params(tmp_path))
    assert found_ids(found) == [(code, dose) for code in ("L067", "L096") for dose in ("full", "low")]
    assert len(found.slices) == 16
    assert len(found.rejected) == 0


def test_release_of_2021(tmp_path):
    for dose, tag in (("full", "FD"), ("quarter", "QD")):
        folder = tmp_path / "3mm B30" / f"{tag}_3mm" / f"{dose}_3mm" / "L067" / f"{dose}_3mm"
        write_series(folder, zs=(0, 3), stem=f"L067_{tag}_3_1")
    assert found_ids(find(make_params(tmp_path))) == [("L067", "full"), ("L067", "low")]


def test_sharp_folders_take_the_kernel_of_the_header(tmp_path):
    write_series(tmp_path / "L067" / "full_1mm_sharp", zs=(0,), stem="L067_FD_1_SHARP_1", kernel="D45f", thickness=1)
    (item,) = find(make_params(tmp_path)).slices
    assert (item.dose, item.header.kernel, item.header.thickness_mm) == ("full", "D45f", 1.0)


def test_other_files_are_left_alone(tmp_path):
    folder = write_patient(tmp_path, "L067")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "manifest.csv").write_text("a,b\n")
    (folder / "full_3mm" / "._L067.IMA").write_bytes(b"resource fork")
    write_slice(tmp_path / "DICOMDIR")
    write_series(folder / "full_DICOM-CT-PD", zs=(100,))
    found = find(make_params(tmp_path))
    assert len(found.slices) == 8
    assert len(found.rejected) == 0


def test_files_without_a_dicom_suffix_are_recognised(tmp_path):
    write_slice(tmp_path / "L067" / "full_3mm" / "CT.1.3.12")
    assert len(find(make_params(tmp_path)).slices) == 1


def test_linked_folders_are_followed_once(tmp_path):
    write_patient(tmp_path / "elsewhere", "L067")
    root = tmp_path / "root"
    root.mkdir()
    (root / "L067").symlink_to(tmp_path / "elsewhere" / "L067")
    (tmp_path / "elsewhere" / "L067" / "loop").symlink_to(root)
    assert len(find(make_params(root)).slices) == 8


def test_trap_07_patient_id_is_constant(tmp_path):
    write_patient(tmp_path, "L067", PatientID="Anonymous", PatientName="Anonymous")
    write_patient(tmp_path, "L096", PatientID="Anonymous", PatientName="Anonymous")
    assert {code for code, _ in found_ids(find(make_params(tmp_path)))} == {"L067", "L096"}


def test_trap_07_patient_name_is_the_last_resort(tmp_path):
    write_slice(tmp_path / "one" / "a.IMA", PatientName="L506_QD_1")
    assert found_ids(find(make_params(tmp_path))) == [("L506", "low")]


def test_trap_10_bad_slices_are_excluded(tmp_path):
    write_patient(tmp_path, "L185", zs=range(0, 30, 3))
    write_patient(tmp_path, "L067", zs=range(0, 30, 3))
    found = find(make_params(tmp_path, exclude=("L185:3-5",)))
    numbers = [item.header.instance_number for item in found.slices if item.patient_id == "L185"]
    assert sorted(numbers) == sorted(2 * [1, 2, 6, 7, 8, 9, 10])
    assert len([item for item in found.slices if item.patient_id == "L067"]) == 20
    assert len(found.rejected) == 0


@pytest.mark.parametrize("kind", ["1mm", "3mm", "1mm_sharp", "3mm_sharp"])
@pytest.mark.parametrize(("dose", "tag"), [("full", "FD"), ("quarter", "QD")])
def test_trap_11_all_eight_kinds_are_one_patient(kind, dose, tag):
    for relative in (
        f"L333/{dose}_{kind}/L333_{tag}_1_1.CT.0002.0087.IMA",
        f"3mm D45/{tag}_{kind}/{dose}_{kind}/L333/{dose}_{kind}/L333_{tag}_1_SHARP_1.CT.0002.0087.IMA",
        f"L333_{tag}_1_1.CT.0002.0087.IMA",
    ):
        assert identify(Path(relative)) == ("L333", {"quarter": "low"}.get(dose, dose))


def test_trap_12_only_listed_patients_are_taken(tmp_path):
    for code in ("L067", "L004", "L241"):
        write_patient(tmp_path, code)
    found = find(make_params(tmp_path, patients=("L067",)))
    assert {item.patient_id for item in found.slices} == {"L067"}


def test_listed_patient_that_is_absent(tmp_path):
    write_patient(tmp_path, "L067")
    with pytest.raises(InputError, match=r"ingest\.patients: L096 not found below .*; there are L067"):
        find(make_params(tmp_path, patients=("L067", "L096")))


def test_contradicting_dose_is_rejected():
    assert identify(Path("L067/full_3mm/L067_QD_3_1.CT.0001.IMA")) == ("L067", None)
    assert identify(Path("P01/a.dcm")) == (None, None)


def test_bad_files_become_rows(tmp_path):
    folder = write_patient(tmp_path, "L067")
    files = sorted((folder / "full_3mm").iterdir())
    truncate(files[1])
    files[2].write_text("garbage")
    write_slice(tmp_path / "nameless" / "a.IMA", PatientName="Nobody")
    write_slice(folder / "other" / "b.IMA", PatientName="Nobody")
    write_slice(folder / "full_3mm" / "c.IMA", thickness=None, z=90, PatientName="L067_FD_1")
    found = find(make_params(tmp_path))
    table = found.rejected.table().set_index("file")
    assert list(table.columns) == ["reason", "remedy"]
    assert table.loc[files[1].relative_to(tmp_path).as_posix(), "reason"].startswith("pixel data are truncated")
    assert table.loc[files[2].relative_to(tmp_path).as_posix(), "reason"] == "not a DICOM file"
    assert "no patient code" in table.loc["nameless/a.IMA", "reason"]
    assert "full or quarter" in table.loc["L067/other/b.IMA", "reason"]
    assert table.loc["L067/full_3mm/c.IMA", "reason"] == "SliceThickness is missing"
    assert len(table) == 5
    assert len(found.slices) == 6


def test_missing_root_says_what_queued_runs_see(tmp_path):
    with pytest.raises(
        InputError, match=r"ingest\.root: no such folder or zip archive: .*absent.*L067/full_3mm.*absolute.*--temp"
    ):
        find(make_params(tmp_path / "absent"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder or zip archive"):
        find(make_params(tmp_path / "file"))


def test_empty_root(tmp_path):
    with pytest.raises(InputError, match=r"ingest\.root: no CT slices below .*; expected L067/full_3mm"):
        find(make_params(tmp_path))


def test_two_organ_maps_for_one_patient(tmp_path):
    folder = write_patient(tmp_path, "L067")
    (folder / "organs.npz").write_bytes(b"")
    assert list(find(make_params(tmp_path)).organ_files) == ["L067"]
    shutil.copytree(folder, tmp_path / "copy" / "L067")
    with pytest.raises(InputError, match=r"a second organs\.npz for L067"):
        find(make_params(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": ""}, "root: expected a folder"),
        ({"pairs": 0}, "pairs: expected at least 1, got 0"),
        ({"thickness_mm": 0.0}, "thickness_mm: expected more than 0"),
        ({"kernel": ""}, "kernel: expected a name"),
        ({"matrix": 513}, "matrix: expected an even number"),
        ({"patients": ("L67",)}, "patients: expected codes such as L067, got 'L67'"),
        ({"exclude": ("L185:135-50",)}, "exclude: expected .* got 'L185:135-50'"),
        ({"exclude": ("L185 50-135",)}, "exclude: expected .* got 'L185 50-135'"),
        ({"exclude": ("L185:50",)}, "exclude: expected .* got 'L185:50'"),
        ({"window_hu": (240.0, -160.0)}, "window_hu: expected lower < upper"),
    ],
)
def test_params_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        make_params(changes.pop("root", "data"), **changes)


def test_real_files():
    if not SHARED.is_dir():
        pytest.skip(f"no real CT at {SHARED}")
    found = find(make_params(SHARED))
    assert len(found.slices) == 12
    assert {item.patient_id for item in found.slices} == {"L506", "L901", "L902", "L903", "L904", "L905"}
    assert {item.header.z_mm for item in found.slices if item.patient_id == "L506"} == {-299.8}
