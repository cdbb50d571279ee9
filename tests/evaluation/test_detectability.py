import numpy as np
import pytest
from scipy import ndimage

from iqagpt.data.lesions import Lesion, Outline, draw_lesion
from iqagpt.evaluation.detectability import (
    HotellingObserver,
    contrast_to_noise,
    dog_channels,
    lroc_area,
    roc_area,
    see,
)

SIDE, SPACING_MM, NOISE_HU = 65, 0.7, 15.0


def lesion(diameter_mm, contrast_hu=-30.0):
    shape = Lesion(SIDE // 2, SIDE // 2, diameter_mm, contrast_hu, 0.85, Outline(1.0, 0.0, (0.0,), (0.0,)))
    return draw_lesion(shape, (SIDE, SIDE), SPACING_MM)[0].astype(float)


def white(count, seed=0):
    return NOISE_HU * np.random.default_rng(seed).standard_normal((count, SIDE, SIDE))


@pytest.fixture(scope="module")
def channels():
    return dog_channels(SIDE, SPACING_MM)


def in_white_noise(signal, channels):
    """The exact index: the covariance of the channels' outputs is known."""
    flat = channels.reshape(len(channels), -1)
    seen = see(signal[None], channels)[0]
    return np.sqrt(seen @ np.linalg.solve(NOISE_HU**2 * flat @ flat.T, seen))


def test_the_matched_filter_reaches_the_signal_to_noise_ratio():
    signal = lesion(5.0, -20.0)
    observer = HotellingObserver(white(2000), (signal / np.linalg.norm(signal))[None])
    found = observer.detect(signal)
    exact = np.linalg.norm(signal) / NOISE_HU
    assert found.lower < exact < found.upper
    assert found.dprime == pytest.approx(exact, rel=0.05)
    assert found.auc == pytest.approx(roc_area(exact), abs=0.01)


@pytest.mark.parametrize("diameter_mm", [5.0, 10.0, 20.0])
def test_white_noise_gives_the_analytic_index(diameter_mm, channels):
    signal = lesion(diameter_mm)
    exact = in_white_noise(signal, channels)
    assert HotellingObserver(white(1000), channels).detect(signal).dprime == pytest.approx(exact, rel=0.08)
    # Channels lose something against the matched filter, but not much of a round lesion.
    assert 0.85 < exact / (np.linalg.norm(signal - signal.mean()) / NOISE_HU) <= 1


def test_few_images_are_corrected_for(channels):
    signal = lesion(10.0)
    exact = in_white_noise(signal, channels)
    runs = [HotellingObserver(white(40, seed), channels) for seed in range(60)]
    found = [run.detect(signal) for run in runs]
    assert np.mean([each.dprime**2 for each in found]) == pytest.approx(exact**2, rel=0.1)
    assert np.mean([each.resubstituted for each in found]) > 1.1 * exact
    assert np.mean([run.detect_held_out(signal) for run in runs]) < 0.95 * exact
    inside = np.mean([each.lower < exact < each.upper for each in found])
    assert 0.85 <= inside <= 1


def test_detection_is_linear_in_contrast_and_blind_to_its_sign_and_to_the_level(channels):
    observer = HotellingObserver(white(100), channels)
    dark, bright, strong = (observer.detect(lesion(10.0, hu)).dprime for hu in (-30.0, 30.0, -60.0))
    assert bright == pytest.approx(dark)
    assert strong == pytest.approx(2 * dark, rel=0.02)
    lifted = HotellingObserver(white(100) + 110, channels).detect(lesion(10.0) + 5).dprime
    assert lifted == pytest.approx(dark, rel=1e-6)


def test_larger_lesions_and_less_noise_are_easier(channels):
    observer = HotellingObserver(white(200), channels)
    sizes = [observer.detect(lesion(diameter)).dprime for diameter in (5, 7, 9, 15, 20)]
    assert sizes == sorted(sizes)
    louder = HotellingObserver(2 * white(200), channels)
    assert louder.detect(lesion(9)).dprime == pytest.approx(sizes[2] / 2)


def test_coarse_noise_hides_more_than_fine_noise_of_equal_sd(channels):
    coarse = ndimage.gaussian_filter(white(200, seed=1), (0, 2, 2))
    # Some fine noise stays: an observer that may whiten sees everything where there is none.
    coarse = 3 * coarse / coarse.std() + white(200) / NOISE_HU
    coarse *= NOISE_HU / coarse.std()
    assert contrast_to_noise(-30, coarse) == pytest.approx(2.0)
    found, fine = (HotellingObserver(noise, channels).detect(lesion(7)).dprime for noise in (coarse, white(200)))
    assert found < 0.6 * fine


def test_internal_noise_lowers_the_index(channels):
    plain, human = (HotellingObserver(white(100), channels, internal_noise=part) for part in (0.0, 3.0))
    assert human.detect(lesion(9)).dprime == pytest.approx(plain.detect(lesion(9)).dprime / 2)
    assert human.detect_held_out(lesion(9)) == pytest.approx(plain.detect_held_out(lesion(9)) / 2)


def test_channels_are_centred_round_band_passes(channels):
    assert channels.shape == (10, SIDE, SIDE)
    np.testing.assert_allclose(channels.sum(axis=(1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(channels, channels.transpose(0, 2, 1), atol=1e-12)
    assert (channels.reshape(10, -1).argmax(axis=1) == SIDE // 2 * SIDE + SIDE // 2).all()
    power = np.abs(np.fft.rfft2(channels)) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIDE, SPACING_MM)[:, None], np.fft.rfftfreq(SIDE, SPACING_MM))
    middle = (power * frequency).sum(axis=(1, 2)) / power.sum(axis=(1, 2))
    assert (np.diff(middle) > 0).all()


def test_areas():
    assert roc_area(0) == 0.5
    assert roc_area(1.0) == pytest.approx(0.7602, abs=1e-4)
    assert lroc_area(1.5, 1) == pytest.approx(roc_area(1.5), abs=1e-6)
    # Without a signal, one of the 2 M places of the pair is the greatest by chance.
    assert lroc_area(0.0, 10) == pytest.approx(1 / 20, abs=1e-6)
    assert lroc_area(3.0, 100) < lroc_area(3.0, 10) < roc_area(3.0)


def test_the_area_with_search_is_what_trials_give():
    rng = np.random.default_rng(0)
    with_lesion, without = rng.standard_normal((2, 20000, 8))
    hit = with_lesion[:, 0] + 2.0
    won = (hit > with_lesion[:, 1:].max(axis=1)) & (hit > without.max(axis=1))
    assert won.mean() == pytest.approx(lroc_area(2.0, 8), abs=0.015)


def test_misuse_is_named(channels):
    with pytest.raises(ValueError, match="at least 13 images, got 12"):
        HotellingObserver(white(12), channels)
    with pytest.raises(ValueError, match=r"images of \(65, 65\), got \(64, 64\)"):
        HotellingObserver(white(20)[:, 1:, 1:], channels)
    with pytest.raises(ValueError, match="internal_noise: expected >= 0"):
        HotellingObserver(white(20), channels, internal_noise=-1)
    with pytest.raises(ValueError, match="places: expected >= 1"):
        lroc_area(1.0, 0.5)
