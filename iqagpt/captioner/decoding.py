"""Captions from images: greedy decoding with a key-value cache (paper 2.2)."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.config import check_least
from iqagpt.criteria import KEYS, caption_to_scores
from iqagpt.scored_images import ScoredImages


@dataclass(frozen=True, slots=True)
class PredictParams:
    """Section ``predict``.

    Attributes
    ----------
    max_tokens : int
        Longest caption in tokens; the template needs up to 75.
    batch_size : int
        Images decoded together.
    """

    max_tokens: int
    batch_size: int

    def __post_init__(self) -> None:
        check_least(self, max_tokens=1, batch_size=1)


@torch.inference_mode()
def generate(model: Captioner, tokenizer: CaptionTokenizer, images: torch.Tensor, *, max_tokens: int) -> list[str]:
    """Caption a batch of images.

    Parameters
    ----------
    model : Captioner
        In evaluation mode.
    tokenizer : CaptionTokenizer
    images : Tensor, (B, 1, H, W), float32, in [0, 1]
        Windowed slices, on the model's device.
    max_tokens : int
        A caption is cut here if it has not ended by itself.

    Returns
    -------
    list of str
    """
    image_tokens = model.encode_image(images)
    cache = model.text.new_cache()
    ids = torch.full((len(images), 1), tokenizer.begin_id, device=images.device)
    ended = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    generated = []
    for _ in range(max_tokens):
        ids = model.text(ids, image_tokens, cache)[:, -1].argmax(-1, keepdim=True)
        ids = ids.masked_fill(ended[:, None], tokenizer.pad_id)
        ended |= ids[:, 0] == tokenizer.end_id
        generated.append(ids)
        if bool(ended.all()):
            break
    return [tokenizer.decode(row) for row in torch.cat(generated, dim=1).tolist()]


def predict_table(
    model: Captioner, tokenizer: CaptionTokenizer, images: ScoredImages, params: PredictParams, method: str
) -> pd.DataFrame:
    """Caption every image and read the scores from the captions.

    Returns
    -------
    DataFrame
        The table of predictions: ``image_id, split, method, caption``, the four criteria, ``unparsed``.
    """
    device = next(model.parameters()).device
    captions: list[str] = []
    batches = np.array_split(np.arange(len(images)), math.ceil(len(images) / params.batch_size))
    for indices in tqdm(batches, desc="captions", unit="batch", disable=None):
        batch = torch.from_numpy(images.batch(indices)).to(device)
        captions += generate(model, tokenizer, batch, max_tokens=params.max_tokens)
    table = images.table[["image_id", "split"]].assign(method=method, caption=captions)
    scores = [caption_to_scores(caption) for caption in captions]
    for key in KEYS:
        table[key] = pd.array([s.get(key) for s in scores], dtype="Int64")
    table["unparsed"] = [";".join(key for key in KEYS if key not in s) for s in scores]
    return table
