"""Antonym prompts and what their probability says about quality.

CLIP-IQA asks which of two opposite texts an image is nearer to. Its answer rises with quality, our scores fall:
`quality_to_score` and `score_to_quality` are the only places where the direction turns.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from iqagpt.criteria import CRITERIA, KEYS, SCORES

#: Worst value of each scale. "No lesion" continues lesion conspicuity beyond the least conspicuous lesion, as for ViT-R.
WORST = {c.key: len(SCORES) + (c.absent is not None) for c in CRITERIA}
BEST = SCORES[0]


@dataclass(frozen=True, slots=True)
class Prompts:
    """One pair of opposite texts per criterion, the better one first.

    Attributes
    ----------
    noise, small_structures, lesion_conspicuity, diagnostic_confidence : (str, str)
    """

    noise: tuple[str, str]
    small_structures: tuple[str, str]
    lesion_conspicuity: tuple[str, str]
    diagnostic_confidence: tuple[str, str]

    def __post_init__(self) -> None:
        for field in fields(self):
            pair = getattr(self, field.name)
            if not all(text.strip() for text in pair) or pair[0] == pair[1]:
                raise ValueError(f"{field.name}: expected two different texts, got {list(pair)}")

    def pair(self, key: str) -> tuple[str, str]:
        """Return the pair of a criterion."""
        return getattr(self, key)


assert tuple(field.name for field in fields(Prompts)) == KEYS


def quality_to_score(quality: np.ndarray, worst: int) -> np.ndarray:
    """Turn the probability of the better text into a score, 1 (best) to `worst`."""
    return worst - (worst - BEST) * quality


def score_to_quality(scores: np.ndarray, worst: int) -> np.ndarray:
    """Turn scores, 1 (best) to `worst`, into the probability that the better text should have."""
    return (worst - scores) / (worst - BEST)


def probabilities(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the probability (..., texts) of each text for unit vectors of images (..., D) and texts (texts, D)."""
    return (scale * images @ texts.T).softmax(dim=-1)
