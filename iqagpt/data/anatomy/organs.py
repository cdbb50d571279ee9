"""What lies below the diaphragm: liver, spleen, kidneys, stomach and bowel, pancreas, great and small vessels."""

import numpy as np

from iqagpt.data.anatomy.canvas import Patch, capsule, ellipse
from iqagpt.data.anatomy.trunk import Scene
from iqagpt.data.anatomy.vessels import Tubes, paint_tubes, union_distance

#: TotalSegmentator v2 class numbers.
SPLEEN, KIDNEY_RIGHT, KIDNEY_LEFT, GALLBLADDER, LIVER, STOMACH, PANCREAS = 1, 2, 3, 4, 5, 6, 7
ADRENAL_RIGHT, ADRENAL_LEFT, GULLET, SMALL_BOWEL, DUODENUM, COLON = 8, 9, 15, 18, 19, 20
HEART, AORTA, CAVA, PORTAL_VEIN = 51, 52, 63, 64
GAS_HU = -930.0


def draw_organs(scene: Scene) -> None:
    """Draw all organs, back to front."""
    _draw_heart(scene)
    _draw_muscles(scene)
    _draw_kidneys(scene)
    _draw_adrenals(scene)
    _draw_mesentery(scene)
    _draw_pancreas(scene)
    _draw_bowel(scene)
    _draw_stomach(scene)
    _draw_spleen(scene)
    _draw_liver(scene)
    _draw_gallbladder(scene)
    _draw_great_vessels(scene)


def _draw_liver(scene: Scene) -> None:
    canvas, patient, z = scene.canvas, scene.patient, scene.z
    contour = patient.contours["liver"]
    patch = canvas.patch(*contour.reach(z))
    cover = np.minimum(canvas.cover(contour.distance(patch, z)), scene.abdomen[patch.place])
    grain = 4.5 * scene.fine + 4.4 * scene.mid + 3.2 * scene.coarse
    hu = patient.hu["liver"] + patient.numbers["texture"] * grain
    canvas.paint(patch, cover, hu[patch.place], LIVER)
    within = np.zeros(canvas.hu.shape, np.float32)
    within[patch.place] = cover
    for tubes in patient.tubes["vein_tree"]:
        paint_tubes(canvas, tubes, z, patient.hu["liver_vein"], within=within)
    paint_tubes(canvas, patient.tubes["portal_tree"][0], z, patient.hu["portal"], within=within)
    fissure = canvas.patch(-18.0, -80.0, 20.0, 34.0)
    gap = (
        (1.3 + 1.1 * scene.mid[fissure.place]) * np.clip((z + 25.0) / 30.0, 0, 1)
        - 0.7
        - capsule(fissure, np.array([-14.0, -104.0]), np.array([-24.0, -62.0]))
    )
    canvas.paint(fissure, canvas.cover(gap) * within[fissure.place], patient.hu["fat"])


def _draw_spleen(scene: Scene) -> None:
    contour, z = scene.patient.contours["spleen"], scene.z
    if not contour.first < z < contour.last:
        return
    patch = scene.canvas.patch(*contour.reach(z))
    cover = np.minimum(scene.canvas.cover(contour.distance(patch, z)), scene.abdomen[patch.place])
    grain = 4.0 * scene.fine + 3.2 * scene.mid + 2.0 * scene.coarse
    hu = scene.patient.hu["spleen"] + scene.patient.numbers["texture"] * grain
    scene.canvas.paint(patch, cover, hu[patch.place], SPLEEN)


def _draw_kidneys(scene: Scene) -> None:
    numbers = scene.patient.numbers
    _draw_kidney(scene, (-60.0, 50.0, numbers["kidney_right_z"]), KIDNEY_RIGHT)
    _draw_kidney(scene, (63.0, 50.0, numbers["kidney_left_z"]), KIDNEY_LEFT)


def _draw_kidney(scene: Scene, centre: tuple[float, float, float], label: int) -> None:
    height = (scene.z - centre[2]) / 52.0
    if abs(height) >= 1.0:
        return
    canvas, hu = scene.canvas, scene.patient.hu
    side = np.sign(centre[0])
    size = np.sqrt(1.0 - height**2) * scene.patient.numbers["kidney_size"]
    x = centre[0] + side * 6.0 * height
    patch = canvas.patch(x, centre[1], 34.0)
    distance = ellipse(patch, (x, centre[1]), (29.0 * size, 23.0 * size), -side * 0.75)
    cover = np.minimum(canvas.cover(distance), scene.abdomen[patch.place])
    fine, mid = scene.fine[patch.place], scene.mid[patch.place]
    # Pyramids: the medulla reaches out between columns of cortex.
    angle = np.arctan2(patch.y - centre[1], patch.x - x)
    pyramid = 5.5 + 2.5 * np.cos(7 * angle + scene.z / 9.0) + 0.8 * mid
    canvas.paint(patch, cover, hu["cortex"] + 8.0 * fine + 5.0 * mid, label)
    canvas.paint(patch, canvas.cover(distance - pyramid), hu["medulla"] + 8.0 * fine + 5.0 * mid, label)
    open_part = np.clip(1.15 - abs(height) * 1.6, 0.0, 1.0)
    if open_part > 0.05:
        sinus_at = (x - side * 9.0 * size, centre[1] - 4.0)
        sinus = ellipse(patch, sinus_at, (15.0 * open_part, 7.5 * open_part), -side * 0.5)
        canvas.paint(patch, canvas.cover(sinus + 2.2 * mid) * cover, hu["fat"] + 30.0)
        pelvis = ellipse(patch, sinus_at, (9.0 * open_part, 3.6 * open_part), -side * 0.5)
        canvas.paint(patch, canvas.cover(pelvis) * cover, 30.0)


def _draw_adrenals(scene: Scene) -> None:
    for label, stem, ends, z in (
        (ADRENAL_RIGHT, (-26, 16), ((-32, 34), (-40, 30)), 8.0),
        (ADRENAL_LEFT, (30, 12), ((40, 26), (26, 32)), 14.0),
    ):
        size = 1.0 - abs(scene.z - z) / 20.0
        if size <= 0.1:
            continue
        patch = scene.canvas.patch(stem[0], stem[1] + 10, 22.0)
        distance = np.full(patch.x.shape, -99.0, np.float32)
        for end in ends:
            distance = np.maximum(distance, 2.0 * np.sqrt(size) - capsule(patch, np.array(stem), np.array(end)))
        cover = np.minimum(scene.canvas.cover(distance), scene.abdomen[patch.place])
        scene.canvas.paint(patch, cover, 0.9 * scene.patient.hu["pancreas"], label)


def _draw_muscles(scene: Scene) -> None:
    """Crura of the diaphragm beside the aorta; psoas lower down."""
    canvas, muscle = scene.canvas, scene.patient.hu["muscle"]
    patch = canvas.patch(0.0, 30.0, 60.0)
    thick = 4.2 + 0.8 * np.sin(scene.z / 14.0)
    distance = np.maximum(
        thick - capsule(patch, np.array([-24.0, 46.0]), np.array([-7.0, 10.0])),
        thick - capsule(patch, np.array([27.0, 46.0]), np.array([21.0, 12.0])),
    )
    loop = np.clip((4.0 - scene.z) / 20.0, 0.0, 1.0)
    distance = np.maximum(distance, 3.4 * loop - capsule(patch, np.array([-7.0, 10.0]), np.array([20.0, 3.0])))
    psoas = 20.0 * np.clip((scene.z - 4.0) / 70.0, 0.0, 1.0)
    for side in (-1, 1):
        distance = np.maximum(distance, ellipse(patch, (side * 32.0, 58.0), (psoas * 0.8 + 0.1, psoas + 0.1)))
    hu = muscle + 8.0 * scene.fine + 5.0 * scene.mid
    canvas.paint(patch, canvas.cover(distance), hu[patch.place])


def _draw_heart(scene: Scene) -> None:
    height = (scene.z - scene.patient.numbers["heart_z"]) / 58.0
    if abs(height) >= 1.0:
        return
    size = np.sqrt(1.0 - height**2)
    canvas = scene.canvas
    patch = canvas.patch(24.0, -56.0, 66.0)
    centre = (24.0, -56.0)
    sack = canvas.cover(ellipse(patch, centre, (58.0 * size + 9.0, 42.0 * size + 7.0), -0.35))
    canvas.paint(patch, sack, scene.patient.hu["fat"] + 6.0 * scene.fine[patch.place])
    grain = 5.0 * scene.fine + 6.0 * scene.mid + 4.0 * scene.coarse
    heart = 0.75 * scene.patient.hu["heart"]
    muscle = ellipse(patch, centre, (56.0 * size, 40.0 * size), -0.35)
    canvas.paint(patch, canvas.cover(muscle), (heart + grain)[patch.place], HEART)
    blood = scene.patient.hu["heart"] + grain[patch.place]
    canvas.paint(patch, canvas.cover(ellipse(patch, (40.0, -54.0), (30.0 * size - 6, 26.0 * size - 4), -0.35)), blood)
    canvas.paint(patch, canvas.cover(ellipse(patch, (0.0, -62.0), (22.0 * size - 4, 27.0 * size - 4), 0.3)), blood)


def _draw_mesentery(scene: Scene) -> None:
    for tubes in scene.patient.tubes["mesentery"]:
        paint_tubes(scene.canvas, tubes, scene.z, scene.patient.hu["portal"] - 30.0, within=scene.abdomen)


def _draw_pancreas(scene: Scene) -> None:
    patch, distance = _string(scene, scene.patient.tubes["pancreas"][0])
    if patch is None:
        return
    lobes = 1.8 * scene.mid[patch.place] + 0.8 * scene.fine[patch.place]
    cover = np.minimum(scene.canvas.cover(distance + lobes), scene.abdomen[patch.place])
    hu = scene.patient.hu["pancreas"] + 16.0 * np.minimum(scene.fine + scene.mid, 0.7)
    scene.canvas.paint(patch, cover, hu[patch.place], PANCREAS)


def _draw_stomach(scene: Scene) -> None:
    numbers = scene.patient.numbers
    for name, label, wall in (("gullet", GULLET, 3.4), ("stomach", STOMACH, 2.4)):
        patch, distance = _string(scene, scene.patient.tubes[name][0])
        if patch is None:
            continue
        fold = (1.1 * scene.mid + 0.9 * scene.coarse)[patch.place] if name == "stomach" else 0.0
        food = 45.0 * numbers["stomach_mix"] * (0.7 * scene.fine + 0.5 * scene.coarse)
        level = -60.0 + 40.0 * numbers["gas_level"]
        _hollow(scene, patch, distance, (wall + fold, level), (numbers["stomach_hu"] + food)[patch.place], label)


def _draw_bowel(scene: Scene) -> None:
    for number, tubes in enumerate(scene.patient.tubes["bowel"]):
        patch, distance = _string(scene, tubes)
        if patch is None:
            continue
        fine, mid, coarse = (field[patch.place] for field in (scene.fine, scene.mid, scene.coarse))
        label = COLON if number < 3 else DUODENUM if number == 3 else SMALL_BOWEL
        if label == COLON:
            content = 25.0 + 60.0 * mid - 420.0 * np.maximum(0.8 * fine + 0.7 * mid - 1.3, 0.0)
            level = (-92.0, -72.0, -48.0)[number] + 14.0 * scene.patient.numbers["gas_level"] * 2
        else:
            content = 30.0 + 14.0 * coarse + 22.0 * np.maximum(mid, 0.0)
            level = float(tubes.start[:, 1].min()) - (8.0 if number % 3 else 0.0)
        wall = (1.8 if label == COLON else 2.2) + 0.5 * mid
        _hollow(scene, patch, distance + 0.8 * mid, (wall, level), content, label)


def _hollow(
    scene: Scene,
    patch: Patch,
    distance: np.ndarray,
    wall_and_level: tuple[float | np.ndarray, float],
    content_hu: np.ndarray,
    label: int,
) -> None:
    """Paint a hollow organ: wall, content, and gas above the level at which the fluid stands."""
    wall_mm, level_mm = wall_and_level
    canvas = scene.canvas
    allowed = scene.abdomen[patch.place]
    wall_hu = scene.patient.hu["bowel_wall"] + (9.0 * scene.fine + 6.0 * scene.mid)[patch.place]
    canvas.paint(patch, np.minimum(canvas.cover(distance), allowed), wall_hu, label)
    lumen = np.minimum(canvas.cover(distance - wall_mm), allowed)
    # Folds of the mucosa: lines of wall that end some mm inside the lumen.
    lines = np.abs(scene.mid + 0.5 * scene.fine)[patch.place]
    folds = np.clip(1.3 - lines / 0.35, 0.0, 1.0) * np.clip((wall_mm + 7.0 - distance) / 4.0, 0.0, 1.0)
    canvas.paint(patch, lumen, content_hu + folds * (wall_hu - content_hu), label)
    canvas.paint(patch, lumen * canvas.cover(level_mm - patch.y), GAS_HU, label)


def _draw_gallbladder(scene: Scene) -> None:
    height = (scene.z - 48.0) / 26.0
    if abs(height) >= 1.0:
        return
    size = np.sqrt(1.0 - height**2)
    centre = (-52.0 + 8.0 * height, -52.0 - 14.0 * height)
    patch = scene.canvas.patch(*centre, 26.0)
    distance = ellipse(patch, centre, (13.0 * size, 18.0 * size), 0.5)
    cover = np.minimum(scene.canvas.cover(distance), scene.abdomen[patch.place])
    scene.canvas.paint(patch, cover, 60.0, GALLBLADDER)
    scene.canvas.paint(patch, scene.canvas.cover(distance - 1.3) * cover, 9.0, GALLBLADDER)


def _draw_great_vessels(scene: Scene) -> None:
    canvas, patient, z = scene.canvas, scene.patient, scene.z
    hu, radius = patient.hu, patient.numbers["aorta_radius"]
    flow = 4.0 * scene.fine + 5.0 * scene.mid + 3.0 * scene.coarse
    cava = (np.interp(z, [-60, 0, 90], [-19, -24, -22]), np.interp(z, [-60, 0, 90], [2, 6, 16]))
    patch = canvas.patch(*cava, 18.0)
    cover = canvas.cover(ellipse(patch, cava, (13.5 + np.sin(z / 18.0), 10.5 - np.sin(z / 18.0)), -0.35))
    canvas.paint(patch, cover, (hu["cava"] + flow)[patch.place], CAVA)
    for name in ("portal", "renal_veins"):
        for tubes in patient.tubes[name]:
            label = PORTAL_VEIN if name == "portal" else None
            paint_tubes(canvas, tubes, z, hu["portal"], within=scene.abdomen, label=label)
    for tubes in patient.tubes["arteries"]:
        paint_tubes(canvas, tubes, z, hu["aorta"], within=scene.abdomen)
    aorta = (np.interp(z, [-70, 0, 90], [10, 7, 3]), 17.5)
    patch = canvas.patch(*aorta, 20.0)
    distance = ellipse(patch, aorta, (radius, radius * 0.97))
    canvas.paint(patch, canvas.cover(distance + 1.2), 70.0)
    canvas.paint(patch, canvas.cover(distance), (hu["aorta"] + flow)[patch.place], AORTA)
    if patient.numbers["calcium"] > 0.5:
        angle = np.arctan2(patch.y - aorta[1], patch.x - aorta[0])
        plaque = np.cos(angle - z / 9.0) - 0.93 + 0.05 * np.sin(z / 5.0)
        spot = canvas.cover(np.minimum(0.9 - np.abs(distance - 0.4), plaque * radius * 2.0))
        canvas.paint(patch, spot, 480.0)


def _string(scene: Scene, tubes: Tubes) -> tuple[Patch | None, np.ndarray]:
    """Patch and distance of a string of balls at this height; no patch where it does not reach."""
    near = tubes.near(scene.z, 2.0)
    if not len(near.radius):
        return None, np.zeros(0)
    low = (near.start[:, :2] - near.radius[:, None]).min(axis=0)
    high = (near.start[:, :2] + near.radius[:, None]).max(axis=0)
    middle, reach = (low + high) / 2, (high - low) / 2 + 3.0
    patch = scene.canvas.patch(middle[0], middle[1], reach[0], reach[1])
    return patch, union_distance(patch.x, patch.y, near, scene.z)
