"""What every fitted model looks like from outside: images in HU go in, four scores come out.

Methods offer it beside what they need for the pipeline; `iqagpt.models` opens any of them. Scores run from 1 (best) to 4 (worst).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from iqagpt.ct import apply_window


@dataclass(frozen=True, slots=True)
class Scorer:
    """A fitted model that scores images, each by itself: the same image gets the same scores in any company.

    Attributes
    ----------
    score : callable
        Images, each (H, W), int16, HU, to a table in the same order: the four criteria as numbers (missing: no lesion),
        and where the model writes captions, ``caption`` and ``unparsed`` (criteria that it does not state readably, joined by
        ``;``).
    window_hu : (lower, upper)
        Display window that the model was fitted on and applies itself.
    image_size : int or None
        Side of the square images that it takes; None for any size.
    scale : str
        What its scores are, in words: ``whole scores``, ``fractional scores``, ``expected scores``.
    """

    score: Callable[[Sequence[np.ndarray]], pd.DataFrame]
    window_hu: tuple[float, float]
    image_size: int | None
    scale: str


def window_batches(
    images_hu: Sequence[np.ndarray], window_hu: tuple[float, float], batch_size: int
) -> Iterator[np.ndarray]:
    """Yield images of one size as windowed batches (B, 1, H, W), float32, in [0, 1]."""
    for begin in range(0, len(images_hu), batch_size):
        yield np.stack([apply_window(image_hu, window_hu) for image_hu in images_hu[begin : begin + batch_size]])[
            :, None
        ]
