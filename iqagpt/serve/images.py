"""The images that a server holds, in memory only, and what the model says of their slices.

An image is known by a random name that only its sender gets. The oldest go when there are too many or too large, or when nobody has
asked for them for a while. The model is asked one slice at a time, whoever asks, so that answers do not depend on company.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from iqagpt.assessment.scope import Seen, header_warnings, window_warnings
from iqagpt.data.ct_header import CTHeader
from iqagpt.data.matrix import overlap
from iqagpt.errors import InputError
from iqagpt.images import CTImage

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment

#: Images held, and for how long after they were last asked for.
MAX_IMAGES = 256
IDLE_SECONDS = 1800.0
#: Slices whose maps by criterion are kept: a user clicks one criterion after the other.
KEPT_MAPS = 4


class ImageGoneError(InputError):
    """An image is not, or no longer, held."""


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


@dataclass(slots=True)
class HeldImage:
    """One image.

    Attributes
    ----------
    identity : str
        The random name.
    name : str
        The file's, for people.
    image : CTImage
    warnings : tuple of tuple of str
        For each slice, what its file says that is outside what the model has seen.
    results : dict
        Assessment by slice index, as far as asked for.
    """

    identity: str
    name: str
    image: CTImage
    warnings: tuple[tuple[str, ...], ...]
    results: "dict[int, SliceAssessment]" = field(default_factory=dict)
    last_used: float = 0.0

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


class ImageStore:
    """Images by their random names, bounded in number, bytes and idle time.

    Parameters
    ----------
    max_bytes : int
        Of all pixels together; the newest image is always kept.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._held: OrderedDict[str, HeldImage] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, name: str, image: CTImage, warnings: tuple[tuple[str, ...], ...]) -> HeldImage:
        """Hold an image; see `HeldImage`."""
        held = HeldImage(secrets.token_urlsafe(16), name, image, warnings, last_used=self._clock())
        with self._lock:
            self._held[held.identity] = held
            self._forget_old()
        return held

    def get(self, identity: str) -> HeldImage:
        """Return an image.

        Raises
        ------
        ImageGoneError
            If it is not held.
        """
        with self._lock:
            self._forget_old()
            held = self._held.get(identity)
            if held is None:
                raise ImageGoneError("this image is not held any more; open it again")
            held.last_used = self._clock()
            self._held.move_to_end(identity)
            return held

    def remove(self, identity: str) -> None:
        """Forget an image; one that is not held is none."""
        with self._lock:
            self._held.pop(identity, None)

    def __len__(self) -> int:
        return len(self._held)

    def _forget_old(self) -> None:
        now = self._clock()
        size = sum(held.image.slices_hu.nbytes for held in self._held.values())
        while self._held:
            oldest = next(iter(self._held.values()))
            full = len(self._held) > 1 and (size > self._max_bytes or len(self._held) > MAX_IMAGES)
            if not full and now - oldest.last_used < IDLE_SECONDS:
                return
            size -= oldest.image.slices_hu.nbytes
            del self._held[oldest.identity]


class Examiner:
    """Ask the model about held images, one slice at a time; each is assessed once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._maps: OrderedDict[tuple[str, int], Mapping[str, np.ndarray]] = OrderedDict()

    def result(self, held: HeldImage, index: int) -> "SliceAssessment":
        """Return the assessment of a slice.

        Raises
        ------
        InputError
            If the image has no such slice, or the model cannot take it.
        """
        pixels_hu = held.slice_hu(index)
        with self._lock:
            if index not in held.results:
                spacing = [held.image.pixel_spacing_mm]
                found = self.model.assess([pixels_hu], pixel_spacing_mm=spacing)[0]
                held.results[index] = replace(found, warnings=(*held.warnings[index], *found.warnings))
            return held.results[index]

    def criterion_map(self, held: HeldImage, index: int, key: str) -> np.ndarray:
        """Return where the model looked for a criterion, over the whole slice, not negative.

        Raises
        ------
        InputError
            As `result`, or if there is no such criterion.
        """
        caption = self.result(held, index).caption
        with self._lock:
            if (held.identity, index) not in self._maps:
                self._maps[held.identity, index] = self.model.maps(held.slice_hu(index), caption)
            maps = self._maps[held.identity, index]
            while len(self._maps) > KEPT_MAPS:
                self._maps.popitem(last=False)
        if key not in maps:
            raise InputError(f"no map for '{key}'; expected {', '.join(maps)}")
        return over_slice(maps[key], held.slice_hu(index).shape, self.model.image_size)

    def word_map(self, held: HeldImage, index: int, word: int) -> np.ndarray:
        """Return where the model looked for a word of the caption, counted from 0.

        Raises
        ------
        InputError
            As `result`, or if the caption has no such word.
        """
        caption = self.result(held, index).caption
        count = len(caption.split())
        if not 0 <= word < count:
            raise InputError(f"the caption has no word {word}; it has words 0 to {count - 1}")
        with self._lock:
            found = self.model.word_map(held.slice_hu(index), caption, word)
        return over_slice(found, held.slice_hu(index).shape, self.model.image_size)


def file_warnings(
    image: CTImage, headers: Sequence[CTHeader], seen: Seen, model_hu: tuple[float, float]
) -> tuple[tuple[str, ...], ...]:
    """Return for each slice what its file says that is outside what the model has seen.

    Parameters
    ----------
    image : CTImage
    headers : sequence of CTHeader
        One a slice, or none.
    seen : Seen
    model_hu : (lower, upper)
        The model's window.
    """
    of_file = window_warnings(image.window_hu, model_hu, image.notes)
    if not headers:
        return ((*of_file,),) * len(image.slices_hu)
    return tuple((*of_file, *header_warnings(header, seen)) for header in headers)


def over_slice(values: np.ndarray, shape: tuple[int, int], side: int | None) -> np.ndarray:
    """Lay a map of the square that the model saw over the slice that it was cut from.

    Parameters
    ----------
    values : ndarray, (h, w)
    shape : (rows, columns)
        Of the slice; the model saw it padded or cropped about its centre (`iqagpt.data.matrix`).
    side : int or None
        Of the square, in pixels; None where the model takes any size.

    Returns
    -------
    ndarray
        `values` where the square is the slice, else (rows, columns), 0 where the model saw nothing.
    """
    if side is None or shape == (side, side):
        return values
    enlarged = np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))
    placed = np.zeros(shape, np.float32)
    there, here = zip(*(overlap(length, side) for length in shape), strict=True)
    placed[there] = enlarged[here]
    return placed
