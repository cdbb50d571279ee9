"""Warnings where an image lies outside what the model has seen: its scores may then mean nothing.

Some things are refused by the readers before (`iqagpt.images`): other modalities, planes that are not axial, colour. What is
asked here is left open by them. Used by `iqagpt.assessment.assessor` and, with what DICOM headers say, by ``iqagpt assess``.

Notes
-----
Not stated in the paper, whose images are all abdomens of one kind. The ranges are those of the built-in phantom (338 to 409 mm on
512 pixels, 3 mm) with some room; a captioner's ``artifact.json`` may state its own (``seen``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iqagpt.data.ct_header import CTHeader

#: Darker is outside the body, or lung; brighter is bone or dense contrast medium.
_BODY_HU, _BONE_HU = -300, 300
_LUNG_HU = (-950, -500)
_SOFT_HU = (-200, 300)
#: Least share of the image that a body fills, and of the body that is soft tissue; most bone in the body, lung in body and lung
#: (real slices at the dome of the liver: .05 and .28).
_LEAST_BODY, _LEAST_SOFT, _MOST_BONE, _MOST_LUNG = 0.03, 0.6, 0.15, 0.35
#: Coarser grey levels than this hide noise.
_MOST_STEP_HU = 4.0
_HEAD = frozenset((
    "HEAD", "SKULL", "BRAIN", "ORBIT", "SINUS", "EAR", "TEMPORALBONE", "JAW", "FACE", "HEADNECK", "HEADANDNECK",
))  # fmt: skip
#: Siemens B50, Br54, Bl57, ...; Toshiba FC30 to 39, 50 to 59, 80 to 89; GE's and Philips's names.
_SHARP = re.compile(
    r"[A-Z][a-z]{0,2}(?P<number>\d\d)\d?[a-z]?|FC[358]\d.*|LUNG|BONE|BONEPLUS|EDGE|ULTRA|SHARP|Y[A-D]|[DEL]"
)
_SHARP_FROM = 50
_HEAD_KERNEL = re.compile(r"[HJ][a-z]?\d\d[a-z]?|BRAIN|FC2\d.*|U[ABC]")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model was trained on.

    Attributes
    ----------
    pixel_spacing_mm, thickness_mm : (least, most)
    body_parts : frozenset of str
        DICOM's terms, without spaces.
    """

    pixel_spacing_mm: tuple[float, float] = (0.6, 0.85)
    thickness_mm: tuple[float, float] = (2.0, 5.0)
    body_parts: frozenset[str] = frozenset((
        "ABDOMEN", "ABD", "ABDOMENPELVIS", "ABDPELVIS", "ABDOMENANDPELVIS", "PELVIS", "LIVER", "KIDNEY", "PANCREAS",
        "SPLEEN", "COLON", "STOMACH", "ADRENAL", "CHESTABDOMEN", "CHESTABDPELVIS", "CHESTABDOMENPELVIS", "CAP",
        "THORAXABDOMEN", "WHOLEBODY", "AORTA",
    ))  # fmt: skip

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Seen":
        """Read ``seen`` of an ``artifact.json``; what it does not state keeps its default."""
        stated = info.get("seen") or {}
        ranges = {
            name: tuple(map(float, stated[name])) for name in ("pixel_spacing_mm", "thickness_mm") if name in stated
        }
        parts = {"body_parts": frozenset(stated["body_parts"])} if "body_parts" in stated else {}
        return cls(**ranges, **parts)


def image_warnings(image_hu: np.ndarray, image_size: int | None, window_hu: tuple[float, float]) -> list[str]:
    """Warn of what the pixels themselves show.

    Parameters
    ----------
    image_hu : ndarray, (H, W), int16, HU
    image_size : int or None
        Side that the model takes.
    window_hu : (lower, upper)
        That the model applies.
    """
    found = []
    rows, columns = image_hu.shape
    if image_size is not None and (rows, columns) != (image_size, image_size):
        done = (
            "cropped"
            if min(rows, columns) >= image_size
            else "padded with air"
            if max(rows, columns) <= image_size
            else "padded and cropped"
        )
        found.append(f"matrix {rows} x {columns}, {done} to {image_size} x {image_size}, not resampled")
    # Counts alone: taking out the body's pixels would cost several times as much.
    filled = _above(image_hu, _BODY_HU)
    brightest = image_hu.max()
    flat = np.count_nonzero(image_hu == brightest) == filled
    if filled < _LEAST_BODY * image_hu.size or flat:
        return [*found, "hardly any body in the image"]
    if _between(image_hu, _SOFT_HU) < _LEAST_SOFT * filled:
        found.append("little soft tissue: not an abdomen, not CT, or not in HU")
    # A picture cut off at the window's upper end cannot tell bone.
    elif (bone := _above(image_hu, _BONE_HU) / filled) > _MOST_BONE:
        found.append(f"much bone ({bone:.0%} of the body): a head or limb?")
    lung = _between(image_hu, _LUNG_HU)
    lung /= lung + filled
    if lung > _MOST_LUNG:
        found.append(f"much lung ({lung:.0%} of the trunk): a chest?")
    if _above(image_hu, max(window_hu[1], _BODY_HU)) == filled or brightest < window_hu[0]:
        found.append(f"nothing within the model's window [{window_hu[0]:g}, {window_hu[1]:g}] HU")
    return found


def spacing_warnings(pixel_spacing_mm: float | None, seen: Seen) -> list[str]:
    """Warn of a pixel size that is unknown or outside what was seen."""
    if pixel_spacing_mm is None:
        return ["pixel size unknown"]
    least, most = seen.pixel_spacing_mm
    if not least <= pixel_spacing_mm <= most:
        return [f"pixel size {pixel_spacing_mm:.3g} mm, outside {least:g} to {most:g}"]
    return []


def header_warnings(header: CTHeader, seen: Seen) -> list[str]:
    """Warn of what a DICOM header says: body part, kernel, slice thickness."""
    found = []
    part = header.body_part
    if part and part not in seen.body_parts:
        found.append(f"{'head' if part in _HEAD else 'body part'}, by its header {part}, not an abdomen")
    # Two values: the kernel and the strength of an iterative method.
    kernel = header.kernel.split("/")[0].strip()
    if _HEAD_KERNEL.fullmatch(kernel):
        found.append(f"head kernel {kernel}")
    elif _is_sharp(kernel):
        found.append(f"lung or bone kernel {kernel}")
    least, most = seen.thickness_mm
    if header.thickness_mm is not None and not least <= header.thickness_mm <= most:
        found.append(f"slice thickness {header.thickness_mm:g} mm, outside {least:g} to {most:g}")
    return found


def window_warnings(
    given_hu: tuple[float, float] | None, model_hu: tuple[float, float], notes: tuple[str, ...]
) -> list[str]:
    """Warn of a picture's window that loses what the model looks at, and pass on what the reader noted."""
    found = [note for note in notes if not note.startswith("pixel spacing")]
    if given_hu is None:
        return found
    shown = f"window [{given_hu[0]:g}, {given_hu[1]:g}] HU"
    if given_hu[0] > model_hu[0] or given_hu[1] < model_hu[1]:
        found.append(f"{shown} cuts off part of the model's [{model_hu[0]:g}, {model_hu[1]:g}]")
    step_hu = (given_hu[1] - given_hu[0]) / 255
    if step_hu > _MOST_STEP_HU:
        found.append(f"{shown}: steps of {step_hu:.1f} HU if it has 8 bits")
    return found


def _above(image_hu: np.ndarray, limit_hu: float) -> int:
    return int(np.count_nonzero(image_hu > limit_hu))


def _between(image_hu: np.ndarray, limits_hu: tuple[float, float]) -> int:
    return int(np.count_nonzero((image_hu > limits_hu[0]) & (image_hu < limits_hu[1])))


def _is_sharp(kernel: str) -> bool:
    match = _SHARP.fullmatch(kernel)
    return bool(match) and (match["number"] is None or int(match["number"]) >= _SHARP_FROM)
