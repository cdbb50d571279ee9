"""What lies outside what the model has seen is said, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from iqagpt.assessment.scope import Seen, header_warnings, image_warnings, spacing_warnings, window_warnings
from iqagpt.data.dicom import read_ct, read_header
from iqagpt.errors import InputError
from iqagpt.images import find_images, read_image
from tests.assessment.conftest import body
from tests.data.dicom_files import write_slice

WINDOW = (-160.0, 240.0)
SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def warn(image, size=64):
    return image_warnings(image, size, WINDOW)


def test_a_body_is_nothing_to_warn_of():
    assert warn(body(0)) == []
    assert warn(body(0).clip(-160, 240)) == []


def test_a_head_has_much_bone():
    head = body(0)
    disc = head > -500
    rim = disc & ~np.roll(np.roll(disc, 4, 0), 4, 1) | disc & ~np.roll(np.roll(disc, -4, 0), -4, 1)
    head[rim] = 1200
    assert any("a head or limb" in text for text in warn(head))


def test_a_chest_has_much_lung():
    chest = body(0)
    chest[16:48, 12:28] = chest[16:48, 36:52] = -850
    assert any("a chest" in text for text in warn(chest))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda: np.full((64, 64), -1024, np.int16), "hardly any body"),
        (lambda: np.zeros((64, 64), np.int16), "hardly any body"),
        (lambda: body(0) + 1024, "not in HU"),
        (lambda: np.random.default_rng(0).integers(0, 3000, (64, 64)).astype(np.int16), "little soft tissue"),
    ],
)
def test_what_is_no_ct_of_a_body(values, message):
    assert any(message in text for text in warn(values().astype(np.int16)))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"BodyPartExamined": "HEAD"}, "head, by its header HEAD"),
        ({"BodyPartExamined": "Chest"}, "body part, by its header CHEST"),
        ({"kernel": "B70f"}, "lung or bone kernel B70f"),
        ({"kernel": ["Br59f", "3"]}, "lung or bone kernel Br59f"),
        ({"kernel": "LUNG"}, "lung or bone kernel LUNG"),
        ({"kernel": "FC52"}, "lung or bone kernel FC52"),
        ({"kernel": "H30s"}, "head kernel H30s"),
        ({"thickness": 1}, "slice thickness 1 mm"),
        ({"thickness": 10}, "slice thickness 10 mm"),
    ],
)
def test_headers(tmp_path, tags, message):
    header = read_header(write_slice(tmp_path / "a.dcm", **{"BodyPartExamined": "ABDOMEN", **tags}))
    found = header_warnings(header, Seen())
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("kernel", ["B30f", "Br38f", "D30f", "STANDARD", "FC08", "B", "I31f", None])
@pytest.mark.parametrize("part", ["ABDOMEN", "Abdomen Pelvis", "LIVER", None, "DOE^JANE"])
def test_ordinary_and_unknown_headers_are_nothing_to_warn_of(tmp_path, kernel, part):
    header = read_header(write_slice(tmp_path / "a.dcm", kernel=kernel, BodyPartExamined=part))
    assert header_warnings(header, Seen()) == []
    assert "DOE" not in header.body_part


def test_windows_and_pixel_sizes():
    assert window_warnings(WINDOW, WINDOW, ("pixel spacing unknown (picture)",)) == []
    assert "cuts off" in window_warnings((-100, 300), WINDOW, ())[0]
    assert "steps of 7.8 HU" in window_warnings((-1000, 1000), WINDOW, ())[0]
    assert window_warnings(None, WINDOW, ("16 bits filled only up to 9",)) == ["16 bits filled only up to 9"]
    assert spacing_warnings(0.7, Seen()) == []
    assert spacing_warnings(None, Seen()) == ["pixel size unknown"]
    assert "0.35 mm" in spacing_warnings(0.35, Seen())[0]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real data beside the repository")
def test_real_abdomens_are_nothing_to_warn_of():
    for file in [*find_images(SHARED / "dicom_series"), *find_images(SHARED / "aapm_layout")]:
        assert image_warnings(read_ct(file).pixels_hu, 512, WINDOW) == []
    pictures = list(find_images(SHARED / "reader_study/images"))
    for file in pictures[::14]:
        assert image_warnings(read_image(file, WINDOW).slices_hu[0], 512, WINDOW) == []
    with pytest.raises(InputError, match="without a window"):
        read_image(pictures[0])
