"""How human readers vary: each has a bias of its own, and no reading of an image repeats exactly.

A reading's severity is the reader's who is never distracted, plus the bias of the reader (one for each criterion, the same in every
image), plus the deviation of this reading. The first reader has no bias: the thresholds of section ``read`` are that
reader's. Biases of the others are differences from it.

Notes
-----
Not stated in the paper. The default of ``read.between`` is that of three radiologists in a blind study of denoised abdominal CT
(babbu3682/MTD-GAN): a two-way analysis of variance over its first three sets gives an SD of the readers' biases of .06 and of
the rest of .23 on five grades of structure preservation (contrast retention: 0 and .18).
"""

from dataclasses import dataclass

import numpy as np

from iqagpt.criteria import KEYS
from iqagpt.seeding import item_rng


@dataclass(frozen=True, slots=True)
class VariabilityParams:
    """The keys of section ``read`` that say how many readers there are and how they differ."""

    readers: int
    consensus: str
    variability: float
    between: float
    shared: float

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 1 <= self.readers <= 99:
            raise ValueError(f"readers: expected 1 to 99, got {self.readers}")
        if not self.consensus.strip():
            raise ValueError(f"consensus: expected median or a reader's name, got {self.consensus!r}")
        for name in ("variability", "between"):
            if not 0 <= getattr(self, name) <= 3:
                raise ValueError(f"{name}: expected 0 to 3 score steps, got {getattr(self, name)}")
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared: expected 0 to 1, got {self.shared}")

    def names(self) -> list[str]:
        """Return the readers' names; further readers change nothing for the ones before."""
        return [f"simulated_{number}" for number in range(1, self.readers + 1)]


def reader_bias(params: VariabilityParams, reader: str, seed: int) -> np.ndarray:
    """Draw how much worse one reader scores than the first.

    Returns
    -------
    ndarray, (4,), float64, score steps
        By criterion; part of the variance (``shared``) is common to all four.
    """
    first = params.names()[0]
    if reader == first:
        return np.zeros(len(KEYS))
    own, usual = (_deviation(item_rng(seed, "reader", name), params.shared) for name in (reader, first))
    return params.between * (own - usual)


def reading_noise(params: VariabilityParams, reader: str, image_ids: list[str], seed: int) -> np.ndarray:
    """Draw how far one reader's readings deviate from what that reader usually gives.

    Returns
    -------
    ndarray, (N, 4), float64, score steps
        By image and criterion; the draws of an image depend on nothing but its name, the reader and the seed.
    """
    names = () if reader == params.names()[0] else (reader,)
    draws = [_deviation(item_rng(seed, "reading", image_id, *names), params.shared) for image_id in image_ids]
    return params.variability * np.reshape(draws, (len(image_ids), len(KEYS)))


def _deviation(rng: np.random.Generator, shared: float) -> np.ndarray:
    """Draw four standard normals; part of the variance is common to them."""
    draws = rng.standard_normal(1 + len(KEYS))
    return np.sqrt(shared) * draws[0] + np.sqrt(1 - shared) * draws[1:]
