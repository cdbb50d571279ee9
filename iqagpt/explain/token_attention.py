"""Self-attention between the words of a caption in the decoder's last layer, grouped by criterion (paper, Fig. 8)."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence

from iqagpt.batches import in_batches
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS
from iqagpt.explain.attention import trace
from iqagpt.explain.phrases import read_words
from iqagpt.scored_images import ScoredImages

#: The first token, and whatever stands in no criterion's part.
BEGIN = "begin"
#: Short names, of a bar's length.
_WORDS = {BEGIN: BEGIN, **dict(zip(KEYS, ("noise", "structures", "lesion", "confidence"), strict=True))}
_TOGETHER = 16


def attention_of_caption(
    model: Captioner, tokenizer: CaptionTokenizer, image: torch.Tensor, caption: str
) -> tuple[np.ndarray, list[str], list[str]]:
    """Return the self-attention of one caption.

    Parameters
    ----------
    model : Captioner
        In evaluation mode.
    tokenizer : CaptionTokenizer
    image : Tensor, (1, 1, H, W), in [0, 1]
        On the model's device.
    caption : str

    Returns
    -------
    ndarray, (T, T), float32
        Mean over heads, from each token (row) to those before it and itself; rows sum to 1. The last token, which predicts
        nothing, is left out.
    list of str
        The T tokens.
    list of str
        The group of each: a criterion's key, or ``begin``.
    """
    ids = tokenizer.encode([caption])[0][:-1]
    with torch.inference_mode():
        found = trace(model.text, torch.tensor([ids], device=image.device), model.encode_image(image))
    names = tokenizer.tokens()
    return (
        found.self_attention.mean(1)[0].cpu().numpy(),
        [names[index] for index in ids],
        token_groups(tokenizer, caption)[: len(ids)],
    )


def token_groups(tokenizer: CaptionTokenizer, caption: str) -> list[str]:
    """Return the criterion of every token of a caption, ``[CLS]`` and ``[SEP]`` included."""
    words = read_words(tokenizer, caption)
    ends = np.cumsum([len(word) + 1 for word in words.words])
    return [
        BEGIN if begin == end else words.criteria[int(np.searchsorted(ends, begin, side="right"))] or BEGIN
        for begin, end in tokenizer.spans(" ".join(words.words))
    ]


def group_attention(
    model: Captioner, tokenizer: CaptionTokenizer, images: ScoredImages, captions: list[str]
) -> pd.DataFrame:
    """Average the self-attention between criteria over images.

    Parameters
    ----------
    model, tokenizer
        As for `attention_of_caption`.
    images : ScoredImages
    captions : list of str
        One per image.

    Returns
    -------
    DataFrame
        Rows ``source`` (criterion whose tokens attend), ``target`` (a criterion or ``begin``), ``between`` (both), ``share`` of the
        attention, mean over tokens and images, 0 to 1, adding up to 1 over the targets; and ``equal_share``, what it would be if
        every token attended equally to itself and all before it.
    """
    device = next(model.parameters()).device
    groups = (BEGIN, *KEYS)
    total = np.zeros((2, len(KEYS), len(groups)))
    for indices in in_batches(len(captions), _TOGETHER):
        texts = [captions[i] for i in indices]
        rows = [torch.tensor(row[:-1]) for row in tokenizer.encode(texts)]
        ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id).to(device)
        with torch.inference_mode():
            batch = model.encode_image(torch.from_numpy(images.batch(indices)).to(device))
            attention = trace(model.text, ids, batch).self_attention.mean(1).cpu().numpy()
        for text, row, weights in zip(texts, rows, attention, strict=True):
            count = len(row)
            total += _between(weights[:count, :count].astype(np.float64), token_groups(tokenizer, text)[:count])
    return _table(total / total.sum(2, keepdims=True).clip(1e-12), groups)


def _between(weights: np.ndarray, groups: list[str]) -> np.ndarray:
    """Return attention and equal attention between groups, (2, criteria, groups), mean over the tokens of a criterion."""
    equal = np.tril(np.ones_like(weights))
    equal /= equal.sum(1, keepdims=True)
    belongs = np.array([[group == name for name in (BEGIN, *KEYS)] for group in groups], float)
    own = belongs[:, 1:] / belongs[:, 1:].sum(0).clip(1)
    return np.stack([own.T @ values @ belongs for values in (weights, equal)])


def _table(shares: np.ndarray, groups: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        {
            "source": source,
            "target": target,
            "between": f"{_WORDS[source]} to {_WORDS[target]}",
            "share": shares[0, i, j],
            "equal_share": shares[1, i, j],
        }
        for i, source in enumerate(KEYS)
        for j, target in enumerate(groups)
        if j <= i + 1
    ]
    return pd.DataFrame(rows)


def summarise_attention(table: pd.DataFrame) -> dict[str, Any]:
    """Return by criterion the share of attention that goes to its own tokens and to ``earlier`` criteria, and both if equal."""
    found: dict[str, Any] = {}
    for place, key in enumerate(KEYS):
        own = table[table["source"] == key].set_index("target")
        earlier = own.loc[[name for name in KEYS[:place] if name in own.index]]
        found[key] = {"own": float(own.loc[key, "share"]), "own_if_equal": float(own.loc[key, "equal_share"])}
        if place:
            found[key] |= {
                "earlier": float(earlier["share"].sum()),
                "earlier_if_equal": float(earlier["equal_share"].sum()),
            }
    return found
