"""Built-in further denoisers: they lower noise by its own measure, keep HU, and give equal results again."""

import numpy as np
import pytest
from scipy import ndimage

from iqagpt.denoise.filters import FILTERS, NOISE_FLOOR_HU, noise_sd_hu

SIDE = 96


@pytest.fixture(scope="module")
def images():
    """A body with one organ in air; noise as fine as CT noise is, a quarter of the dose."""
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    clean = np.where(np.hypot(rows, cols) < 44, 40.0, -1000.0) + 60.0 * (np.hypot(rows - 8, cols) < 20)
    fields = [ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 0.8) for _ in range(2)]
    ndct, extra = (field / field.std() for field in fields)
    ndct = clean + 10 * ndct
    made = {"ndct": ndct, "ldct": ndct + 17 * extra, "red_cnn": ndct + 4 * extra}
    return {name: np.rint(image).astype(np.int16) for name, image in made.items()} | {"clean": clean}


def rmse(image, images):
    inside = images["clean"] > 0
    return np.sqrt(np.mean((image[inside] - images["clean"][inside]) ** 2))


@pytest.mark.parametrize("name", FILTERS)
def test_less_noise_and_the_same_hu(name, images):
    before = images["ldct"].copy()
    image = FILTERS[name](images)
    assert image.shape == (SIDE, SIDE)
    assert np.array_equal(images["ldct"], before)
    assert noise_sd_hu(image) < 0.85 * noise_sd_hu(images["ldct"])
    core = ndimage.binary_erosion(images["clean"] > 0, iterations=6)
    assert image[core].mean() == pytest.approx(images["ldct"][core].mean(), abs=2)
    assert np.array_equal(image, FILTERS[name](images))


@pytest.mark.parametrize("name", ["nlm", "tv"])
def test_edge_keeping_filters_come_nearer_to_the_truth_than_ldct(name, images):
    assert rmse(FILTERS[name](images), images) < 0.8 * rmse(images["ldct"], images)


def test_blends_lie_half_way(images):
    assert np.allclose(FILTERS["blend"](images), (images["ndct"].astype(float) + images["ldct"]) / 2)
    assert np.allclose(FILTERS["blend_red_cnn"](images), (images["red_cnn"].astype(float) + images["ldct"]) / 2)


@pytest.mark.parametrize("sd", [5.0, 40.0])
def test_noise_is_measured_in_hu(sd):
    image = 50 + sd * np.random.default_rng(0).standard_normal((128, 128))
    assert noise_sd_hu(image) == pytest.approx(sd, rel=0.05)


@pytest.mark.parametrize("level", [50, -1000])
def test_slices_without_noise_or_tissue_pass(level):
    flat = np.full((32, 32), level, np.int16)
    assert noise_sd_hu(flat) == NOISE_FLOOR_HU
    for filtered in (FILTERS["nlm"], FILTERS["tv"]):
        assert np.allclose(filtered({"ldct": flat}), level, atol=0.5)
