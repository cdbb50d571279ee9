"""One synthetic patient: size, fat, enhancement, outlines and tubes in space, all drawn from a seed.

Coordinates are those of `iqagpt.data.anatomy.outlines`. Lungs reach down to about z = 0, kidneys start about there.
"""

import dataclasses

import numpy as np

from iqagpt.data.anatomy.canvas import Contour
from iqagpt.data.anatomy.courses import draw_tubes
from iqagpt.data.anatomy.outlines import draw_contours
from iqagpt.data.anatomy.texture import Texture
from iqagpt.data.anatomy.vessels import Tubes


@dataclasses.dataclass(frozen=True, slots=True)
class Patient:
    """A patient's fixed properties; see the module for coordinates.

    Attributes
    ----------
    index : int
        Number from 1; ``code`` is L001 for the first.
    scale : (float, float)
        Width and depth relative to the trunk described here.
    shift_mm : float
        Anatomical z of the middle slice.
    fat_mm : (float, float, float)
        Subcutaneous fat in front, at the sides and at the back.
    fov_mm : float
        Reconstructed field of view, in whole mm.
    exposure : float
        Tube current relative to what the exposure control gives a patient of this size.
    hu : dict of str to float
        Enhancement of each tissue.
    contours, tubes, numbers : dict
        Outlines, tubes and further single figures by name.
    textures : dict of str to Texture
    """

    index: int
    scale: tuple[float, float]
    shift_mm: float
    fat_mm: tuple[float, float, float]
    fov_mm: float
    exposure: float
    hu: dict[str, float]
    contours: dict[str, Contour]
    tubes: dict[str, list[Tubes]]
    numbers: dict[str, float]
    textures: dict[str, Texture]

    @property
    def code(self) -> str:
        """Patient code as in the folder names."""
        return f"L{self.index:03d}"


#: Part of the patients in each contrast phase. Routine abdominal scans, the AAPM data among them, are portal venous.
PHASES = {"portal venous": 0.7, "late arterial": 0.2, "unenhanced": 0.1}
#: HU of tissues (mean, SD) in the portal venous phase, and what the other phases change.
_ENHANCEMENT: dict[str, dict[str, tuple[float, float]]] = {
    "portal venous": {
        "fat": (-103, 4), "muscle": (58, 5), "liver": (110, 11), "liver_vein": (160, 10), "spleen": (122, 7),
        "aorta": (168, 13), "cava": (140, 14), "portal": (168, 10), "cortex": (184, 12), "medulla": (135, 14),
        "pancreas": (98, 9), "bowel_wall": (92, 9), "marrow": (205, 35), "heart": (142, 12),
    },
    "late arterial": {
        "liver": (76, 7), "liver_vein": (84, 6), "spleen": (128, 9), "aorta": (265, 25), "cava": (92, 14),
        "portal": (138, 12), "cortex": (190, 14), "medulla": (92, 12), "pancreas": (112, 9), "bowel_wall": (100, 10),
        "heart": (190, 20),
    },
    "unenhanced": {
        "muscle": (52, 5), "liver": (58, 6), "liver_vein": (41, 3), "spleen": (48, 3), "aorta": (41, 3),
        "cava": (40, 3), "portal": (41, 3), "cortex": (34, 3), "medulla": (31, 3), "pancreas": (41, 5),
        "bowel_wall": (38, 4), "marrow": (185, 35), "heart": (43, 3),
    },
}  # fmt: skip


def draw_patient(seed: int, index: int) -> Patient:
    """Draw a patient; equal arguments give the same one, whatever other patients there are."""
    rng = np.random.default_rng((seed, index))
    size = rng.uniform(0.92, 1.11)
    scale = (size, size * rng.uniform(0.97, 1.10))
    fat = float(rng.uniform(0.55, 1.48) ** 2)
    fat_mm = (13.0 * fat, 10.0 * fat, 11.0 * fat)
    width_mm = 2 * (151.0 * scale[0] + fat_mm[1] + 4.0)
    fov_mm = float(np.clip(np.round(width_mm / rng.uniform(0.86, 0.95)), 338, 409))
    contours = draw_contours(rng)
    return Patient(
        index=index,
        scale=scale,
        shift_mm=float(rng.uniform(-9.0, 12.0)),
        fat_mm=fat_mm,
        fov_mm=fov_mm,
        exposure=float(rng.uniform(0.66, 1.2)),
        hu=_draw_enhancement(rng, contrast_phase(seed, index)),
        contours=contours,
        tubes=draw_tubes(rng, contours),
        numbers=_draw_numbers(rng),
        textures={
            "fine": Texture((seed, index, 1), 1.1, 7.0),
            "mid": Texture((seed, index, 2), 3.0, 10.0),
            "coarse": Texture((seed, index, 3), 9.0, 24.0),
            "warp_x": Texture((seed, index, 4), 27.0, 60.0),
            "warp_y": Texture((seed, index, 5), 27.0, 60.0),
            "ripple_x": Texture((seed, index, 6), 4.5, 16.0),
            "ripple_y": Texture((seed, index, 7), 4.5, 16.0),
        },
    )


def contrast_phase(seed: int, index: int) -> str:
    """Return a patient's contrast phase: a key of `PHASES`, whose parts hold for any ten patients in a row, or nearly."""
    # Steps of the golden ratio fall evenly into [0, 1); drawn independently, a small series may lack a phase or abound in it.
    place = (np.random.default_rng(seed).uniform() + index * 0.6180339887) % 1.0
    names = list(PHASES)
    return names[int(np.searchsorted(np.cumsum(list(PHASES.values()))[:-1], place, side="right"))]


def _draw_enhancement(rng: np.random.Generator, phase: str) -> dict[str, float]:
    """Draw each tissue's HU in a contrast phase; the spread is that of timing and of liver fat."""
    means = _ENHANCEMENT["portal venous"] | _ENHANCEMENT[phase]
    return {name: float(mean + sd * rng.standard_normal()) for name, (mean, sd) in means.items()}


def _draw_numbers(rng: np.random.Generator) -> dict[str, float]:
    """Figures used once each in `trunk` and `organs`: phases, heights in mm, sizes."""
    ranges = {
        "vertebra_phase": (0, 1), "rib_phase": (0, 1), "rib_drift": (0.6, 0.95), "lung_shift": (-14, 10),
        "kidney_right_z": (44, 58), "kidney_left_z": (30, 46), "kidney_size": (0.9, 1.1), "gas_level": (-0.3, 0.5),
        "stomach_hu": (15, 60), "stomach_mix": (0, 1), "calcium": (0, 1), "table_y": (0, 1), "heart_z": (-100, -86),
        "aorta_radius": (10.5, 13.5), "muscle_size": (0.975, 1.02), "stranding": (30, 95), "marbling": (0.2, 1.2),
        "texture": (0.85, 1.25), "table_depth": (22, 50), "table_sag": (380, 640), "table_hu": (150, 420),
    }  # fmt: skip
    return {name: float(rng.uniform(*span)) for name, span in ranges.items()}
