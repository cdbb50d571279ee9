"""Images of every kind in HU, and what is refused instead of guessed at."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from iqagpt.errors import InputError
from iqagpt.images import find_images, image_kind, open_image, read_image
from tests.data.dicom_files import write_enhanced

WINDOW = (-160.0, 240.0)
GREY = (np.arange(12).reshape(3, 4) * 20).astype(np.uint8)
HU = np.array([[-1000, 0, 40, 60], [100, -50, 20, 1000], [1, 2, 3, 4]], np.int16)


def picture(file: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(file)
    return file


def test_8_bit_png_spans_the_window(tmp_path):
    image = read_image(picture(tmp_path / "a.png", GREY), WINDOW)
    assert image.slices_hu.shape == (1, 3, 4) and image.slices_hu.dtype == np.int16
    assert image.slices_hu[0, 0, 0] == -160
    assert image.slices_hu[0, 2, 3] == round(-160 + 400 * 220 / 255)
    assert image.window_hu == WINDOW and image.pixel_spacing_mm is None
    assert any("pixel spacing unknown" in note for note in image.notes)


def test_16_bit_png_spans_the_window_and_an_unfilled_one_is_noted(tmp_path):
    full = read_image(picture(tmp_path / "a.png", np.array([[0, 65535]], np.uint16)), WINDOW)
    assert full.slices_hu[0].tolist() == [[-160, 240]]
    low = read_image(picture(tmp_path / "b.png", np.array([[0, 4095]], np.uint16)), WINDOW)
    assert any("filled only up to 4095 of 65535" in note for note in low.notes)


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "A.TIF"])
def test_floating_point_tiff_in_0_to_1(tmp_path, name):
    image = read_image(picture(tmp_path / name, np.array([[0, 0.5, 1]], np.float32)), WINDOW)
    assert image.slices_hu[0].tolist() == [[-160, 40, 240]]


def test_dicom_states_hu_and_spacing_itself():
    image = read_image(get_testdata_file("CT_small.dcm"), WINDOW)
    assert image.slices_hu.shape == (1, 128, 128) and image.window_hu is None and not image.notes
    assert image.pixel_spacing_mm == pytest.approx(0.661468)
    assert image.slices_hu.min() < -800


def test_every_frame_of_an_enhanced_ct_is_read(tmp_path):
    image = read_image(write_enhanced(tmp_path / "a.dcm", frames=3))
    assert len(image.slices_hu) == 3
    assert not np.array_equal(image.slices_hu[0], image.slices_hu[1])
    assert image.pixel_spacing_mm == 0.75


def test_numpy_slice_and_stack(tmp_path):
    np.save(tmp_path / "a.npy", HU.astype(np.float32) + 0.4)
    np.save(tmp_path / "b.npy", np.stack([HU, HU + 1]))
    assert read_image(tmp_path / "a.npy").slices_hu[0].tolist() == HU.tolist()
    stack = read_image(tmp_path / "b.npy")
    assert stack.slices_hu.shape == (2, 3, 4) and stack.window_hu is None


def test_numpy_keeps_to_the_stored_range(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[-3000, 9000]]))
    assert read_image(tmp_path / "a.npy").slices_hu[0].tolist() == [[-1024, 3071]]


@pytest.mark.parametrize(
    "directions",
    [(-1, -1, 1), (1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)],
    ids=["LPS", "RPS", "LAS", "RAI", "LPI"],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_of_any_orientation_is_shown_alike(tmp_path, directions, suffix):
    # The same anatomy stored in another direction of each axis: wanted is (z up, y to the back, x to the left).
    wanted = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.int16) * 10
    stored = wanted.transpose(2, 1, 0)
    for axis, (direction, usual) in enumerate(zip(directions, (-1, -1, 1), strict=True)):
        if direction != usual:
            stored = np.flip(stored, axis)
    affine = np.diag([0.7 * directions[0], 0.7 * directions[1], 3.0 * directions[2], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(stored), affine), tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.slices_hu, wanted)
    assert image.pixel_spacing_mm == pytest.approx(0.7)


def test_nifti_scaling_is_applied(tmp_path):
    nifti = nibabel.Nifti1Image(HU.T[:, :, None].astype(np.int16), np.diag([-1, -1, 1, 1]))
    nifti.header.set_slope_inter(2.0, -10.0)
    nibabel.save(nifti, tmp_path / "a.nii")
    raw = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj.get_unscaled())[:, :, 0].T
    expected = np.clip(np.rint(raw * 2.0 - 10.0), -1024, 3071)
    assert np.array_equal(read_image(tmp_path / "a.nii").slices_hu[0], expected)


def save(file: Path, values: np.ndarray) -> None:
    if file.suffix == ".npy":
        np.save(file, values)
    else:
        picture(file, values)


@pytest.mark.parametrize(
    ("name", "values", "window", "message"),
    [
        ("a.png", GREY, None, "8-bit, without a window"),
        ("a.png", GREY.astype(np.uint16), None, "16-bit, without a window"),
        ("a.tif", GREY / np.float32(255), None, "floating-point, without a window"),
        ("a.png", np.stack([GREY] * 3, -1), WINDOW, "colour picture (mode RGB)"),
        ("a.png", np.stack([GREY] * 4, -1), WINDOW, "colour picture (mode RGBA)"),
        ("a.tif", HU.astype(np.float32), WINDOW, "floating point from -1000 to 1000, expected 0"),
        ("a.tif", np.array([[0, np.nan]], np.float32), WINDOW, "floating point"),
        ("a.tif", HU.astype(np.int32), WINDOW, "pixels of mode I"),
        ("a.npy", GREY / 255.0, WINDOW, "values from 0 to 1 are not HU"),
        ("a.npy", np.array([[0, np.nan]]), WINDOW, "NaN or infinite"),
        ("a.npy", np.zeros((2, 2, 2, 3)), WINDOW, "an array of shape"),
        ("a.npy", np.zeros((0, 3)), WINDOW, "an array of shape"),
        ("a.npy", np.array([["a"]]), WINDOW, "holds <U1"),
        ("a.npy", np.zeros((2, 5000)), WINDOW, "at most 4096 a side"),
    ],
)
def test_what_does_not_say_its_hu_is_refused(tmp_path, name, values, window, message):
    save(tmp_path / name, values)
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name, window)
    assert message in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.nii", "a.nii.gz", "a.dcm"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 50])
def test_damaged_files_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / name, WINDOW)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_truncated_files_are_refused(tmp_path, name):
    values = np.tile(np.arange(64), (64, 1)).astype(np.uint8)
    save(tmp_path / name, values)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        read_image(tmp_path / name, WINDOW)


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]), "not axial"),
        (np.diag([1.0, 2.0, 1.0, 1.0]), "expected square"),
    ],
)
def test_nifti_that_is_not_axial_or_square(tmp_path, affine, message):
    nibabel.save(nibabel.Nifti1Image(np.full((3, 3, 2), 50, np.int16), affine), tmp_path / "a.nii")
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.nii")


def test_absent_and_unknown_files(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="no such image file"):
        read_image(tmp_path / "b.png")
    with pytest.raises(InputError, match="not an image of a known kind"):
        read_image(tmp_path / "a.jpg")


def test_images_of_a_folder_are_found_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("sub/b.png", "a.tif", ".hidden/c.png", "scores.csv", "note.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_images(tmp_path)] == ["a.tif", "b.png"]
    assert image_kind(tmp_path / "x.nii.gz") == "NIfTI"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("directions", [(1, 1, 1), (-1, -1, -1)])
def test_slices_of_a_volume_are_read_one_by_one_in_any_order(tmp_path, suffix, directions):
    values = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 7)).astype(np.int16)
    affine = np.diag([*np.multiply(directions, [0.7, 0.7, 3.0]), 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"a{suffix}")
    whole = read_image(tmp_path / f"a{suffix}").slices_hu
    with open_image(tmp_path / f"a{suffix}") as image:
        assert image.count == 7 and image.pixel_spacing_mm == pytest.approx(0.7)
        for index in (6, 0, 3):
            assert np.array_equal(image.read(index), whole[index])


def test_slices_of_an_array_are_read_one_by_one(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
    for name, stored in (("c", values), ("fortran", np.asfortranarray(values)), ("big", values.astype(">f8"))):
        np.save(tmp_path / f"{name}.npy", stored)
        with open_image(tmp_path / f"{name}.npy") as image:
            assert [image.read(k).tolist() for k in (2, 0)] == [values[2].tolist(), values[0].tolist()]


def test_an_archive_of_arrays_under_the_name_of_one_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", HU)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        read_image(tmp_path / "a.npy")


def test_a_gzipped_volume_is_unpacked_no_further_than_its_header_says(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 2), 40, np.int16), np.diag([1, 1, 3, 1])), tmp_path / "a.nii")
    with gzip.open(tmp_path / "bomb.nii.gz", "wb") as file:
        file.write((tmp_path / "a.nii").read_bytes() + b"\0" * 2**24)
    with open_image(tmp_path / "bomb.nii.gz") as image:
        assert image.read(1).max() == 40
