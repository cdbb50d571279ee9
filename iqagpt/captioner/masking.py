"""Masks of words and patches for pre-training (paper 2.2, reference 13; `iqagpt.captioner.objectives`)."""

import numpy as np
import torch
from torch import nn

from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import all_scores, scores_to_caption

#: Of chosen words: part that becomes [MASK], and of the rest, part that becomes another word (BERT).
MASKED, REPLACED = 0.8, 0.5
#: Most elongated block of masked patches, as in iBOT.
ASPECT = 0.3


class WordMask(nn.Module):
    """BERT's masking, more often on words that not every caption of the template has."""

    def __init__(self, tokenizer: CaptionTokenizer, part: float, emphasis: float) -> None:
        super().__init__()
        captions = [set(ids) for ids in tokenizer.encode([scores_to_caption(scores) for scores in all_scores()])]
        telling = sorted(set.union(*captions) - set.intersection(*captions))
        chance = torch.full((tokenizer.size,), part)
        chance[telling] = min(part * emphasis, 1.0)
        special = torch.tensor(tokenizer.special_ids)
        chance[special] = 0.0
        words = torch.ones(tokenizer.size, dtype=torch.bool)
        words[special] = False
        self.register_buffer("chance", chance)
        self.register_buffer("words", words.nonzero()[:, 0])
        self.mask_id = tokenizer.mask_id

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids with masked words, and which words were chosen (B, T), bool; never none."""
        chance = self.chance[ids]
        chosen = torch.rand_like(chance) < chance
        if not chosen.any():
            chosen.view(-1)[chance.argmax()] = True
        kind = torch.rand_like(chance)
        other = self.words[torch.randint(len(self.words), ids.shape, device=ids.device)]
        masked = torch.where(chosen & (kind < MASKED), self.mask_id, ids)
        return torch.where(chosen & (kind >= 1 - REPLACED * (1 - MASKED)), other, masked), chosen


def masked_blocks(side: int, part: float, rng: np.random.Generator) -> np.ndarray:
    """Draw blocks of patches, as in iBOT, until a part of the grid is covered, at least one patch.

    Parameters
    ----------
    side : int
        Patches along one side.
    part : float
        Between 0 and 1; may be exceeded by a part of the last block.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, (side, side), bool
    """
    mask = np.zeros((side, side), dtype=bool)
    wanted = max(1, round(part * side * side))
    while (left := wanted - mask.sum()) > 0:
        area = rng.uniform(1, max(left, 1))
        aspect = np.exp(rng.uniform(np.log(ASPECT), -np.log(ASPECT)))
        height, width = (int(np.clip(round(np.sqrt(size)), 1, side)) for size in (area * aspect, area / aspect))
        top, start = rng.integers(side - height + 1), rng.integers(side - width + 1)
        mask[top : top + height, start : start + width] = True
    return mask
