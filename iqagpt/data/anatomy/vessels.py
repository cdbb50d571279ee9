"""Vessels and other tubes: trees that fill an organ, and paths through given points, as segments in space.

A tree grows from its root by joining random end points, one after the other, to the nearest branch; radii then
follow Murray's law, or the same with another exponent, so that the stem feeds all ends. Because segments are tubes in
space, a vessel goes on from slice to slice.

References
----------
Murray, Proc Natl Acad Sci 12:207-214, 1926 (the cube of a stem's radius is the sum of its branches' cubes).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from iqagpt.data.anatomy.canvas import Canvas, capsule

#: Where on the way from the middle of a branch to an end point the new branch sets off.
FORK = 0.105


@dataclasses.dataclass(frozen=True, slots=True)
class Tubes:
    """Straight tubes in space.

    Attributes
    ----------
    start, end : ndarray, (n, 3), mm
    radius : ndarray, (n,), mm
    """

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray

    def near(self, z: float, slack_mm: float = 1.0) -> "Tubes":
        """Return the tubes that reach height z."""
        low = np.minimum(self.start[:, 2], self.end[:, 2]) - self.radius - slack_mm
        high = np.maximum(self.start[:, 2], self.end[:, 2]) + self.radius + slack_mm
        keep = (low <= z) & (z <= high)
        return Tubes(self.start[keep], self.end[keep], self.radius[keep])


def grow_tree(
    root: Sequence[Sequence[float]], ends: np.ndarray, *, end_radius_mm: float, exponent: float = 3.0
) -> Tubes:
    """Grow a tree from a stem to a set of end points.

    Parameters
    ----------
    root : sequence of (x, y, z)
        Points of the stem, outside in.
    ends : ndarray, (n, 3), mm
        End points, joined in this order.
    end_radius_mm : float
        Radius of the last branches.
    exponent : float
        What power of a stem's radius is the sum of its branches'; 3 is Murray's. A larger one makes more of the small
        vessels large enough to be seen.
    """
    count = len(root)
    points = np.zeros((count + 2 * len(ends), 3))
    points[:count] = root
    parents = np.arange(-1, len(points) - 1)
    middles = np.zeros_like(points)  # of the branch that ends in each node
    middles[1:count] = (points[1:count] + points[: count - 1]) / 2
    for end in ends:
        child = 1 + int(np.argmin(np.square(middles[1:count] - end).sum(axis=1)))
        parent, fork = parents[child], count
        points[fork] = middles[child] + FORK * (end - middles[child])
        points[fork + 1] = end
        parents[fork], parents[fork + 1], parents[child] = parent, fork, fork
        for node in (child, fork, fork + 1):
            middles[node] = (points[node] + points[parents[node]]) / 2
        count += 2
    return _murray(points, parents, end_radius_mm, exponent)


def path(points: Sequence[Sequence[float]], *, spacing_mm: float = 4.0) -> Tubes:
    """Lead a tube smoothly through points given as (x, y, z, radius)."""
    knots = np.asarray(points, float)
    steps = np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)
    position = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-3))])
    count = max(int(position[-1] / spacing_mm), 1) + 1
    dense = PchipInterpolator(position, knots)(np.linspace(0, position[-1], count))
    return Tubes(dense[:-1, :3], dense[1:, :3], (dense[:-1, 3] + dense[1:, 3]) / 2)


def wander(
    start: Sequence[float],
    direction: Sequence[float],
    rng: np.random.Generator,
    *,
    length_mm: float,
    radius_mm: float,
    turn: float = 0.5,
) -> Tubes:
    """Return a winding tube: every 6 mm the direction turns at random."""
    heading, points = np.asarray(direction, float), [np.asarray(start, float)]
    for _ in range(max(int(length_mm / 6.0), 2)):
        heading = heading + turn * rng.standard_normal(3)
        heading /= np.linalg.norm(heading)
        points.append(points[-1] + 6.0 * heading)
    radii = np.linspace(radius_mm, radius_mm * 0.6, len(points))
    return path([(*p, r) for p, r in zip(points, radii, strict=True)], spacing_mm=3.0)


def paint_tubes(
    canvas: Canvas,
    tubes: Tubes,
    z: float,
    hu: float,
    *,
    within: np.ndarray | None = None,
    label: int | None = None,
) -> None:
    """Paint the cross-sections of tubes at height z, where `within` (cover of the canvas) allows it."""
    tubes = tubes.near(z)
    for start, end, radius in zip(tubes.start, tubes.end, tubes.radius, strict=True):
        reach = np.abs(end[:2] - start[:2]) / 2 + radius + canvas.pixel_mm
        middle = (start + end) / 2
        patch = canvas.patch(middle[0], middle[1], reach[0], reach[1])
        cover = canvas.cover(radius - capsule(patch, start, end, z))
        if within is not None:
            cover = cover * within[patch.place]
        canvas.paint(patch, cover, hu, label)


def union_distance(patch_x: np.ndarray, patch_y: np.ndarray, tubes: Tubes, z: float) -> np.ndarray:
    """Return the signed distance to the union of balls strung along tubes: the lumen of bowel or stomach."""
    best = np.full(patch_x.shape, -1e3, np.float32)
    for (x, y, height), radius in zip(tubes.start, tubes.radius, strict=True):
        squared = (patch_x - x) ** 2 + (patch_y - y) ** 2 + np.float32((height - z) ** 2)
        np.maximum(best, radius - np.sqrt(squared), out=best)
    return best


def _murray(points: np.ndarray, parents: np.ndarray, end_radius_mm: float, exponent: float) -> Tubes:
    """Radii from the ends down: nodes are not in order of depth, so flow is summed along each end's way to the root."""
    flow = np.zeros(len(points))
    is_end = ~np.isin(np.arange(len(points)), parents)
    for node in np.flatnonzero(is_end):
        while node >= 0:
            flow[node] += 1.0
            node = parents[node]
    child = np.flatnonzero(parents >= 0)
    return Tubes(points[parents[child]], points[child], end_radius_mm * flow[child] ** (1.0 / exponent))
