"""CT slices as pictures whose window can still be changed: 256 steps over a range of HU, in a PNG within the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from iqagpt.errors import ParamsError

#: Air left around the body, so that skin is seen against it.
_MARGIN_PX = 6
#: What counts as body in cropping: fat is above, air and table foam are below.
_BODY_HU = -200
_WHITE = 255


@dataclass(frozen=True, slots=True)
class PageParams:
    """Section ``page``.

    Attributes
    ----------
    slices : int
        Example slices on the first page, each in every quality.
    slices_per_patient : int
        Example slices on every patient's page.
    size_px : int
        Longest side of a picture; larger ones are averaged down, which hides noise.
    range_hu : (lower, upper)
        What pictures hold, in 256 steps; the window moves within it.
    """

    slices: int
    slices_per_patient: int
    size_px: int
    range_hu: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("slices", "slices_per_patient"):
            if not 1 <= getattr(self, name) <= 100:
                raise ValueError(f"{name}: expected 1 to 100, got {getattr(self, name)!r}")
        if not 32 <= self.size_px <= 4096:
            raise ValueError(f"size_px: expected 32 to 4096, got {self.size_px!r}")
        lower, upper = self.range_hu
        if not -1024 <= lower < upper <= 3071:
            raise ValueError(f"range_hu: expected two HU from -1024 to 3071, the lower first, got {self.range_hu!r}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a page: ``uri``, ``width`` and ``height`` in px, and ``scale``, image px by picture px."""

    uri: str
    width: int
    height: int
    scale: float


#: Rows and columns of an image.
Box = tuple[slice, slice]


def body_box(image_hu: np.ndarray) -> Box:
    """Return where the body is, with a margin; the whole image if nothing in it is denser than air.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    """
    body = image_hu > _BODY_HU
    sides = []
    for axis in (1, 0):
        # One row of the table's edge or of noise is no body: a side needs a few pixels of it.
        found = np.flatnonzero(body.sum(axis) > body.shape[axis] // 50)
        if not len(found):
            return slice(None), slice(None)
        sides.append(slice(max(int(found[0]) - _MARGIN_PX, 0), int(found[-1]) + 1 + _MARGIN_PX))
    return sides[0], sides[1]


def draw(image_hu: np.ndarray, box: Box, params: PageParams) -> Picture:
    """Make the picture of a slice.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    box : Box
        Part to show, from `body_box`.
    params : PageParams
        Size and range.
    """
    lower, upper = params.range_hu
    shown = np.asarray(image_hu[box], dtype=np.float32)
    height, width = shown.shape
    scale = max(1.0, max(height, width) / params.size_px)
    if scale > 1:
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        shown = np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.BOX))
    steps = np.rint(np.clip((shown - lower) / (upper - lower), 0, 1) * _WHITE).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(steps).save(stream, "PNG", optimize=True)
    return Picture(data_uri(stream.getvalue(), "image/png"), steps.shape[1], steps.shape[0], scale)


def step_hu(range_hu: tuple[float, float]) -> float:
    """Return the HU between two neighbouring grey values of a picture."""
    return (range_hu[1] - range_hu[0]) / _WHITE


def window_filter(window_hu: tuple[float, float], range_hu: tuple[float, float]) -> tuple[float, float]:
    """Return slope and intercept that show a picture at a window, grey values running from 0 to 1."""
    lower, upper = window_hu
    slope = (range_hu[1] - range_hu[0]) / (upper - lower)
    return slope, (range_hu[0] - lower) / (upper - lower)


def data_uri(content: bytes, kind: str) -> str:
    """Return a file's content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def check_range(params: PageParams, window_hu: tuple[float, float]) -> None:
    """Refuse a range that cannot show the display window.

    Raises
    ------
    ParamsError
        If part of the window is outside the range.
    """
    lower, upper = params.range_hu
    if lower > window_hu[0] or upper < window_hu[1]:
        raise ParamsError(
            f"params.yaml: page.range_hu: expected to include the display window, {window_hu[0]:g} to {window_hu[1]:g} HU "
            f"(ingest.window_hu), got {lower:g} to {upper:g}"
        )
