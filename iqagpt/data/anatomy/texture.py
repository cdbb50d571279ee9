"""Band-limited random fields that change smoothly along z: parenchyma, fat strands, marrow, warp of outlines."""

import functools

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

EXTENT_MM = 480.0


class Texture:
    """A random field of unit variance, the same at any pixel size.

    Independent fields lie on planes some mm apart; between two planes they are blended so that the variance stays.

    Parameters
    ----------
    key : sequence of int
        Seed; equal keys give equal fields.
    grain_mm : float
        SD of the Gaussian that shaped the field: its structures are about twice as large.
    plane_mm : float
        Distance of the planes along z.
    """

    def __init__(self, key: tuple[int, ...], grain_mm: float, plane_mm: float) -> None:
        self._key, self._plane_mm = key, plane_mm
        self._step_mm = grain_mm / 2
        self._plane = functools.lru_cache(maxsize=4)(self._draw)

    def at(self, z: float, size: int, pixel_spacing_mm: float) -> np.ndarray:
        """Return the field at height z on a centred grid; (size, size), float32."""
        plane, part = divmod(z / self._plane_mm, 1.0)
        angle = part * np.pi / 2
        field = np.cos(angle) * self._plane(int(plane)) + np.sin(angle) * self._plane(int(plane) + 1)
        weights = _interpolation(size, pixel_spacing_mm, self._step_mm, field.shape[0])
        return np.ascontiguousarray((weights @ (weights @ field).T).T)

    def _draw(self, plane: int) -> np.ndarray:
        count = int(EXTENT_MM / self._step_mm) + 4
        rng = np.random.default_rng((*self._key, plane + 1000))
        field = gaussian_filter(rng.standard_normal((count, count), dtype=np.float32), 2.0, mode="wrap")
        return field * np.float32(2.0 * np.sqrt(np.pi) * 2.0)  # back to unit variance


@functools.lru_cache(maxsize=8)
def _interpolation(size: int, pixel_spacing_mm: float, step_mm: float, count: int) -> csr_array:
    """Sparse matrix (size, count) of Catmull-Rom weights from grid points to pixels."""
    position = (np.arange(size) - (size - 1) / 2) * (pixel_spacing_mm / step_mm) + (count - 1) / 2
    first = np.floor(position).astype(int)
    t = position - first
    kernel = np.stack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            0.5 * (t**3 - t**2),
        ]
    )
    columns = np.clip(first[:, None] + np.arange(-1, 3), 0, count - 1)
    rows = np.repeat(np.arange(size), 4)
    return csr_array((kernel.T.astype(np.float32).ravel(), (rows, columns.ravel())), shape=(size, count))
