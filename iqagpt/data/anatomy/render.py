"""A noise-free CT slice of a synthetic patient, with its organ map."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from iqagpt.ct import AIR_HU
from iqagpt.data.anatomy.canvas import Canvas
from iqagpt.data.anatomy.organs import draw_organs
from iqagpt.data.anatomy.patient import Patient
from iqagpt.data.anatomy.trunk import Scene, draw_bones, draw_table, draw_trunk

#: SD of the in-plane point spread: about 0.7 pixels of a 380 mm field of view, as a smooth body kernel gives.
PSF_MM = 0.52
#: Amplitude of the warp of outlines: slow and fast part.
WARP_MM, RIPPLE_MM = 2.2, 0.3
#: The trunk lies above the middle of the field of view by this, to show the table.
TABLE_SIDE_MM = 8.0


def render_slice(patient: Patient, z_mm: float, *, matrix: int, thickness_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw one slice.

    Parameters
    ----------
    patient : Patient
    z_mm : float
        Height below the middle of the series (towards the feet).
    matrix : int
        Rows and columns.
    thickness_mm : float
        The slice is the mean of sections at most 2 mm apart through its thickness.

    Returns
    -------
    hu : ndarray, (matrix, matrix), float32, HU
        Without noise.
    labels : ndarray, (matrix, matrix), uint8
        TotalSegmentator v2 class numbers, of the section next to the middle.
    """
    spacing_mm = patient.fov_mm / matrix
    count = math.ceil(thickness_mm / 2.0)
    offsets = (np.arange(count) + 0.5) / count - 0.5
    sections = [_draw_section(patient, z_mm + o * thickness_mm, matrix, spacing_mm) for o in offsets]
    hu = np.mean([section.hu for section in sections], axis=0)
    draw_table(hu, patient, spacing_mm)
    hu = gaussian_filter(hu, PSF_MM / spacing_mm)
    return np.maximum(hu, AIR_HU), sections[count // 2].labels


def _draw_section(patient: Patient, z_mm: float, matrix: int, spacing_mm: float) -> Canvas:
    z = z_mm + patient.shift_mm
    field = {name: texture.at(z, matrix, spacing_mm) for name, texture in patient.textures.items()}
    line = ((np.arange(matrix) - (matrix - 1) / 2) * spacing_mm).astype(np.float32)
    warp_x = WARP_MM * field["warp_x"] + RIPPLE_MM * field["ripple_x"]
    warp_y = WARP_MM * field["warp_y"] + RIPPLE_MM * field["ripple_y"]
    canvas = Canvas(
        (line[None, :] + warp_x) / np.float32(patient.scale[0]),
        (line[:, None] + TABLE_SIDE_MM + warp_y) / np.float32(patient.scale[1]),
        (spacing_mm / patient.scale[0], spacing_mm / patient.scale[1]),
        middle_y=TABLE_SIDE_MM / patient.scale[1],
    )
    scene = Scene(
        canvas=canvas,
        patient=patient,
        z=z,
        fine=field["fine"],
        mid=field["mid"],
        coarse=field["coarse"],
        abdomen=np.zeros((matrix, matrix), np.float32),
    )
    draw_trunk(scene)
    draw_organs(scene)
    draw_bones(scene)
    return canvas
