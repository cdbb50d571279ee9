"""A small model and small images for tests of the server."""

import io

import numpy as np
from made_results import make_result

from iqagpt.assessment.scope import Seen
from iqagpt.criteria import KEYS

SIZE = 64
ADDRESS = "http://127.0.0.1:8000"


class NoiseModel:
    """A model whose scores follow the noise of the slice; it looks at the top left for the first criterion, and so on."""

    model_name = "noise"
    weights_sha256 = "0" * 64
    window_hu = (-160.0, 240.0)
    image_size = None
    seen = Seen()

    def __init__(self) -> None:
        self.calls = 0

    def assess(self, images_hu, *, pixel_spacing_mm=None):
        self.calls += len(images_hu)
        scores = [1 + int(np.searchsorted((10, 30, 60), image.std())) for image in images_hu]
        unknown = ("pixel spacing unknown",) if pixel_spacing_mm[0] is None else ()
        return [make_result(score, 2, None, score, unknown) for score in scores]

    def maps(self, hu, caption):
        return {key: self.word_map(hu, caption, place) for place, key in enumerate(KEYS)}

    def word_map(self, hu, caption, word_index):
        found = np.zeros((4, 4), np.float32)
        found.flat[word_index % 16] = 1
        return found


def slice_hu(noise_hu: float, seed: int = 0) -> np.ndarray:
    """Soft tissue with noise."""
    values = 50 + np.random.default_rng(seed).normal(0, noise_hu, (SIZE, SIZE))
    return np.rint(values).astype(np.int16)


def npy(values: np.ndarray) -> bytes:
    """An array as the bytes of an ``.npy`` file."""
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()
