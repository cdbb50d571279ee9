"""Parallel-beam line integrals of an image, and filtered back-projection, by the Fourier slice theorem.

The one-dimensional spectrum of a projection is a radial line through the two-dimensional spectrum of the image, so both
directions are one non-uniform FFT (finufft): forward reads the spectrum along all radial lines, back adds filtered
lines up. At 512 x 512 and 720 views either takes some 25 ms on one core where a ray-driven projector takes seconds
(``benchmarks/projection.py``). One thread a transform: slices are what runs side by side, and the order of summation,
hence the result, then does not depend on the number of cores.
`iqagpt.data.dose` sends noise through it.

Detector bins are as wide as pixels. Views are spread evenly over 180 degrees; view 0 integrates along the columns.

References
----------
Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, section 3.3 (the discrete ramp); Barnett, Magland
and af Klinteberg, SIAM J. Sci. Comput. 41, C479, 2019 (finufft).
"""

import functools

import finufft
import numpy as np

#: Relative accuracy asked of the non-uniform FFT (5e-5 of the largest line integral is reached), and oversampling of its
#: grid. A finer accuracy takes the grid to twice the side, which no longer fits the caches: three times slower, for nothing
#: that single precision could carry.
ACCURACY, OVERSAMPLING = 1e-4, 1.25
_NUFFT = {"eps": ACCURACY, "upsampfac": OVERSAMPLING, "nthreads": 1}


def project(image: np.ndarray, *, views: int, pixel_spacing_mm: float = 1.0) -> np.ndarray:
    """Integrate an image along parallel rays.

    Parameters
    ----------
    image : ndarray, (N, N), N even
        What is integrated, attenuation in 1/mm for instance; taken as zero outside.
    views : int
        Directions, spread evenly over 180 degrees.
    pixel_spacing_mm : float
        Pixel size; the default gives integrals in pixels.

    Returns
    -------
    ndarray, (views, 2 N), float32
        Line integrals; bin ``N`` passes through pixel ``[N / 2, N / 2]``.

    Raises
    ------
    ValueError
        If the image is not square with an even side.
    """
    size = _side(image)
    rows, columns = _radial_lines(size, views)
    spectrum = finufft.nufft2d2(rows, columns, image.astype(np.complex64), isign=-1, **_NUFFT)
    spectrum *= np.float32(pixel_spacing_mm)
    return np.fft.fftshift(np.fft.irfft(spectrum.reshape(views, size + 1), n=2 * size, axis=1), axes=1)


def back_project(
    sinogram: np.ndarray, *, pixel_spacing_mm: float = 1.0, apodisation: np.ndarray | None = None
) -> np.ndarray:
    """Reconstruct an image by filtered back-projection; the inverse of `project`.

    Parameters
    ----------
    sinogram : ndarray, (views, 2 N)
        Line integrals as `project` returns them.
    pixel_spacing_mm : float
        Pixel size, equal to that of the projection.
    apodisation : ndarray, (N + 1,), optional
        Factor on the ramp at `frequencies`; None is the bare ramp.

    Returns
    -------
    ndarray, (N, N), float32
    """
    views, bins = sinogram.shape
    size = bins // 2
    transfer = ramp(bins) if apodisation is None else ramp(bins) * apodisation
    transfer[1:-1] *= 2  # negative frequencies, which the half spectrum leaves out
    transfer *= np.pi / (views * bins * pixel_spacing_mm)
    filtered = np.fft.rfft(np.fft.ifftshift(sinogram.astype(np.float32, copy=False), axes=1), axis=1)
    filtered *= transfer.astype(np.float32)
    rows, columns = _radial_lines(size, views)
    image = finufft.nufft2d1(rows, columns, filtered.ravel(), (size, size), isign=1, **_NUFFT)
    return np.ascontiguousarray(image.real)


def ramp(bins: int) -> np.ndarray:
    """Return the ramp filter at the non-negative frequencies of `bins` samples.

    It is the transform of the band-limited kernel, cut off after half the padded length, rather than
    ``abs(frequency)``: that is zero at frequency zero and shifts every reconstructed value (Kak and Slaney, equation
    61).

    Returns
    -------
    ndarray, (bins / 2 + 1,), float64
    """
    offset = np.fft.fftfreq(bins, d=1.0 / bins)
    kernel = np.zeros(bins)
    odd = offset % 2 != 0
    kernel[odd] = -1.0 / (np.pi * offset[odd]) ** 2
    kernel[0] = 0.25
    return np.fft.rfft(kernel).real


def frequencies(size: int, pixel_spacing_mm: float) -> np.ndarray:
    """Return the detector frequencies of an image side, 0 to Nyquist, in 1/mm; shape (size + 1,)."""
    return np.fft.rfftfreq(2 * size, d=pixel_spacing_mm)


def _side(image: np.ndarray) -> int:
    if image.ndim != 2 or image.shape[0] != image.shape[1] or image.shape[0] % 2:
        raise ValueError(f"image: expected a square of even side, got shape {image.shape}")
    return image.shape[0]


@functools.lru_cache(maxsize=4)
def _radial_lines(size: int, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (row, column) in radians a pixel on the radial half lines, view by view."""
    radius = np.linspace(0.0, np.pi, size + 1)
    angle = np.pi * np.arange(views)[:, None] / views
    rows, columns = radius * np.sin(angle), radius * np.cos(angle)
    return rows.astype(np.float32).ravel(), columns.astype(np.float32).ravel()
