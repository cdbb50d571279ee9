import numpy as np
import pytest
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

from iqagpt.data.projection import back_project, frequencies, project, ramp


def disc(size, radius, supersampling=8):
    """Coverage of every pixel by a disc about the centre pixel [size / 2, size / 2]."""
    line = (np.arange(size * supersampling) + 0.5) / supersampling - size / 2 - 0.5
    inside = (np.hypot(line[:, None], line) < radius).astype(np.float32)
    return inside.reshape(size, supersampling, size, supersampling).mean((1, 3))


def test_projection_of_a_disc_is_its_chord_length():
    sinogram = project(disc(128, 40.0), views=36, pixel_spacing_mm=0.8)
    offset = np.arange(256) - 128
    chord = 2 * np.sqrt(np.maximum(40.0**2 - offset**2, 0.0)) * 0.8
    away_from_edge = np.abs(np.abs(offset) - 40) > 3
    assert sinogram.shape == (36, 256)
    assert np.abs(sinogram - chord)[:, away_from_edge].max() < 0.015 * chord.max()


def test_first_view_sums_columns_and_middle_view_sums_rows():
    image = np.zeros((64, 64), np.float32)
    image[20:30, 40:44] = 1.0
    sinogram = project(image, views=2)
    np.testing.assert_allclose(sinogram[0, 32:96], image.sum(0), atol=0.01)
    np.testing.assert_allclose(sinogram[1, 32:96], image.sum(1), atol=0.01)


def test_projection_and_back_projection_are_linear():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64, 64)).astype(np.float32)
    pa, pb = project(a, views=60), project(b, views=60)
    np.testing.assert_allclose(project(2 * a - 3 * b, views=60), 2 * pa - 3 * pb, atol=2e-2)
    np.testing.assert_allclose(back_project(2 * pa - 3 * pb), 2 * back_project(pa) - 3 * back_project(pb), atol=2e-2)


def test_shepp_logan_comes_back_as_well_as_with_skimage():
    image = shepp_logan_phantom().astype(np.float32)
    line = np.arange(400) - 200
    circle = np.hypot(line[:, None], line) < 195
    ours = back_project(project(image, views=360, pixel_spacing_mm=0.7), pixel_spacing_mm=0.7)
    angles = np.arange(0, 180, 0.5)
    theirs = iradon(radon(image, angles), angles)
    rmse, their_rmse = (np.sqrt(np.mean((r - image)[circle] ** 2)) for r in (ours, theirs))
    assert rmse < 0.03
    assert rmse < their_rmse
    # A wrong zero frequency shifts everything: flat parts must keep their values.
    brain = circle & (image == np.float32(0.2))
    assert abs((ours - image)[brain].mean()) < 2e-3


def test_reconstruction_error_at_the_default_size():
    image = resize(shepp_logan_phantom(), (512, 512), order=1).astype(np.float32)
    line = np.arange(512) - 256
    circle = np.hypot(line[:, None], line) < 250
    error = (back_project(project(image, views=720)) - image)[circle]
    assert np.sqrt(np.mean(error**2)) < 0.010
    assert abs(error.mean()) < 1e-3


def test_scale_of_a_reconstruction_does_not_depend_on_pixel_size_or_views():
    image = disc(64, 20.0)
    for spacing, views in ((0.5, 120), (2.0, 200)):
        back = back_project(project(image, views=views, pixel_spacing_mm=spacing), pixel_spacing_mm=spacing)
        assert back[28:36, 28:36].mean() == pytest.approx(1.0, abs=0.01)


def test_apodisation_of_zero_removes_everything():
    sinogram = project(disc(64, 20.0), views=30)
    assert np.all(back_project(sinogram, apodisation=np.zeros(65)) == 0.0)


def test_ramp_has_the_slope_of_a_ramp_and_a_small_positive_zero_frequency():
    filter_ = ramp(1024)
    assert 0.0 < filter_[0] < 1e-3
    np.testing.assert_allclose(filter_[1:], np.arange(1, 513) / 1024, atol=1e-3)


def test_frequencies_end_at_nyquist():
    grid = frequencies(512, 0.74)
    assert grid.shape == (513,)
    assert grid[-1] == pytest.approx(1 / (2 * 0.74))


@pytest.mark.parametrize("shape", [(64, 32), (63, 63), (4, 64, 64)])
def test_only_squares_of_even_side(shape):
    with pytest.raises(ValueError, match="square of even side"):
        project(np.zeros(shape), views=10)
