"""Comparison with NDCT inside the window."""

import numpy as np
import pytest

from iqagpt.denoise.variants import compare

WINDOW_HU = (-160.0, 240.0)


def test_constant_difference_by_hand():
    reference = np.random.default_rng(0).integers(0, 100, (32, 32)).astype(np.int16)
    measured = compare(reference + 40, reference, WINDOW_HU)
    assert measured["rmse_hu"] == pytest.approx(40.0, rel=1e-5)
    assert measured["psnr_db"] == pytest.approx(20.0, rel=1e-5)
    assert 0 < measured["ssim"] < 1


def test_differences_outside_the_window_do_not_count():
    reference = np.full((32, 32), -1000, np.int16)
    measured = compare(reference + 500, reference, WINDOW_HU)
    assert measured["rmse_hu"] == 0
    assert measured["ssim"] == pytest.approx(1.0)
    assert np.isnan(measured["psnr_db"])


def test_ssim_uses_a_gaussian_window_over_the_valid_region():
    reference = np.zeros((11, 11), np.int16)
    image = reference.copy()
    image[0, 0] = 240
    # one valid position, the centre; the corner weighs exp(-25 / 2.25) of the sum
    assert 0.99 < compare(image, reference, WINDOW_HU)["ssim"] < 1.0
    image[0, 0], image[5, 5] = 0, 240
    assert compare(image, reference, WINDOW_HU)["ssim"] < 0.9
