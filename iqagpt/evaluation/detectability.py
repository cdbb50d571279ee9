"""How well a lesion can be detected in noise: contrast-to-noise ratio and a channelised Hotelling observer.

Whether simulated lesions are as hard to see as published ones is judged here (``benchmarks/lesion_detectability.py``);
no stage of the pipeline uses it. The task is "signal known exactly": the observer knows shape, contrast and place of the
lesion and decides whether it is there. Human readers, who search, do worse: `lroc_area` allows for the search.

References
----------
Abbey and Barrett, J Opt Soc Am A 18(3):473-488, 2001 (dense difference-of-Gaussians channels). Wunderlich and Noo, IEEE
Trans Nucl Sci 60(1):182-193, 2013 (estimates of a Hotelling observer with known difference of class means). Swensson,
Med Phys 23(10):1709-1725, 1996 (search as the maximum over places).
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats


@dataclass(frozen=True, slots=True)
class Detection:
    """How well one lesion is told from none.

    Attributes
    ----------
    dprime : float
        Detectability index: distance of the two mean decision values in standard deviations.
    lower, upper : float
        Confidence limits of `dprime` for the number of images seen.
    resubstituted : float
        The index without correction; too high, because the observer is judged on the images that it was fitted to.
    """

    dprime: float
    lower: float
    upper: float
    resubstituted: float

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return roc_area(self.dprime)


class HotellingObserver:
    """The best linear observer that sees images through channels only.

    Parameters
    ----------
    absent_hu : ndarray, (N, H, W), HU
        Independent images without the lesion; N above the number of channels by 3 or more.
    channels : ndarray, (C, H, W)
        For instance from `dog_channels`.
    internal_noise : float, optional
        Variance that the observer's own uncertainty adds to its decision, as a part of the images'.

    Raises
    ------
    ValueError
        If sizes do not match or there are too few images.
    """

    def __init__(self, absent_hu: np.ndarray, channels: np.ndarray, *, internal_noise: float = 0.0) -> None:
        count, needed = len(absent_hu), len(channels) + 3
        if absent_hu.shape[1:] != channels.shape[1:]:
            raise ValueError(f"absent_hu: expected images of {channels.shape[1:]}, got {absent_hu.shape[1:]}")
        if count < needed:
            raise ValueError(f"absent_hu: expected at least {needed} images, got {count}")
        if internal_noise < 0:
            raise ValueError(f"internal_noise: expected >= 0, got {internal_noise}")
        self._channels = channels
        self._outputs = see(absent_hu, channels)
        self._dilution = 1.0 + internal_noise
        self._factor = linalg.cho_factor(np.atleast_2d(np.cov(self._outputs, rowvar=False)))

    def detect(self, signal_hu: np.ndarray, *, confidence: float = 0.95) -> Detection:
        """Judge a lesion.

        Parameters
        ----------
        signal_hu : ndarray, (H, W), HU
            What the lesion adds to an image.
        confidence : float
            Of the limits, in (0, 1).

        Returns
        -------
        Detection

        Notes
        -----
        With n = N - 1 degrees of freedom and C channels, the resubstituted square times (n - C - 1) / n has the true
        square as its mean, and the true square over the resubstituted one is distributed as chi-square of n - C + 1
        over n (Wunderlich and Noo): the signal is known, only the covariance is estimated.
        """
        freedom, channels = len(self._outputs) - 1, len(self._channels)
        signal = see(signal_hu[None], self._channels)[0]
        square = float(signal @ linalg.cho_solve(self._factor, signal)) / self._dilution
        tails = stats.chi2.ppf([(1 - confidence) / 2, (1 + confidence) / 2], freedom - channels + 1) / freedom
        lower, upper = np.sqrt(square * tails)
        corrected = np.sqrt(square * (freedom - channels - 1) / freedom)
        return Detection(float(corrected), float(lower), float(upper), float(np.sqrt(square)))

    def detect_held_out(self, signal_hu: np.ndarray) -> float:
        """Return the index with the template from one half of the images, judged on the other; mean of both ways.

        Too low rather than too high: half of the images fit a poorer template.
        """
        signal = see(signal_hu[None], self._channels)[0]
        halves = self._outputs[0::2], self._outputs[1::2]
        found = []
        for fitted, judged in (halves, halves[::-1]):
            template = linalg.solve(np.atleast_2d(np.cov(fitted, rowvar=False)), signal, assume_a="pos")
            found.append(signal @ template / np.std(judged @ template, ddof=1))
        return float(np.mean(found) / np.sqrt(self._dilution))


def dog_channels(
    side_px: int,
    spacing_mm: float,
    *,
    count: int = 10,
    first_per_mm: float = 0.015,
    ratio: float = 1.4,
    width: float = 1.67,
) -> np.ndarray:
    """Return dense difference-of-Gaussians channels: round band-passes, as the eye has.

    Parameters
    ----------
    side_px : int
        Rows and columns of the images; the lesion is centred on pixel ``side_px // 2``.
    spacing_mm : float
        Pixel spacing.
    count : int
        Number of channels.
    first_per_mm : float
        Standard deviation of the lowest channel's inner Gaussian, 1/mm.
    ratio : float
        Of the standard deviations of neighbouring channels.
    width : float
        Of the standard deviations of a channel's outer and inner Gaussian.

    Returns
    -------
    ndarray, (count, side_px, side_px), float64
        Of unit norm and zero mean, so that the level of the background does not matter.

    Notes
    -----
    Number, ratio and width as Abbey and Barrett have them. Their lowest channel is given in cycles a pixel of their
    display; 0.015 /mm is our choice: the channels then reach from 0.02 to 0.4 /mm and cover lesions of 5 to 20 mm.
    """
    frequency = np.hypot(np.fft.fftfreq(side_px, spacing_mm)[:, None], np.fft.rfftfreq(side_px, spacing_mm))
    inner = first_per_mm * ratio ** np.arange(count)[:, None, None]
    passed = np.exp(-0.5 * (frequency / (width * inner)) ** 2) - np.exp(-0.5 * (frequency / inner) ** 2)
    channels = np.fft.irfft2(passed, s=(side_px, side_px))
    channels = np.roll(channels, (side_px // 2, side_px // 2), axis=(1, 2))
    return channels / np.linalg.norm(channels, axis=(1, 2), keepdims=True)


def see(images_hu: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Return what channels show of images; shapes (N, H, W) and (C, H, W) to (N, C)."""
    return np.tensordot(images_hu, channels, axes=([1, 2], [1, 2]))


def contrast_to_noise(contrast_hu: float, noise_hu: np.ndarray) -> float:
    """Return the contrast of a lesion, dark or bright, over the standard deviation of the noise of single pixels."""
    return abs(contrast_hu) / float(np.std(noise_hu))


def roc_area(dprime: float) -> float:
    """Return the area under the ROC curve: the part of pairs, one with and one without lesion, told apart."""
    return float(stats.norm.cdf(dprime / np.sqrt(2)))


def lroc_area(dprime: float, places: float) -> float:
    """Return the area under the localisation ROC curve where the place is not known.

    Parameters
    ----------
    dprime : float
        Index for a known place.
    places : float
        Independent places that are searched, at least 1; 1 gives `roc_area`.

    Returns
    -------
    float
        Probability that the lesion's place exceeds all others of its image and all of an image without lesion.
    """
    if places < 1:
        raise ValueError(f"places: expected >= 1, got {places}")
    value = np.linspace(-8.0, 8.0, 4001) + dprime
    density = stats.norm.pdf(value - dprime) * stats.norm.cdf(value) ** (2 * places - 1)
    return float(np.trapezoid(density, value))
