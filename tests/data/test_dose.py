import math

import numpy as np
import pytest

from iqagpt.data.dose import (
    WATER_PER_MM,
    insert_noise,
    kernel_transfer,
    line_integrals,
    missing_noise,
    ray_variance,
)

SCAN = {"pixel_spacing_mm": 1.4, "photons": 2e6, "electronic_sd": 8.0, "views": 360}


def water_ellipse(size=256, half_width_mm=150.0, half_height_mm=100.0, spacing_mm=1.4):
    line = (np.arange(size) - (size - 1) / 2) * spacing_mm
    body = (line / half_width_mm) ** 2 + (line[:, None] / half_height_mm) ** 2 < 1
    return np.where(body, 0.0, -1000.0).astype(np.float32)


def noise(image, seed=0, doses=(1.0, 0.25), **changes):
    scan = {**SCAN, **changes}
    views = scan.pop("views")
    integrals = line_integrals(image, pixel_spacing_mm=scan["pixel_spacing_mm"], views=views)
    return missing_noise(integrals, doses=doses, rng=np.random.default_rng(seed), **scan)


def test_full_dose_returns_the_input_bit_for_bit():
    image = np.random.default_rng(1).integers(-1024, 3071, (64, 64)).astype(np.int16)
    result = insert_noise(image, dose=1.0, rng=np.random.default_rng(0), **SCAN)
    assert result.dtype == np.int16
    assert result.tobytes() == image.tobytes()
    assert result is not image


def test_line_integral_through_water_is_path_times_attenuation():
    integrals = line_integrals(water_ellipse(), pixel_spacing_mm=1.4, views=2)
    assert integrals[0, 256] == pytest.approx(200.0 * 0.0192867, rel=0.01)
    assert integrals[1, 256] == pytest.approx(300.0 * 0.0192867, rel=0.01)
    assert integrals.min() >= 0.0


def test_variance_of_a_ray_is_poisson_plus_electronic():
    expected = math.exp(2.0) / 1e5 + (8.0 * math.exp(2.0) / 1e5) ** 2
    assert ray_variance(np.array([2.0]), 1e5, 8.0)[0] == pytest.approx(expected)
    assert ray_variance(np.array([2.0]), math.inf, 8.0)[0] == 0.0


def test_noise_grows_with_the_missing_dose_as_the_variance_says():
    image = water_ellipse()
    centre = (slice(112, 144), slice(112, 144))
    quarter = np.std([noise(image, seed, electronic_sd=0.0)[centre] for seed in range(4)])
    half = np.std([noise(image, seed, (1.0, 0.5), electronic_sd=0.0)[centre] for seed in range(4)])
    assert quarter / half == pytest.approx(math.sqrt((4 - 1) / (2 - 1)), rel=0.1)


def test_quarter_of_the_dose_doubles_the_noise_and_electronic_noise_adds_to_that():
    image = water_ellipse()
    centre = (slice(96, 160), slice(96, 160))

    def ratio(electronic_sd):
        normal = np.std([noise(image, s, (math.inf, 1.0), electronic_sd=electronic_sd)[centre] for s in range(3)])
        low = np.std([noise(image, s, (math.inf, 0.25), electronic_sd=electronic_sd)[centre] for s in range(3)])
        return low / normal

    assert ratio(0.0) == pytest.approx(2.0, rel=0.05)
    assert ratio(400.0) > 2.1


@pytest.mark.parametrize("dose", [0.5, 0.25])
@pytest.mark.parametrize("half_width_mm", [100.0, 150.0])
def test_noise_goes_with_one_over_root_dose(dose, half_width_mm):
    image = water_ellipse(half_width_mm=half_width_mm)
    centre = (slice(96, 160), slice(96, 160))
    normal, low = [], []
    for seed in range(4):
        before = noise(image, seed, (math.inf, 1.0), electronic_sd=0.0)
        normal.append(before[centre])
        low.append((before + noise(image, 100 + seed, (1.0, dose), electronic_sd=0.0))[centre])
    assert np.std(low) / np.std(normal) == pytest.approx(1 / math.sqrt(dose), rel=0.05)


def test_noise_grows_with_the_path_as_attenuation_says():
    centre = (slice(112, 144), slice(112, 144))
    large, small = (
        np.std(
            [noise(water_ellipse(half_width_mm=r, half_height_mm=r), s, electronic_sd=0.0)[centre] for s in range(4)]
        )
        for r in (140.0, 70.0)
    )
    assert large / small == pytest.approx(math.exp(WATER_PER_MM * 140.0 / 2), rel=0.15)
    # Within one body as well: the centre of a cylinder is noisier than its rim.
    disc = water_ellipse(half_width_mm=140.0, half_height_mm=140.0)
    fields = [noise(disc, seed, electronic_sd=0.0) for seed in range(4)]
    assert np.std([f[centre] for f in fields]) > 1.35 * np.std([f[112:144, 32:40] for f in fields])


def test_mean_stays_and_same_seed_gives_the_same_bytes():
    image = water_ellipse()
    low = insert_noise(image, dose=0.25, rng=np.random.default_rng(3), **SCAN)
    body = image == 0
    assert abs(float((low - image)[body].mean())) < 2.0
    assert low.dtype == np.int16
    again = insert_noise(image, dose=0.25, rng=np.random.default_rng(3), **SCAN)
    assert low.tobytes() == again.tobytes()


def test_spectrum_rises_to_a_peak_and_falls_before_nyquist():
    spacing = 0.74
    image = water_ellipse(size=384, half_width_mm=120.0, spacing_mm=spacing)
    spectrum = np.zeros((96, 96))
    for seed in range(3):
        field = noise(image, seed, pixel_spacing_mm=spacing)
        for row in (96, 144, 192):
            for column in (96, 144, 192):
                patch = field[row : row + 96, column : column + 96]
                spectrum += np.abs(np.fft.fft2((patch - patch.mean()) * np.hanning(96)[:, None] * np.hanning(96))) ** 2
    line = np.fft.fftfreq(96, spacing)
    radius = np.hypot(line[:, None], line)
    edges = np.arange(0.0, 0.70, 0.05)
    radial = np.array([spectrum[(radius >= low) & (radius < low + 0.05)].mean() for low in edges])
    peak = edges[radial.argmax()] + 0.025
    assert 0.1 <= peak <= 0.3
    assert radial[0] < 0.7 * radial.max()
    assert radial[-2] < 0.1 * radial.max()  # 0.60-0.65 /mm; Nyquist is 0.68


def test_noise_is_larger_and_streaky_behind_long_paths():
    image = water_ellipse()
    bones = image.copy()
    bones[118:138, 40:60] = bones[118:138, 196:216] = 1500.0
    between = (slice(120, 136), slice(90, 166))
    plain, streaks = noise(image, 5), noise(bones, 5)
    assert streaks[between].std() > 1.15 * plain[between].std()
    # Streaks run along the line between the bones: neighbours in a row are more alike than neighbours in a column.
    block = streaks[between]
    along = np.mean(block[:, 1:] * block[:, :-1])
    across = np.mean(block[1:] * block[:-1])
    assert along > 1.3 * across


def test_kernel_passes_low_and_blocks_high_frequencies():
    transfer = kernel_transfer(np.array([0.0, 0.38, 0.64]))
    np.testing.assert_allclose(transfer, [1.0, 0.5, 0.1], atol=0.02)
    assert kernel_transfer(np.array([0.6]), 0.6) == pytest.approx(0.5)


@pytest.mark.parametrize("dose", [0.0, -0.5, 1.5, math.nan])
def test_dose_out_of_range(dose):
    with pytest.raises(ValueError, match="dose: expected above 0 and at most 1"):
        insert_noise(np.zeros((64, 64), np.int16), dose=dose, rng=np.random.default_rng(0), **SCAN)
