"""CT numbers against values worked out by hand."""

import numpy as np
import pytest

from iqagpt.ct import apply_window, from_window, to_hu

WINDOW = (-160.0, 240.0)


def test_hu_by_hand() -> None:
    stored = np.array([[0, 1024], [1124, 4095]], np.int16)
    assert to_hu(stored, 1.0, -1024.0).tolist() == [[-1024, 0], [100, 3071]]
    assert to_hu(stored, 1.0, -1024.0).dtype == np.int16


def test_slope_and_rounding() -> None:
    # 0.5 * 101 - 10 = 40.5, to even 40; 0.5 * 103 - 10 = 41.5, to even 42.
    assert to_hu(np.array([100, 101, 103], np.int16), 0.5, -10.0).tolist() == [40, 40, 42]


def test_unsigned_values_do_not_wrap() -> None:
    assert to_hu(np.array([0, 1, 1024], np.uint16), 1.0, -1024.0).tolist() == [-1024, -1023, 0]
    assert to_hu(np.array([65535], np.uint16), 1.0, -1024.0).tolist() == [3071]


def test_values_outside_the_field_of_view_become_air() -> None:
    stored = np.array([-2000, -976, 24], np.int16)
    assert to_hu(stored, 1.0, 0.0).tolist() == [-1024, -976, 24]
    assert to_hu(stored, 1.0, -1024.0).tolist() == [-1024, -1024, -1000]


def test_padding_value_becomes_air_even_where_it_looks_like_tissue() -> None:
    stored = np.array([1063, 1064, 63536], np.uint16)
    assert to_hu(stored, 1.0, -1024.0, padding=1064).tolist() == [39, -1024, 3071]
    assert to_hu(stored, 1.0, -1024.0, padding=63536).tolist() == [39, 40, -1024]


def test_stored_values_are_left_alone() -> None:
    stored = np.array([5, 6], np.int16)
    to_hu(stored, 1.0, -1024.0, padding=5)
    assert stored.tolist() == [5, 6]


def test_window_ends_and_middle() -> None:
    image = apply_window(np.array([-1024, -160, 40, 240, 3071], np.int16), WINDOW)
    assert image.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert image.dtype == np.float32


def test_window_keeps_shape() -> None:
    assert apply_window(np.zeros((3, 5), np.int16), WINDOW).shape == (3, 5)


@pytest.mark.parametrize("window", [WINDOW, (-1350.0, 150.0), (-1024.0, 3071.0)])
def test_from_window_inverts_every_hu(window: tuple[float, float]) -> None:
    values = np.arange(int(window[0]), int(window[1]) + 1, dtype=np.int16)
    back = from_window(apply_window(values, window), window)
    assert back.dtype == np.int16
    assert (back == values).all()


def test_from_window_of_denoised_values_beyond_the_window() -> None:
    assert from_window(np.array([-0.1, 1.1]), WINDOW).tolist() == [-200, 280]
