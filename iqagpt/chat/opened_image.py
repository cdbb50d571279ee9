"""One image file that a user talks about: read within limits, and assessed slice by slice with all its warnings.

Used by ``iqagpt chat`` and by `iqagpt.serve`, in front of `iqagpt.chat.dialogue`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from iqagpt.assessment.scope import Seen, header_warnings, window_warnings
from iqagpt.data.ct_header import CTHeader
from iqagpt.errors import InputError
from iqagpt.images import CTImage, check_range, open_image

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment

#: Of one image, all slices together: 512 of 512 x 512.
MAX_PIXELS = 2**27


class Model(Protocol):
    """What is asked about slices; see `iqagpt.assessment.Assessor`."""

    model_name: str
    weights_sha256: str
    window_hu: tuple[float, float]
    image_size: int | None
    seen: Seen

    def assess(
        self, images_hu: list[np.ndarray], *, pixel_spacing_mm: list[float | None] | None = None
    ) -> "list[SliceAssessment]":
        """Assess slices, each (H, W), int16, HU."""

    def maps(self, hu: np.ndarray, caption: str) -> Mapping[str, np.ndarray]:
        """Return by criterion where the model looked."""

    def word_map(self, hu: np.ndarray, caption: str, word_index: int) -> np.ndarray:
        """Return where the model looked for one word."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image as it was read.

    Attributes
    ----------
    name : str
        For people.
    image : CTImage
    headers : tuple of CTHeader
        One a slice of DICOM; empty for other kinds. Not shown by ``repr``.
    """

    name: str
    image: CTImage
    headers: tuple[CTHeader, ...] = field(repr=False)

    def slice_hu(self, index: int) -> np.ndarray:
        """Return a slice, (H, W), int16, HU.

        Raises
        ------
        InputError
            If the image has no such slice.
        """
        count = len(self.image.slices_hu)
        if not 0 <= index < count:
            raise InputError(f"there is no slice {index}; this image has slices 0 to {count - 1}")
        return self.image.slices_hu[index]

    def assess(self, model: Model, index: int) -> "SliceAssessment":
        """Assess a slice; its warnings are those of the file and those of the pixels.

        Raises
        ------
        InputError
            If the image has no such slice, or the model cannot take it.
        """
        found = model.assess([self.slice_hu(index)], pixel_spacing_mm=[self.image.pixel_spacing_mm])[0]
        of_file = window_warnings(self.image.window_hu, model.window_hu, self.image.notes)
        of_header = header_warnings(self.headers[index], model.seen) if self.headers else []
        return replace(found, warnings=(*of_file, *of_header, *found.warnings))


def open_bounded(path: Path, window_hu: tuple[float, float] | None, max_pixels: int, *, name: str) -> OpenedImage:
    """Read an image file of bounded size.

    Parameters
    ----------
    path, window_hu
        As for `iqagpt.images.open_image`.
    max_pixels : int
        Of all slices together; more is refused before more than one slice is read.
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        If it cannot be read, or is too large.
    """
    try:
        with open_image(path, window_hu) as image:
            slices = [image.read(0)]
            pixels = slices[0].size * image.count
            if pixels > max_pixels:
                raise InputError(f"{path}: {pixels} pixels in all, at most {max_pixels}; give fewer slices at a time")
            slices += [image.read(index) for index in range(1, image.count)]
            if len({values.shape for values in slices}) > 1:
                raise InputError(f"{path}: its frames differ in size; expected one size")
            stack = np.stack(slices)
            if not image.headers and image.window_hu is None:
                check_range(path, stack)
            return OpenedImage(
                name, CTImage(stack, image.pixel_spacing_mm, image.window_hu, image.notes), image.headers
            )
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from None
