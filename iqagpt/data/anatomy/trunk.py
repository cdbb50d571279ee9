"""The trunk: table, skin, fat, muscle, ribs, spine, and the cavity with lung and diaphragm."""

import dataclasses

import numpy as np

from iqagpt.data.anatomy.canvas import Canvas, Patch, capsule, ellipse, radial_distance
from iqagpt.data.anatomy.patient import Patient

#: Length of a vertebra with its disc, and the part of it that is disc.
VERTEBRA_MM, DISC_PART = 33.0, 0.2
RIB_STEP_DEG = 23.0


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A slice being drawn, with what all organs need.

    Attributes
    ----------
    canvas : Canvas
    patient : Patient
    z : float
        Height in the patient's coordinates, mm.
    fine, mid, coarse : ndarray, (N, N)
        Texture of unit variance.
    abdomen : ndarray, (N, N)
        Cover of the space below the diaphragm; filled in by `draw_trunk`.
    """

    canvas: Canvas
    patient: Patient
    z: float
    fine: np.ndarray
    mid: np.ndarray
    coarse: np.ndarray
    abdomen: np.ndarray


def draw_trunk(scene: Scene) -> None:
    """Draw everything from the skin to the diaphragm, without bones."""
    canvas, patient = scene.canvas, scene.patient
    radius, angle = np.hypot(canvas.x, canvas.y), np.arctan2(canvas.y, canvas.x)
    wall, cavity = (patient.contours[name].at(scene.z)[2] for name in ("wall", "cavity"))
    wall = wall * patient.numbers["muscle_size"]
    skin = radial_distance(radius, angle, wall + _fat(patient, scene.z))
    wall_distance = radial_distance(radius, angle, wall)
    cavity_distance = radial_distance(radius, angle, cavity)
    whole = canvas.whole
    fat_hu = patient.hu["fat"] + 5.0 * scene.fine + 4.0 * scene.mid + 2.0 * scene.coarse
    septa = np.maximum(scene.mid * 0.6 + scene.fine * 0.8 - 1.55, 0.0) * 45.0
    canvas.paint(whole, canvas.cover(skin), 8.0 + 10.0 * scene.fine)
    canvas.paint(whole, canvas.cover(skin - 2.0), fat_hu + septa)
    depth = wall_distance / np.maximum(wall_distance - cavity_distance, 1.0)
    canvas.paint(whole, canvas.cover(wall_distance), _muscle_hu(scene, depth))
    lung_hu = -860.0 + 18.0 * scene.mid + np.maximum(scene.fine + 0.5 * scene.mid - 2.6, 0.0) * 1100.0
    # Strands lie where a field crosses zero: lines, thinner and more numerous than blobs above a threshold.
    lines = np.maximum(1.0 - np.abs(scene.mid + 0.35 * scene.fine) / 0.16, 0.0) * np.clip(scene.coarse - 0.2, 0.0, 1.2)
    strands = np.maximum(0.75 * scene.fine + 0.65 * scene.mid - 1.35, 0.0) * 55.0
    strands += patient.numbers["stranding"] * (lines + 0.15 * np.maximum(scene.coarse + 0.4 * scene.mid, 0.0))
    dome = radial_distance(radius, angle, cavity * _dome(scene))
    canvas.paint(whole, canvas.cover(np.minimum(cavity_distance, -dome - 0.5)), lung_hu)
    dome = np.minimum(dome, cavity_distance)
    canvas.paint(whole, canvas.cover(dome), patient.hu["muscle"] - 15.0)
    # The diaphragm is thin, and not everywhere thick enough to be seen.
    inside = canvas.cover(dome - np.clip(0.9 + 0.5 * scene.mid + 0.7 * scene.coarse, 0.2, 2.6))
    canvas.paint(whole, inside, fat_hu + strands)
    scene.abdomen[:] = inside


def draw_table(hu: np.ndarray, patient: Patient, pixel_spacing_mm: float) -> None:
    """Draw the curved patient table: two bright skins; in scanner coordinates, not warped.

    A patient whose table lies outside the field of view has none.
    """
    size = hu.shape[0]
    line = ((np.arange(size) - (size - 1) / 2) * pixel_spacing_mm).astype(np.float32)
    back = 119.0 * patient.scale[1] + patient.fat_mm[2]
    numbers = patient.numbers
    if numbers["table_depth"] > 46.0:  # so far down that it lies outside the field of view
        return
    sag = numbers["table_sag"]
    for drop, radius in ((6.0, sag), (6.0 + numbers["table_depth"], 1.08 * sag)):
        middle = back + drop + 3.0 * numbers["table_y"]
        distance = 0.9 - np.abs(line[:, None] - (middle - line[None, :] ** 2 / (2 * radius)))
        cover = np.clip(0.5 + distance / pixel_spacing_mm, 0, 1) * (hu < -500)
        hu += cover * (numbers["table_hu"] - hu)


def draw_bones(scene: Scene) -> None:
    """Draw ribs with their cartilage, breastbone tip and spine."""
    _draw_ribs(scene)
    _draw_breastbone(scene)
    _draw_spine(scene)


def bone(scene: Scene, patch: Patch, distance: np.ndarray, *, shell_mm: float, marrow_hu: float) -> None:
    """Paint bone: a dense shell about spongy marrow."""
    canvas = scene.canvas
    grain = scene.fine[patch.place] + 0.4 * scene.mid[patch.place]
    shell = 1.0 - canvas.cover(distance - shell_mm)
    hu = marrow_hu + 48.0 * grain
    hu = hu + shell * (520.0 + 90.0 * scene.mid[patch.place] - hu)
    canvas.paint(patch, canvas.cover(distance), hu)


def _fat(patient: Patient, z: float) -> np.ndarray:
    """Thickness of skin and subcutaneous fat at every degree (90 is the back)."""
    front, side, back = patient.fat_mm
    angle = np.radians(np.arange(360))
    up, down = np.clip(-np.sin(angle), 0, 1) ** 2, np.clip(np.sin(angle), 0, 1) ** 2
    growth = 1.0 + 0.003 * z
    fold = 0.06 * np.cos(4 * angle + z / 40.0)
    groove = -0.35 * np.exp(-(((np.degrees(angle) - 90.0) / 9.0) ** 2))
    thickness = (front * up + back * down + side * np.cos(angle) ** 2) * (1.0 + fold + groove)
    return np.maximum(thickness * growth, 1.5) + 3.0


def _muscle_hu(scene: Scene, depth: np.ndarray) -> np.ndarray:
    """Muscle with fat between its layers; `depth` runs from 0 at the outer to 1 at the inner side."""
    muscle = scene.patient.hu["muscle"] + 9.0 * scene.fine + 6.0 * scene.mid + 4.0 * scene.coarse
    layer = np.exp(-(((depth - 0.46 - 0.10 * scene.coarse) / 0.085) ** 2)) * np.clip(0.75 + 0.45 * scene.coarse, 0, 1)
    streaks = np.clip((scene.fine + 1.1 * scene.mid - 1.6) * 0.45, 0, 0.8)
    fascia = np.clip(1.0 - np.abs(depth - 0.72 - 0.12 * scene.coarse + 0.03 * scene.mid) / 0.035, 0, 1) * 0.55
    bundles = np.maximum(1.0 - np.abs(scene.mid - 0.4 * scene.fine) / 0.22, 0.0) * 0.42
    marbling = np.maximum(fascia, bundles * scene.patient.numbers["marbling"])
    fat_part = np.maximum(np.maximum(layer * 0.85, streaks), marbling)
    return muscle + fat_part * (scene.patient.hu["fat"] - muscle)


def _dome(scene: Scene) -> np.ndarray:
    """Size of the diaphragm relative to the cavity at every degree; above 1 no lung is left there."""
    level = scene.z + scene.patient.numbers["lung_shift"]
    angle = np.radians(np.arange(360))
    size = 1.03 - 0.36 * np.clip((22.0 - level) / 110.0, 0, 1) ** 1.35
    recess = 0.10 * np.clip((48.0 - level) / 40.0, 0, 1) * np.clip(np.sin(angle), 0, 1)
    left = 0.03 * np.clip((10.0 - level) / 60.0, 0, 1) * np.cos(angle)
    front = 0.17 * np.clip((30.0 - level) / 60.0, 0, 1) * np.clip(-np.sin(angle), 0, 1) ** 2
    return size - recess - left + front + 0.012 * np.cos(3 * angle + level / 30.0)


def _draw_ribs(scene: Scene) -> None:
    patient, z = scene.patient, scene.z
    radii = patient.contours["cavity"].at(z)[2]
    first = 20.0 + patient.numbers["rib_phase"] * RIB_STEP_DEG
    last = np.interp(z, [-60, -10, 60, 100], [158, 150, 112, 60])
    shift = patient.numbers["rib_drift"] * z
    for side in (-1, 1):
        start = (first + shift + 5.0 * side) % RIB_STEP_DEG + 24.0
        for number, lateral in enumerate(np.arange(start, last, RIB_STEP_DEG)):
            _draw_rib(scene, radii, side * lateral, fade=min(1.0, (last - lateral) / 8.0), seed=number)


def _draw_rib(scene: Scene, radii: np.ndarray, lateral_deg: float, *, fade: float, seed: int) -> None:
    degrees = 90.0 - lateral_deg
    here, ahead = (
        radii[int(d) % 360] * (1 - d % 1) + radii[int(d + 1) % 360] * (d % 1) + 5.5 for d in (degrees, degrees + 3.0)
    )
    a, b = np.radians(degrees), np.radians(degrees + 3.0)
    x, y = here * np.cos(a), here * np.sin(a)
    tangent = float(np.arctan2(ahead * np.sin(b) - y, ahead * np.cos(b) - x))
    grow = np.sqrt(max(fade, 0.05))
    length = (10.5 + 2.5 * np.cos(seed * 2.3 + scene.z / 15.0)) * grow
    patch = scene.canvas.patch(x, y, 14.0)
    if abs(lateral_deg) > 126.0:
        distance = ellipse(patch, (x, y), (length, 5.2 * grow), tangent)
        scene.canvas.paint(patch, scene.canvas.cover(distance), 104.0 + 10.0 * scene.mid[patch.place])
    else:
        distance = ellipse(patch, (x, y), (length, 4.0 * grow), tangent + 0.18 * np.sign(lateral_deg))
        bone(scene, patch, distance, shell_mm=1.7, marrow_hu=210.0)


def _draw_breastbone(scene: Scene) -> None:
    size = np.clip((20.0 - scene.z) / 50.0, 0.0, 1.0)
    if size <= 0.05:
        return
    radii = scene.patient.contours["cavity"].at(scene.z)[2]
    y = -radii[270] - 6.0
    patch = scene.canvas.patch(0.0, y, 24.0)
    bone(scene, patch, ellipse(patch, (0.0, y), (11.0 * size, 5.0 * size)), shell_mm=1.2, marrow_hu=140.0)


def _draw_spine(scene: Scene) -> None:
    canvas, z, hu = scene.canvas, scene.z, scene.patient.hu
    phase = (z / VERTEBRA_MM + scene.patient.numbers["vertebra_phase"]) % 1.0
    edge = min(phase, 1.0 - phase) - DISC_PART / 2  # below 0: in the disc
    body = np.clip(edge / 0.04, 0.0, 1.0)
    waist = 1.0 - 0.07 * np.sin(np.pi * np.clip(edge / 0.4, 0, 1))
    arch = np.clip(1.0 - abs(phase - 0.42) / 0.33, 0.0, 1.0) ** 0.5
    patch = canvas.patch(0.0, 72.0, 62.0)
    _draw_arch(scene, patch, phase, arch)
    x, y, radii = scene.patient.contours["vertebra"].at(z)
    dx, dy = patch.x - x, patch.y - y
    front = radial_distance(np.hypot(dx, dy), np.arctan2(dy, dx), radii * waist)
    canvas.paint(patch, canvas.cover(front), 92.0 + 8.0 * scene.mid[patch.place])
    if body > 0:
        shell = 0.8 + 1.5 * (1.0 - np.clip((edge - 0.02) / 0.08, 0, 1))
        distance = np.where(body < 1, front - 3.0 * (1 - body), front)
        bone(scene, patch, distance, shell_mm=shell, marrow_hu=hu["marrow"])
    canal = ellipse(patch, (0.0, 71.5), (12.0, 9.0))
    canvas.paint(patch, canvas.cover(canal), -15.0)
    sac = canvas.cover(ellipse(patch, (0.0, 71.0), (9.5, 7.5)))
    canvas.paint(patch, sac, 28.0 + 3.0 * scene.mid[patch.place], 79)


def _draw_arch(scene: Scene, patch: Patch, phase: float, arch: float) -> None:
    """Pedicles, laminae, spinous and transverse processes; each is full at its own part of the vertebra."""
    spine = np.clip(1.0 - abs(phase - 0.62) / 0.34, 0.0, 1.0) ** 0.5
    across = np.clip(1.0 - abs(phase - 0.36) / 0.24, 0.0, 1.0) ** 0.5
    bars = [((0, 86), (0.8, 106), 3.6 * spine), ((0.6, 104), (0.8, 114), 4.6 * spine)]
    for side in (-1, 1):
        bars += [
            ((side * 15, 62), (side * 16, 74), 5.0 * arch),
            ((side * 16, 76), (0, 87), 4.8 * max(spine, arch)),
            ((side * 17, 76), (side * 36, 87), 4.0 * across),
            ((side * 17, 75), (side * 18, 82), 6.0 * np.sqrt(abs(np.cos(np.pi * phase)))),
            ((side * 27, 61), (side * 43, 83), 3.3 * across * (scene.z < 40)),
        ]
    distance = np.full(patch.x.shape, -99.0, np.float32)
    for start, end, radius in bars:
        if radius > 1.2:
            distance = np.maximum(distance, radius - capsule(patch, np.asarray(start), np.asarray(end)))
    bone(scene, patch, distance, shell_mm=1.6, marrow_hu=230.0)
