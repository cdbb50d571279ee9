"""Outlines of a synthetic patient's trunk and large organs, bent and shifted at random.

The points are set by eye for a trunk 330 mm wide, level by level along z; z = 0 lies in the middle of the liver.
"""

import numpy as np

from iqagpt.data.anatomy.canvas import Contour

Points = list[tuple[float, float]]

_WALL_HALF: Points = [
    (0, -114), (14, -117), (40, -115), (80, -102), (115, -77), (140, -42), (151, 0), (146, 42), (125, 80),
    (95, 104), (60, 117), (28, 119), (0, 112),
]  # fmt: skip
_CAVITY_HALF: Points = [
    (0, -106), (40, -102), (75, -90), (106, -67), (129, -36), (139, 0), (134, 36), (115, 70), (86, 92), (60, 97),
    (43, 88), (32, 72), (0, 62),
]  # fmt: skip
_LIVER: dict[float, Points] = {
    -75: [(-100, 0), (-95, -35), (-60, -60), (-25, -60), (-5, -40), (-20, -10), (-55, 15), (-85, 25)],
    -50: [(-128, 5), (-117, -52), (-60, -86), (-8, -92), (28, -72), (30, -45), (-2, -22), (-17, -4), (-50, 14),
          (-90, 50), (-118, 38)],
    -25: [(-134, 0), (-122, -50), (-85, -84), (-25, -100), (22, -97), (52, -72), (44, -50), (12, -30), (-8, -6),
          (-38, 10), (-65, 40), (-98, 66), (-122, 46)],
    5: [(-137, -5), (-124, -50), (-92, -84), (-45, -101), (-6, -101), (8, -72), (4, -42), (-4, -16), (-16, -4),
        (-35, 18), (-60, 46), (-96, 74), (-118, 62), (-134, 30)],
    35: [(-138, -5), (-127, -48), (-100, -76), (-60, -96), (-28, -98), (-22, -70), (-32, -42), (-24, -18), (-40, 8),
         (-60, 34), (-92, 72), (-115, 66), (-134, 34)],
    65: [(-136, 0), (-127, -40), (-105, -66), (-80, -60), (-68, -34), (-58, -8), (-70, 22), (-92, 52), (-112, 60),
         (-130, 35)],
    90: [(-130, 0), (-122, -30), (-105, -40), (-92, -20), (-86, 5), (-98, 30), (-118, 34)],
}  # fmt: skip
_VERTEBRA: Points = [
    (0, 25.5), (11, 27), (20, 34), (23, 45), (19, 56), (11, 61), (0, 59), (-11, 61), (-19, 56), (-23, 45), (-20, 34),
    (-11, 27),
]  # fmt: skip
_SPLEEN: dict[float, Points] = {
    -62: [(92, 14), (86, 20), (80, 14), (86, 8)],
    -48: [(110, 12), (92, 32), (72, 22), (82, -4)],
    -20: [(70, -22), (104, -27), (122, 0), (124, 34), (100, 56), (79, 46), (62, 26), (60, 0)],
    12: [(82, -16), (110, -18), (127, 8), (126, 40), (104, 58), (86, 46), (76, 26), (74, 2)],
    42: [(94, 2), (114, 0), (128, 20), (124, 44), (106, 54), (92, 40), (87, 20)],
    66: [(112, 22), (108, 26), (104, 22), (108, 18)],
}  # fmt: skip


def draw_contours(rng: np.random.Generator) -> dict[str, Contour]:
    """Draw a patient's outlines by name."""
    origin = (0.0, 0.0)
    return {
        "wall": Contour({0: _mirrored(_WALL_HALF)}, rng, roughness=0.007, centre=origin),
        "cavity": Contour({0: _mirrored(_CAVITY_HALF)}, rng, roughness=0.012, centre=origin),
        "liver": Contour(_moved(_LIVER, rng, 3.0, 0.08), rng, roughness=0.065),
        "vertebra": Contour({0: _VERTEBRA}, rng, roughness=0.03),
        "spleen": Contour(_moved(_SPLEEN, rng, 3.0, 0.16), rng, roughness=0.08),
    }


def _mirrored(half: Points) -> Points:
    return half + [(-x, y) for x, y in half if x > 0]


def _moved(
    levels: dict[float, Points], rng: np.random.Generator, spread_mm: float, spread: float
) -> dict[float, Points]:
    """Shift an organ and scale it about its middle."""
    shift, size = spread_mm * rng.standard_normal(3), rng.uniform(1 - spread, 1 + spread)
    middle = np.mean([point for points in levels.values() for point in points], axis=0)
    return {
        float(z + shift[2]): [tuple(middle + size * (np.asarray(point) - middle) + shift[:2]) for point in points]
        for z, points in levels.items()
    }
