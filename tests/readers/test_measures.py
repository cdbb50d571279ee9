import numpy as np
import pytest
from scipy import ndimage

from iqagpt.readers.measures import NOISE_FLOOR_HU, SliceReader, robust_sd

SPACING_MM = 1.2
WINDOW_HU = (-160.0, 240.0)


@pytest.fixture(scope="module")
def reader(ct_slice):
    return SliceReader(ct_slice.ndct, ct_slice.mask, spacing_mm=SPACING_MM, window_hu=WINDOW_HU)


def test_ndct_against_itself_has_lost_nothing(reader, ct_slice):
    seen = reader.measure(ct_slice.ndct)
    assert (seen.noise_ratio, seen.texture_ratio) == (0, 0)
    assert seen.likeness == pytest.approx(1)
    assert (seen.edge_gain, seen.vessel_contrast, seen.vessel_sharpness) == pytest.approx((1, 1, 1))


def test_places_are_found(reader):
    assert reader._vessels.any()
    assert reader._edges.any()
    assert reader._flat.any()


def test_ldct_keeps_structure_but_leaves_noise(reader, ct_slice):
    seen = reader.measure(ct_slice.ldct)
    # 12 and 24 HU of independent noise make sqrt(5) times the NDCT's.
    assert seen.noise_ratio == pytest.approx(np.log(np.sqrt(5)), abs=0.15)
    assert seen.edge_gain == pytest.approx(1, abs=0.1)
    assert seen.vessel_contrast == pytest.approx(1, abs=0.1)


def test_blur_loses_texture_and_vessels(reader, ct_slice):
    seen = reader.measure(ndimage.gaussian_filter(ct_slice.ndct.astype(float), 1.5))
    assert seen.noise_ratio < -0.3
    assert seen.vessel_contrast < 0.7
    assert seen.vessel_sharpness < 0.7
    assert seen.edge_gain < 0.95


def test_likeness_falls_with_noise_and_with_structure_lost(reader, ct_slice):
    rng = np.random.default_rng(1)
    noisy = [reader.measure(ct_slice.ndct + sd * rng.standard_normal(ct_slice.ndct.shape)) for sd in (5, 20, 60)]
    blurred = [reader.measure(ndimage.gaussian_filter(ct_slice.ndct.astype(float), sigma)) for sigma in (0.5, 1.0, 2.0)]
    for series in (noisy, blurred):
        likeness = [1.0, *(seen.likeness for seen in series)]
        assert (np.diff(likeness) < 0).all()


def test_likeness_ignores_strength_but_not_invented_texture(reader, ct_slice):
    mean = ct_slice.ndct[reader._crop].mean()
    weaker = reader.measure(np.where(ct_slice.ndct > -150, 0.8 * (ct_slice.ndct - mean) + mean, ct_slice.ndct))
    assert weaker.likeness == pytest.approx(1, abs=0.02)
    grain = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(ct_slice.ndct.shape), 0.8)
    invented = ct_slice.clean + 12 * grain / grain.std()
    # As much noise as the NDCT's, but another one.
    seen = reader.measure(invented)
    assert seen.noise_ratio == pytest.approx(0, abs=0.1)
    assert seen.likeness < 0.9


def test_smoothing_takes_fine_grain_before_coarse(reader, ct_slice):
    seen = reader.measure(ndimage.gaussian_filter(ct_slice.ndct.astype(float), 0.7))
    assert seen.texture_ratio < seen.noise_ratio < 0


def test_lesion_is_clearer_in_ndct_than_in_ldct(reader, ct_slice):
    ndct, ldct, clean = (reader.measure(image) for image in (ct_slice.ndct, ct_slice.ldct, ct_slice.clean))
    assert clean.lesion_cnr > ndct.lesion_cnr > ldct.lesion_cnr
    assert ndct.lesion_margin > ldct.lesion_margin
    assert ndct.lesion_diameter_mm == pytest.approx(18, abs=0.5)


def test_a_bright_lesion_is_seen_as_well_as_a_dark_one(reader, ct_slice):
    rows, cols = (np.mgrid[:192, :192] - 96) * SPACING_MM
    near = np.hypot(rows + 10, cols + 35) < 25
    # Mirrored at the liver's 110 HU, noise included.
    ndct, ldct = (np.where(near, 220 - image, image) for image in (ct_slice.ndct, ct_slice.ldct))
    told = SliceReader(ndct, ct_slice.mask, spacing_mm=SPACING_MM, window_hu=WINDOW_HU, hyperdense=True)
    for bright, dark in ((ndct, ct_slice.ndct), (ldct, ct_slice.ldct)):
        seen, expected = told.measure(bright), reader.measure(dark)
        assert seen.lesion_cnr == pytest.approx(expected.lesion_cnr, rel=0.05)
        assert seen.lesion_margin == pytest.approx(expected.lesion_margin, rel=0.05)
    assert not told._vessels[told._lesion.core].any()
    # The wrong sign is noise, not a lesion.
    assert reader.measure(ndct).lesion_cnr == 0


def test_blur_softens_the_margin_of_a_noise_free_lesion(ct_slice):
    noisy = ct_slice.clean + 3 * np.random.default_rng(0).standard_normal(ct_slice.clean.shape)
    reader = SliceReader(noisy, ct_slice.mask, spacing_mm=SPACING_MM, window_hu=WINDOW_HU)
    step = [reader.measure(ndimage.gaussian_filter(ct_slice.clean, sigma)) for sigma in (0.0, 3.0)]
    assert step[1].lesion_margin < step[0].lesion_margin


def test_no_lesion_no_lesion_measures(ct_slice):
    reader = SliceReader(ct_slice.ndct, np.zeros_like(ct_slice.mask), spacing_mm=SPACING_MM, window_hu=WINDOW_HU)
    seen = reader.measure(ct_slice.ldct)
    assert seen.lesion_cnr is None
    assert seen.lesion_margin is None
    assert seen.lesion_diameter_mm is None


def test_nothing_outside_the_window_counts(reader, ct_slice):
    changed = np.where(ct_slice.ndct < -160, -160, ct_slice.ndct)
    assert reader.measure(changed) == reader.measure(ct_slice.ndct)


def test_pixel_size_does_not_matter_much(reader, ct_slice):
    finer = [ndimage.zoom(image.astype(float), 1.5, order=1) for image in (ct_slice.ndct, ct_slice.ldct)]
    mask = ndimage.zoom(ct_slice.mask, 1.5, order=0)
    fine = SliceReader(finer[0], mask, spacing_mm=SPACING_MM / 1.5, window_hu=WINDOW_HU).measure(finer[1])
    coarse = reader.measure(ct_slice.ldct)
    assert fine.noise_ratio == pytest.approx(coarse.noise_ratio, abs=0.15)
    assert fine.lesion_diameter_mm == pytest.approx(coarse.lesion_diameter_mm, rel=0.05)


@pytest.mark.parametrize("level", [-1000, 60])
def test_an_empty_slice_gives_finite_numbers(level):
    flat = np.full((64, 64), level, np.int16)
    seen = SliceReader(flat, np.zeros_like(flat), spacing_mm=1.0, window_hu=WINDOW_HU).measure(flat)
    assert seen.noise_hu == NOISE_FLOOR_HU
    assert (seen.noise_ratio, seen.texture_ratio) == (0, 0)
    assert (seen.likeness, seen.edge_gain, seen.vessel_contrast) == (1, 1, 1)


def test_robust_sd_ignores_outliers():
    values = np.random.default_rng(0).normal(0, 10, 5000)
    values[:100] = 500
    assert robust_sd(values) == pytest.approx(10, rel=0.05)


def test_fat_beside_the_organ_does_not_count_as_surroundings(ct_slice):
    rows, cols = (np.mgrid[:192, :192] - 96) * SPACING_MM
    clutter = np.where(np.hypot(rows + 10, cols + 35) > 13, ct_slice.ndct - 200, ct_slice.ndct)
    lonely = SliceReader(clutter, ct_slice.mask, spacing_mm=SPACING_MM, window_hu=WINDOW_HU)
    beside = SliceReader(ct_slice.ndct, ct_slice.mask, spacing_mm=SPACING_MM, window_hu=WINDOW_HU)
    assert lonely.measure(clutter).lesion_cnr == pytest.approx(beside.measure(ct_slice.ndct).lesion_cnr, rel=0.4)
