"""Drawing on a CT slice: shapes given by signed distances in mm, painted with edges of one pixel.

Everything is drawn in the patient's own coordinates: mm, x to the patient's left, y to the back, origin in the
middle of the trunk, z to the feet. A smooth random warp bends them, so that no outline is an exact ellipse.
"""

import dataclasses

import numpy as np
from scipy.interpolate import PchipInterpolator

ANGLES = 360


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of the canvas: its place, and the patient coordinates of its pixels."""

    place: tuple[slice, slice]
    x: np.ndarray
    y: np.ndarray


class Canvas:
    """One slice being drawn.

    Parameters
    ----------
    x, y : ndarray, (N, N), float32, mm
        Patient coordinates of every pixel.
    pixel_mm : (float, float)
        Pixel size along x and y in these coordinates; the former is the width of a soft edge.
    middle_y : float
        The y of the middle row, before the warp.

    Attributes
    ----------
    hu : ndarray, (N, N), float32
    labels : ndarray, (N, N), uint8
        TotalSegmentator v2 class numbers; 0 where nothing is named.
    """

    #: Patches are larger than their shape by this, since the warp moves it.
    MARGIN_MM = 9.0

    def __init__(self, x: np.ndarray, y: np.ndarray, pixel_mm: tuple[float, float], middle_y: float = 0.0) -> None:
        self.x, self.y = x, y
        self.pixel_mm = pixel_mm[0]
        self._rows = (middle_y, pixel_mm[1])
        self.hu = np.full(x.shape, -1000.0, np.float32)
        self.labels = np.zeros(x.shape, np.uint8)

    def patch(self, x: float, y: float, reach_x: float, reach_y: float | None = None) -> Patch:
        """Return the part of the canvas within a reach of a point; the whole canvas is `whole`."""
        columns = self._range(x, reach_x, 0.0, self.pixel_mm)
        rows = self._range(y, reach_x if reach_y is None else reach_y, *self._rows)
        place = (rows, columns)
        return Patch(place, self.x[place], self.y[place])

    def _range(self, centre: float, reach: float, middle_mm: float, pixel_mm: float) -> slice:
        size = self.x.shape[0]
        pixel = (size - 1) / 2 + (centre - middle_mm) / pixel_mm
        extent = (reach + self.MARGIN_MM) / pixel_mm
        return slice(min(max(int(pixel - extent), 0), size), max(int(pixel + extent) + 2, 0))

    @property
    def whole(self) -> Patch:
        """The whole canvas as a patch."""
        return Patch((slice(None), slice(None)), self.x, self.y)

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Turn a signed distance (positive inside) into the covered fraction of each pixel."""
        return np.clip(0.5 + distance / self.pixel_mm, 0.0, 1.0)

    def paint(self, patch: Patch, cover: np.ndarray, hu: float | np.ndarray, label: int | None = None) -> None:
        """Lay HU over what is there, in proportion to the cover; more than half covered takes the label."""
        under = self.hu[patch.place]
        under += cover * (hu - under)
        if label is not None:
            self.labels[patch.place][cover > 0.5] = label


def ellipse(patch: Patch, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """Return the approximate signed distance to a rotated ellipse (angle in radians from x to y)."""
    dx, dy = patch.x - centre[0], patch.y - centre[1]
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
    level = np.sqrt(u * u + v * v) + 1e-6
    slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2) / level
    return (1.0 - level) / np.maximum(slope, 1e-3)


def capsule(patch: Patch, start: np.ndarray, end: np.ndarray, z: float = 0.0) -> np.ndarray:
    """Return the distance of every pixel at height z from a straight segment in space."""
    start, end = (np.pad(np.asarray(p, float), (0, 3 - len(p))) for p in (start, end))
    axis = end - start
    dx, dy, dz = patch.x - start[0], patch.y - start[1], z - start[2]
    along = (dx * axis[0] + dy * axis[1] + dz * axis[2]) / max(float(axis @ axis), 1e-6)
    along = np.clip(along, 0.0, 1.0)
    return np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2)


class Contour:
    """A closed outline, star-shaped about a centre, that changes smoothly along z.

    Parameters
    ----------
    levels : dict of float to sequence of (x, y)
        Points on the outline at some z, in order round it.
    rng : numpy.random.Generator
        Source of the individual form.
    roughness : float
        Relative SD of the radius.
    centre : (x, y), optional
        Centre at all levels; the mean of a level's points by default.
    """

    HARMONICS = np.arange(2, 12)

    def __init__(
        self,
        levels: dict[float, list[tuple[float, float]]],
        rng: np.random.Generator,
        *,
        roughness: float = 0.0,
        centre: tuple[float, float] | None = None,
    ) -> None:
        self.first, self.last = min(levels), max(levels)
        rows = [_polar(np.asarray(levels[z], float), centre) for z in sorted(levels)]
        self._rows = PchipInterpolator(sorted(levels), np.asarray(rows)) if len(rows) > 1 else None
        self._only = rows[0]
        count = len(self.HARMONICS)
        self._amplitude = roughness * rng.standard_normal(count) / self.HARMONICS
        self._phase = rng.uniform(0, 2 * np.pi, count)
        self._twist = rng.uniform(-1 / 25, 1 / 25, count)

    def at(self, z: float) -> tuple[float, float, np.ndarray]:
        """Return the centre and the radii at every degree from x towards y, at height z (clamped to the levels)."""
        row = self._only if self._rows is None else self._rows(np.clip(z, self.first, self.last))
        angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
        wave = np.cos(np.outer(self.HARMONICS, angle) + (self._phase + self._twist * z)[:, None])
        return float(row[0]), float(row[1]), row[2:] * (1.0 + self._amplitude @ wave)

    def distance(self, patch: Patch, z: float) -> np.ndarray:
        """Return the approximate signed distance, positive inside."""
        x, y, radii = self.at(z)
        dx, dy = patch.x - x, patch.y - y
        return radial_distance(np.hypot(dx, dy), np.arctan2(dy, dx), radii)

    def reach(self, z: float) -> tuple[float, float, float]:
        """Return centre and largest radius: the arguments of `Canvas.patch`."""
        x, y, radii = self.at(z)
        return x, y, float(radii.max())


def radial_distance(radius: np.ndarray, angle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the signed distance to an outline given by `radii` at every degree, for pixels in polar coordinates."""
    slope = np.gradient(np.concatenate([radii[-1:], radii, radii[:1]]))[1:-1] * (ANGLES / (2 * np.pi))
    table = np.stack([radii, 1.0 / np.sqrt(1.0 + (slope / radii) ** 2)]).astype(np.float32)
    table = np.concatenate([table, table[:, :1]], axis=1)
    position = np.mod(angle, 2 * np.pi) * np.float32(ANGLES / (2 * np.pi))
    index = np.minimum(position.astype(np.int32), ANGLES - 1)
    part = position - index
    outline, shrink = table[:, index] * (1.0 - part) + table[:, index + 1] * part
    return (outline - radius) * shrink


def _polar(points: np.ndarray, centre: tuple[float, float] | None) -> np.ndarray:
    """Centre x, y and the radius at every degree, interpolated between points without overshoot."""
    middle = points.mean(axis=0) if centre is None else np.asarray(centre, float)
    offset = points - middle
    angle = np.degrees(np.arctan2(offset[:, 1], offset[:, 0])) % 360.0
    order = np.argsort(angle)
    angle, radius = angle[order], np.hypot(*offset[order].T)
    angle = np.concatenate([angle - 360.0, angle, angle + 360.0])
    return np.concatenate([middle, PchipInterpolator(angle, np.tile(radius, 3))(np.arange(ANGLES))])
