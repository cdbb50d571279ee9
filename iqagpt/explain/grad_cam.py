"""Where the captioner looked for a word: Grad-CAM on the cross-attention (paper, Fig. 9).

The map of a word is the cross-attention of the last layer at the position that predicts the word, times the gradient of the
word's log-odds with respect to that attention, negative products set to 0, mean over heads. Source: Li et al., Align before fuse,
2021, whose visualisation the paper's captioner (Medical X-VL) inherits; there the gradient is that of image-text matching, here
of the word itself. In the last layer a position's attention acts on its own word alone, so one backward pass serves all words of
a batch.

Notes
-----
Not stated in the paper; layer, target and the treatment of ``[CLS]``, whose share is left out of the maps, are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.explain.attention import trace
from iqagpt.explain.phrases import CaptionWords, read_words


@dataclass(frozen=True)
class WordMaps:
    """The maps of one caption's W words over h x w patches.

    Attributes
    ----------
    words : CaptionWords
    maps : ndarray, (W, h, w), float32
        Not negative; each sums to 1. Even where nothing in the image speaks for the word.
    cls_share : ndarray, (W,), float32
        Part of a word's attribution that fell on the image's ``[CLS]`` token and is not in its map, 0 to 1.
    """

    words: CaptionWords
    maps: np.ndarray
    cls_share: np.ndarray

    def of_criterion(self, key: str) -> np.ndarray | None:
        """Return the mean map of the words that decide a criterion, (h, w); None where the caption states no score."""
        chosen = self.words.decisions.get(key, ())
        return self.maps[list(chosen)].mean(0) if chosen else None


def criterion_maps(
    model: Captioner, tokenizer: CaptionTokenizer, image: torch.Tensor, caption: str
) -> dict[str, np.ndarray]:
    """Return where the captioner looked for each criterion: the mean map of the words that decide its score.

    Parameters
    ----------
    model : Captioner
        In evaluation mode.
    tokenizer : CaptionTokenizer
    image : Tensor, (1, 1, H, W), in [0, 1]
        On the model's device.
    caption : str
        The model's caption of the image, or any other.

    Returns
    -------
    dict
        By criterion, (h, w), float32, one value a patch, not negative, sum 1. A criterion whose phrase in `caption` is not in
        the scale has no entry.
    """
    found = word_maps(model, tokenizer, image, [caption])[0]
    return {key: found.of_criterion(key) for key in found.words.decisions}


def word_map(
    model: Captioner, tokenizer: CaptionTokenizer, image: torch.Tensor, caption: str, word_index: int
) -> np.ndarray:
    """Return where the captioner looked for one word of a caption.

    Parameters
    ----------
    model, tokenizer, image, caption
        As for `criterion_maps`.
    word_index : int
        Of ``caption.split()``.

    Returns
    -------
    ndarray, (h, w), float32
        Not negative, sum 1.

    Raises
    ------
    IndexError
        If the caption has no such word.
    """
    found = word_maps(model, tokenizer, image, [caption])[0]
    if not 0 <= word_index < len(found.maps):
        raise IndexError(f"word_index: expected 0 to {len(found.maps) - 1}, got {word_index}")
    return found.maps[word_index]


def word_maps(
    model: Captioner, tokenizer: CaptionTokenizer, images: torch.Tensor, captions: Sequence[str]
) -> list[WordMaps]:
    """Return the maps of all words of a batch of captions.

    Parameters
    ----------
    model, tokenizer
        As for `criterion_maps`.
    images : Tensor, (B, 1, H, W), in [0, 1]
    captions : sequence of str
        One per image.
    """
    rows = tokenizer.encode(list(captions))
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=tokenizer.pad_id)
    relevance = _relevance(model, ids.to(images.device), images).cpu().numpy()
    side = int(relevance.shape[2] ** 0.5)
    return [
        _of_caption(read_words(tokenizer, caption), of_tokens, side)
        for caption, of_tokens in zip(captions, relevance, strict=True)
    ]


def _relevance(model: Captioner, ids: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return relevance of every image token for every token but the first, (B, T - 1, N)."""
    # Whatever mode the caller is in: clones are ordinary tensors, and from the tokens the graph reaches frozen layers too.
    with torch.inference_mode(False), torch.enable_grad():
        ids = ids.clone()
        tokens = model.encode_image(images.clone()).detach().requires_grad_()
        found = trace(model.text, ids, tokens)
        logits, targets = found.logits[:, :-1], ids[:, 1:, None]
        others = logits.scatter(2, targets, -torch.inf).logsumexp(2)
        # Log-odds have the direction of the log-likelihood, but do not fade where the model is sure.
        odds = logits.gather(2, targets)[..., 0] - others
        (gradient,) = torch.autograd.grad(odds.sum(), found.cross_attention)
        return (found.cross_attention * gradient).clamp(min=0).mean(1)[:, :-1].detach()


def _of_caption(words: CaptionWords, relevance: np.ndarray, side: int) -> WordMaps:
    maps = np.full((len(words.words), side, side), 1 / side**2, np.float32)
    cls_share = np.zeros(len(words.words), np.float32)
    for index, tokens in enumerate(words.tokens):
        if not tokens:
            continue
        # Row t - 1 of the relevance belongs to token t.
        total = relevance[np.array(tokens) - 1].astype(np.float64).mean(0)
        if total.sum() > 0:
            cls_share[index] = total[0] / total.sum()
        if total[1:].sum() > 0:
            maps[index] = (total[1:] / total[1:].sum()).reshape(side, side)
    return WordMaps(words, maps, cls_share)
