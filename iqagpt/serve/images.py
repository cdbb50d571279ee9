"""The images that a server holds, in memory only, and what the model says of their slices.

An image is known by a random name that only its sender gets. The oldest go when there are too many or too large, or when nobody has
asked for them for a while. The model is asked one slice at a time, whoever asks, so that answers do not depend on company.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iqagpt.chat.opened_image import Model, OpenedImage
from iqagpt.data.matrix import overlap
from iqagpt.errors import InputError

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment

#: Images held, and for how long after they were last asked for.
MAX_IMAGES = 256
IDLE_SECONDS = 1800.0
#: Slices whose maps by criterion are kept: a user clicks one criterion after the other.
KEPT_MAPS = 4


class ImageGoneError(InputError):
    """An image is not, or no longer, held."""


@dataclass(slots=True)
class HeldImage:
    """One image.

    Attributes
    ----------
    identity : str
        The random name.
    opened : OpenedImage
    results : dict
        Assessment by slice index, as far as asked for.
    """

    identity: str
    opened: OpenedImage
    results: "dict[int, SliceAssessment]" = field(default_factory=dict)
    last_used: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Of the pixels."""
        return self.opened.image.slices_hu.nbytes


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

    def add(self, opened: OpenedImage) -> HeldImage:
        """Hold an image."""
        held = HeldImage(secrets.token_urlsafe(16), opened, last_used=self._clock())
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
        size = sum(held.size_bytes for held in self._held.values())
        while self._held:
            oldest = next(iter(self._held.values()))
            full = len(self._held) > 1 and (size > self._max_bytes or len(self._held) > MAX_IMAGES)
            if not full and now - oldest.last_used < IDLE_SECONDS:
                return
            size -= oldest.size_bytes
            del self._held[oldest.identity]


class Examiner:
    """Ask the model about held images, one slice at a time; each is assessed once.

    All of the model's work is done by one thread: requests queue, and its memory is not taken again in every thread of the server.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._maps: OrderedDict[tuple[str, int], Mapping[str, np.ndarray]] = OrderedDict()

    def result(self, held: HeldImage, index: int) -> "SliceAssessment":
        """Return the assessment of a slice.

        Raises
        ------
        InputError
            If the image has no such slice, or the model cannot take it.
        """
        known = held.results.get(index)
        return known if known is not None else self._worker.submit(self._assess, held, index).result()

    def criterion_map(self, held: HeldImage, index: int, key: str) -> np.ndarray:
        """Return where the model looked for a criterion, over the whole slice, not negative.

        Raises
        ------
        InputError
            As `result`, or if there is no such criterion.
        """
        caption = self.result(held, index).caption
        maps = self._worker.submit(self._criterion_maps, held, index, caption).result()
        if key not in maps:
            raise InputError(f"no map for '{key}'; expected {', '.join(maps)}")
        return over_slice(maps[key], held.opened.slice_hu(index).shape, self.model.image_size)

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
        pixels_hu = held.opened.slice_hu(index)
        found = self._worker.submit(self.model.word_map, pixels_hu, caption, word).result()
        return over_slice(found, pixels_hu.shape, self.model.image_size)

    def _assess(self, held: HeldImage, index: int) -> "SliceAssessment":
        if index not in held.results:
            held.results[index] = held.opened.assess(self.model, index)
        return held.results[index]

    def _criterion_maps(self, held: HeldImage, index: int, caption: str) -> Mapping[str, np.ndarray]:
        if (held.identity, index) not in self._maps:
            self._maps[held.identity, index] = self.model.maps(held.opened.slice_hu(index), caption)
            while len(self._maps) > KEPT_MAPS:
                self._maps.popitem(last=False)
        return self._maps[held.identity, index]


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
