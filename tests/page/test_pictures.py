"""Pictures: grey values, cropping, size, window, parameters."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from iqagpt.ct import apply_window
from iqagpt.errors import ParamsError
from iqagpt.page.pictures import PageParams, body_box, check_range, draw, step_hu, window_filter

PARAMS = PageParams(3, 6, 512, (-360.0, 440.0))
WHOLE = (slice(None), slice(None))


def pixels(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.mode == "L"
    return np.asarray(image)


def test_grey_values_are_hu_within_half_a_step() -> None:
    image_hu = np.random.default_rng(0).integers(-360, 441, (40, 30), dtype=np.int16)
    found = pixels(draw(image_hu, WHOLE, PARAMS).uri) / 255 * 800 - 360
    assert np.abs(found - image_hu).max() <= step_hu(PARAMS.range_hu) / 2 + 1e-9
    assert step_hu(PARAMS.range_hu) == pytest.approx(800 / 255)


def test_values_beyond_the_range_are_cut_off() -> None:
    found = pixels(draw(np.array([[-1024, -360, 440, 3071]], np.int16), WHOLE, PARAMS).uri)
    assert found.tolist() == [[0, 0, 255, 255]]


def test_window_filter_is_the_window() -> None:
    window_hu = (-160.0, 240.0)
    hu = np.array([-360, -160, -20, 40, 239, 440], np.int16)
    slope, intercept = window_filter(window_hu, PARAMS.range_hu)
    shown = np.clip((hu + 360) / 800 * slope + intercept, 0, 1)
    np.testing.assert_allclose(shown, apply_window(hu, window_hu), atol=1e-6)


def test_body_is_found_with_a_margin_and_specks_are_not_body() -> None:
    image_hu = np.full((100, 100), -1024, np.int16)
    image_hu[20:70, 30:90] = 40
    image_hu[5, 5] = 300
    assert body_box(image_hu) == (slice(14, 76), slice(24, 96))
    assert body_box(np.full((9, 9), -1024, np.int16)) == WHOLE


def test_large_pictures_are_averaged_to_the_size() -> None:
    image_hu = np.repeat(np.repeat(np.array([[-100, 100], [0, 200]], np.int16), 50, 0), 50, 1)
    picture = draw(image_hu, WHOLE, PageParams(1, 1, 50, (-360.0, 440.0)))
    assert (picture.width, picture.height, picture.scale) == (50, 50, 2.0)
    assert pixels(picture.uri)[0, 0] == round((-100 + 360) / 800 * 255)
    assert draw(image_hu, WHOLE, PARAMS).width == 100, "small ones are left as they are"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": 0}, "slices: expected 1 to 100, got 0"),
        ({"size_px": 8}, "size_px: expected 32 to 4096"),
        ({"range_hu": (440.0, -360.0)}, "range_hu: expected two HU"),
        ({"range_hu": (-2000.0, 440.0)}, "range_hu: expected two HU"),
    ],
)
def test_params_out_of_range(changes: dict, message: str) -> None:
    given = {"slices": 1, "slices_per_patient": 1, "size_px": 512, "range_hu": (-360.0, 440.0)} | changes
    with pytest.raises(ValueError, match=message):
        PageParams(**given)


def test_range_must_include_the_window() -> None:
    check_range(PARAMS, (-360.0, 440.0))
    with pytest.raises(ParamsError, match=r"page\.range_hu: expected to include .* -1000 to 240"):
        check_range(PARAMS, (-1000.0, 240.0))
