"""Courses of everything tubular in a synthetic patient: vessels, gullet, stomach, bowel, pancreas.

A course is a line of points (x, y, z, radius) in mm, in the coordinates of `iqagpt.data.anatomy.outlines`, or a tree
that fills an organ. All courses of a patient are bent by one smooth displacement, so that what joins stays joined.
"""

import dataclasses

import numpy as np

from iqagpt.data.anatomy.canvas import Contour
from iqagpt.data.anatomy.vessels import Tubes, grow_tree, path, wander

Course = list[tuple[float, float, float, float]]

_HILUM, _CONFLUENCE, _CAVA_TOP = (-34, -12, 16), (2, -4, 34), (-20, 2, -48)
_PORTAL: list[Course] = [
    [(*_HILUM, 6.2), (*_CONFLUENCE, 6.0), (20, 4, 30, 4.6), (60, 12, 14, 4.2), (84, 16, 6, 3.5)],
    [(*_CONFLUENCE, 5.5), (-2, -10, 60, 5.0), (-4, -16, 100, 4.8)],
]
_ARTERIES: list[Course] = [
    [(6, 12, 8, 3.6), (4, -6, 10, 3.4), (-12, -14, 8, 2.6), (-32, -18, 12, 2.0)],
    [(4, -6, 10, 3.0), (30, -2, 2, 2.5), (55, 6, 8, 2.3), (82, 12, 2, 2.2)],
    [(6, 10, 24, 3.6), (4, -3, 30, 3.6), (3, -9, 60, 3.4), (2, -12, 100, 3.2)],
    [(8, 16, 38, 2.8), (35, 28, 36, 2.5), (56, 42, 38, 2.3)],
    [(2, 18, 42, 2.8), (-30, 30, 44, 2.4), (-52, 46, 50, 2.2)],
]
_RENAL_VEINS: list[Course] = [
    [(-20, 8, 48, 4.2), (-38, 26, 48, 3.8), (-54, 44, 50, 3.5)],
    [(-14, 4, 36, 4.2), (4, 0, 38, 3.2), (32, 18, 38, 3.8), (56, 40, 38, 3.5)],
]
_GULLET: Course = [(10, 6, -90, 8.0), (14, 0, -55, 8.5), (30, -12, -38, 8.0), (46, -20, -30, 8.0)]
_STOMACH: Course = [
    (66, 6, -56, 10), (62, -8, -44, 28), (60, -22, -22, 33), (54, -42, 6, 30), (36, -62, 34, 24), (8, -66, 50, 20),
    (-18, -56, 50, 15), (-32, -44, 46, 11),
]  # fmt: skip
_PANCREAS: Course = [
    (-24, -2, 56, 12.0), (-10, -12, 44, 10.0), (16, -14, 32, 8.0), (44, 0, 20, 8.5), (76, 16, 8, 7.0),
]  # fmt: skip
_COLON: list[Course] = [
    [(-100, -18, 100, 20), (-96, -34, 70, 19), (-78, -62, 62, 18), (-40, -82, 68, 17), (0, -86, 60, 17)],
    [(0, -86, 60, 17), (40, -86, 44, 17), (78, -72, 16, 18), (104, -44, -6, 17), (112, -26, 10, 16),
     (118, -6, 50, 16), (118, 4, 100, 16)],
    [(70, -62, 52, 16), (92, -50, 34, 17), (100, -36, 58, 15), (104, -22, 100, 15)],
]  # fmt: skip
_DUODENUM: Course = [(-32, -44, 46, 12), (-48, -24, 52, 12), (-46, 0, 66, 12), (-42, 6, 100, 12)]
#: Fat that holds small vessels: ranges of x, y, z, and how many.
_VESSEL_BEDS = [
    ((20, 60), (-90, -30), (-50, 10), 80),
    ((-10, 95), (-92, 0), (5, 90), 150),
    ((60, 110), (-60, -20), (-40, 40), 36),
    ((-40, 30), (-40, 10), (20, 90), 50),
    ((40, 100), (20, 70), (-10, 90), 30),
    ((-90, -40), (30, 75), (10, 90), 24),
]
JEJUNAL_LOOPS = 8
#: Branches of the two trees of the liver: their last vessels, 1.7 mm wide, then lie some 10 mm apart. Not Murray's 3:
#: with it, either the stems are too thick or fewer small vessels stand out from noise than in patients.
PORTAL_ENDS, LIVER_VEIN_ENDS, LIVER_EXPONENT = 1700, 1150, 3.8


def draw_tubes(rng: np.random.Generator, contours: dict[str, Contour]) -> dict[str, list[Tubes]]:
    """Draw a patient's tubes by name; ``bowel`` holds colon, duodenum and jejunum in this order."""
    waves, phases = rng.normal(0.0, 1 / 22.0, (3, 3)), rng.uniform(0, 2 * np.pi, (3, 3))

    def bent(course: Course, spacing_mm: float = 4.0) -> Tubes:
        knots = np.asarray(course, float)
        knots[:, :3] += 2.5 * np.sin((knots[:, :3] @ waves)[:, :, None] + phases).sum(axis=1)
        return path(knots, spacing_mm=spacing_mm)

    main = bent([(*_CONFLUENCE, 1.0), (*_HILUM, 1.0)])
    hilum = main.end[-1]
    stem = [main.start[0], hilum, hilum - np.array([22.0, 4.0, 4.0])]
    cava = np.asarray(_CAVA_TOP, float)
    veins = _vein_territories(_inside(contours["liver"], rng, LIVER_VEIN_ENDS), cava)
    full = rng.uniform(0.55, 1.12)
    return {
        "portal_tree": [
            grow_tree(stem, _inside(contours["liver"], rng, PORTAL_ENDS), end_radius_mm=0.85, exponent=LIVER_EXPONENT)
        ],
        "vein_tree": [
            grow_tree([cava, first], ends, end_radius_mm=0.85, exponent=LIVER_EXPONENT) for first, ends in veins
        ],
        "portal": [bent(course) for course in _PORTAL],
        "arteries": [bent(course) for course in _ARTERIES],
        "renal_veins": [bent(course) for course in _RENAL_VEINS],
        "mesentery": _mesentery(rng),
        "gullet": [bent(_GULLET)],
        "stomach": [bent([(x, y, z, r * full) for x, y, z, r in _STOMACH], 3.0)],
        "pancreas": [bent(_PANCREAS, 2.0)],
        "bowel": _bowel(rng),
    }


def _bowel(rng: np.random.Generator) -> list[Tubes]:
    full = rng.uniform(0.7, 1.05)
    colon = [_loop(rng, course, wave=0.14, full=full) for course in _COLON]
    tubes = [*colon, _loop(rng, _DUODENUM, wave=0.06)]
    for _ in range(JEJUNAL_LOOPS):
        x, y, z = rng.uniform((18, -62, 20), (72, -4, 62))
        r = rng.uniform(9, 13)
        course = [(x, y, z, r), (x + 22, y + 8, z + 10, r), (x + 30, y - 8, z + 26, r), (x + 6, y - 4, z + 38, r)]
        tubes.append(_loop(rng, course, wave=0.08))
    return tubes


def _loop(rng: np.random.Generator, course: Course, *, wave: float, full: float = 1.0) -> Tubes:
    """Lead a bowel loop through a course moved at random; its haustra are a wave of the radius, 26 mm long."""
    knots = np.asarray(course, float) * (1.0, 1.0, 1.0, full)
    knots[:, :2] += rng.normal(0.0, (5.0, 4.0), (len(knots), 2))
    tubes = path(knots, spacing_mm=2.5)
    phase = np.arange(len(tubes.radius)) * (2.5 * 2 * np.pi / 26.0) + rng.uniform(0, 2 * np.pi)
    return dataclasses.replace(tubes, radius=tubes.radius * (1 + wave * np.cos(phase)))


def _mesentery(rng: np.random.Generator) -> list[Tubes]:
    """Small winding vessels in the fat between the organs: gastric, omental and mesenteric ones."""
    tubes = []
    for *ranges, count in _VESSEL_BEDS:
        low, high = np.transpose(ranges)
        for _ in range(count):
            start, heading = rng.uniform(low, high), rng.standard_normal(3)
            radius, length = rng.uniform(0.62, 1.2) ** 2, rng.uniform(15, 55)
            tubes.append(wander(start, heading, rng, length_mm=length, radius_mm=radius))
    return tubes


def _inside(contour: Contour, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw points within an outline, 5 mm or more from its edge; (count, 3)."""
    points: list[tuple[float, float, float]] = []
    low, high = contour.first + 4, contour.last - 4
    outlines = [contour.at(z) for z in np.linspace(low, high, 101)]
    while len(points) < count:
        z = rng.uniform(low, high)
        x, y, radii = outlines[round(100 * (z - low) / (high - low))]
        angle = rng.uniform(0, 2 * np.pi)
        radius = radii.max() * np.sqrt(rng.uniform())
        if radius < radii[int(np.degrees(angle)) % 360] - 5.0:
            points.append((x + radius * np.cos(angle), y + radius * np.sin(angle), z))
    return np.asarray(points)


def _vein_territories(ends: np.ndarray, top: np.ndarray) -> list[tuple[tuple[float, float, float], np.ndarray]]:
    """Share the liver among the right, middle and left hepatic vein, by the direction from the vena cava."""
    stems = [(-60.0, 0.0, -38.0), (-42.0, -34.0, -34.0), (-6.0, -40.0, -36.0)]
    direction = np.degrees(np.arctan2(ends[:, 1] - top[1], ends[:, 0] - top[0]))
    share = np.digitize(np.where(direction > 30.0, -180.0, direction), (-158.0, -112.0))
    return [(stem, ends[share == number]) for number, stem in enumerate(stems)]
