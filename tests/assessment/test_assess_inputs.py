"""Files, folders and archives become series; what cannot be used becomes a problem with a reason."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from iqagpt.assessment.inputs import FAILED, SKIPPED, found_inputs, printable
from tests.assessment.conftest import body, write_scan
from tests.data.dicom_files import truncate, write_enhanced, write_slice


def look(*inputs, window=(-160, 240)):
    with found_inputs([Path(path) for path in inputs], window) as found:
        return found


def counts(found):
    return [len(series.slices) for series in found.series]


def test_dicom_series_are_told_apart_and_sorted_along_the_patient(tmp_path):
    write_scan(tmp_path / "a", 4)
    write_scan(tmp_path / "b", 3, kernel="B70f")
    write_scan(tmp_path / "c", 2, SeriesInstanceUID="1.2.4")
    (tmp_path / "a/README.txt").write_text("x")
    found = look(tmp_path)
    assert counts(found) == [4, 3, 2] and not found.problems
    heights = [item.header.z_mm for item in found.series[0].slices]
    assert heights == sorted(heights)
    assert found.series[1].name == f"{tmp_path}/b (3 slices, 3 mm, B70f, abdomen, 0.75 mm pixels)"
    assert found.series[2].series_uid == "1.2.4"


def test_every_kind_and_how_slices_are_grouped(tmp_path):
    write_enhanced(tmp_path / "enhanced.dcm", frames=3)
    np.save(tmp_path / "stack.npy", np.stack([body(0), body(1)]))
    for k in range(2):
        np.save(tmp_path / f"one{k}.npy", body(k))
        Image.fromarray(body(k).clip(0, 255).astype(np.uint8)).save(tmp_path / f"one{k}.png")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 5), np.int16), np.diag([0.7, 0.7, 3, 1])), tmp_path / "v.nii.gz")
    found = look(tmp_path)
    assert sorted(counts(found)) == [2, 3, 4, 5] and not found.problems


def test_a_file_named_twice_counts_once(tmp_path):
    scan = write_scan(tmp_path / "a", 3)
    assert look(scan, scan / "s01.dcm", tmp_path).slices == 3


def test_a_dicom_file_in_a_folder_and_in_an_archive_counts_once(tmp_path):
    scan = write_scan(tmp_path / "a", 3)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in sorted(scan.iterdir()):
            archive.write(file, file.name)
    found = look(scan, tmp_path / "scan.zip")
    assert counts(found) == [3]
    assert {problem.status for problem in found.problems} == {SKIPPED} and len(found.problems) == 3
    assert found.problems[0].reason == f"the same file as {scan}/s00.dcm, which is assessed"


def test_slices_that_share_a_uid_are_all_assessed(tmp_path):
    """Anonymisers give one UID to many; only equal files are one."""
    write_scan(tmp_path / "a", 3, SOPInstanceUID="1.2.3")
    found = look(tmp_path)
    assert found.slices == 3 and not found.problems


def test_an_archive_is_read_and_gone_afterwards(tmp_path):
    scan = write_scan(tmp_path / "a", 3)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in sorted(scan.iterdir()):
            archive.write(file, f"inner/{file.name}")
        archive.writestr("../evil.dcm", b"x")
        archive.writestr("bomb.dcm", b"\0" * 2**23, zipfile.ZIP_DEFLATED)
    with found_inputs([tmp_path / "scan.zip"], None) as found:
        paths = [item.path for item in found.series[0].slices]
        assert all(path.is_file() for path in paths)
        assert found.series[0].slices[0].name == f"{tmp_path}/scan.zip/inner/s00.dcm"
        reasons = {problem.name.split("#")[-1]: problem.reason for problem in found.problems}
        assert "points outside" in reasons["../evil.dcm"] and "over 100 times" in reasons["bomb.dcm"]
    assert not any(path.exists() for path in paths) and not (tmp_path.parent / "evil.dcm").exists()


@pytest.mark.parametrize(
    ("make", "status", "message"),
    [
        (lambda p: truncate(write_slice(p / "a.dcm")), FAILED, "truncated"),
        (lambda p: write_slice(p / "a.dcm", Modality="MR"), SKIPPED, "modality 'MR'"),
        (lambda p: write_slice(p / "a.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), SKIPPED, "scout"),
        (lambda p: write_slice(p / "a.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), SKIPPED, "not an axial"),
        (lambda p: write_slice(p / "a.dcm", RescaleSlope=None), FAILED, "RescaleSlope is missing"),
        (lambda p: (p / "a.dcm").write_bytes(b""), FAILED, "not a DICOM file"),
        (lambda p: (p / "a.npy").write_bytes(b"\x93NUMPY"), FAILED, "cannot be read as a NumPy array"),
        (lambda p: (p / "a.nii.gz").write_bytes(b"\x1f\x8b123"), FAILED, "cannot be read as NIfTI"),
        (lambda p: (p / "a.txt").write_text("hello"), FAILED, "no image of a known kind"),
        (lambda p: (p / "a.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18), FAILED, "no image of a known kind"),
        (lambda p: None, FAILED, "no image of a known kind"),
    ],
)
def test_what_cannot_be_used_is_a_problem_with_a_reason(tmp_path, make, status, message):
    make(tmp_path)
    found = look(tmp_path)
    assert not found.series and len(found.problems) == 1
    assert found.problems[0].status == status and message in found.problems[0].reason
    assert str(tmp_path) not in found.problems[0].reason


def test_named_files_that_are_absent_or_of_no_known_kind(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    found = look(tmp_path / "a.txt", tmp_path / "absent.dcm")
    assert "not an image of a known kind" in found.problems[0].reason
    assert "No such file" in found.problems[1].reason


def test_names_are_safe_to_print():
    assert printable("a\x1b[2J\n\udcffb.dcm") == "a?[2J??b.dcm"
