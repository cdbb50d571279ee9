"""Captions from images: the template's most likely one, or free text by greedy or beam search (paper 2.2)."""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.template import alternatives, marginals
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.config import check_least
from iqagpt.criteria import KEYS, caption_to_scores, scores_to_caption
from iqagpt.predictions import probability_columns
from iqagpt.scored_images import ScoredImages

logger = logging.getLogger(__name__)

#: Images whose 320 captions are scored at once: each needs 80 rows in the last step.
_JOINT_BATCH = 4


@dataclass(frozen=True, slots=True)
class PredictParams:
    """Section ``predict``.

    Attributes
    ----------
    decoding : {"template", "marginal", "greedy", "beam"}
        One of the template's captions: phrase by phrase the most likely given those before it (``template``), or with the score of
        each criterion that is most likely over all 320 captions (``marginal``), so that as many scores as possible are expected to
        be right; or free text, which may leave the template.
    beams : int
        Captions that beam search keeps.
    probabilities : {"conditional", "marginal"}
        Of each score: given the phrases chosen before it, or over all 320 captions.
    max_tokens : int
        Longest free caption in tokens; the template needs up to 75.
    batch_size : int
        Images decoded together.
    """

    decoding: Literal["template", "marginal", "greedy", "beam"]
    beams: int
    probabilities: Literal["conditional", "marginal"]
    max_tokens: int
    batch_size: int

    def __post_init__(self) -> None:
        check_least(self, beams=1, max_tokens=1, batch_size=1)
        if self.decoding == "marginal" and self.probabilities != "marginal":
            raise ValueError(
                f"probabilities: expected marginal with decoding: marginal, which chooses by them, got {self.probabilities}"
            )


@torch.inference_mode()
def generate(
    model: Captioner, tokenizer: CaptionTokenizer, image_tokens: torch.Tensor, *, max_tokens: int, beams: int = 1
) -> list[str]:
    """Caption a batch of images in free text.

    Parameters
    ----------
    model : Captioner
        In evaluation mode.
    tokenizer : CaptionTokenizer
    image_tokens : Tensor, (B, N, width)
        From ``model.encode_image``.
    max_tokens : int
        A caption is cut here if it has not ended by itself.
    beams : int
        Captions kept at every step; 1 is greedy. Of the last ones the most likely is returned, whatever its length.

    Returns
    -------
    list of str
    """
    count, device = len(image_tokens), image_tokens.device
    image_tokens = image_tokens.repeat_interleave(beams, 0)
    cache = model.text.new_cache()
    ids = torch.full((count * beams, 1), tokenizer.begin_id, device=device)
    # All beams of an image begin alike: only the first counts until they differ.
    total = torch.full((count, beams), -math.inf, device=device)
    total[:, 0] = 0.0
    captions = ids[:, :0]
    for _ in range(max_tokens):
        log_p = model.text(ids, image_tokens, cache)[:, -1].log_softmax(-1)
        # What has ended goes on with padding, at no cost; nothing else may.
        ended = (ids == tokenizer.end_id) | (ids == tokenizer.pad_id)
        log_p = log_p.masked_fill(ended, -math.inf)
        log_p[:, tokenizer.pad_id] = torch.where(ended[:, 0], 0.0, -math.inf)
        vocabulary = log_p.shape[1]
        total, best = (total.flatten()[:, None] + log_p).view(count, -1).topk(beams, 1)
        source = (torch.arange(count, device=device)[:, None] * beams + best // vocabulary).flatten()
        ids = (best % vocabulary).view(-1, 1)
        captions = torch.cat([captions[source], ids], 1)
        if beams > 1:
            cache.reorder_cache(source)
        if bool(((ids == tokenizer.end_id) | (ids == tokenizer.pad_id)).all()):
            break
    return [tokenizer.decode(row) for row in captions[::beams].tolist()]


def predict_table(
    model: Captioner, tokenizer: CaptionTokenizer, images: ScoredImages, params: PredictParams, method: str
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Caption every image and read the scores from the captions.

    Returns
    -------
    DataFrame
        The table of predictions: ``image_id, split, method, caption``, the four criteria, ``unparsed``, and a
        probability for every score.
    dict
        ``valid_free_captions``: share of images whose greedy caption states all four criteria readably, 0 to 1. Absent
        without images.
    """
    device = next(model.parameters()).device
    decoder = TemplateDecoder(model, tokenizer)
    captions, probabilities, free = [], [], []
    batches = np.array_split(np.arange(len(images)), math.ceil(len(images) / params.batch_size))
    for indices in tqdm(batches, desc="captions", unit="batch", disable=None):
        with torch.inference_mode():
            batch = model.encode_image(torch.from_numpy(images.batch(indices)).to(device))
        greedy = generate(model, tokenizer, batch, max_tokens=params.max_tokens)
        chosen, of_scores = score_captions(
            decoder, batch, params.probabilities, by_probability=params.decoding == "marginal"
        )
        free += greedy
        probabilities.append(of_scores)
        if params.decoding == "beam":
            captions += generate(model, tokenizer, batch, max_tokens=params.max_tokens, beams=params.beams)
        else:
            captions += greedy if params.decoding == "greedy" else chosen
    table = images.table[["image_id", "split"]].assign(method=method, caption=captions)
    scores = [caption_to_scores(caption) for caption in captions]
    for key in KEYS:
        table[key] = pd.array([s.get(key) for s in scores], dtype="Int64")
    table["unparsed"] = [";".join(key for key in KEYS if key not in s) for s in scores]
    if probabilities:
        table = pd.concat([table, pd.concat(probabilities, ignore_index=True)], axis=1)
    valid = {"valid_free_captions": float(np.mean([len(caption_to_scores(c)) == len(KEYS) for c in free]))}
    return table, valid if free else {}


def score_captions(
    decoder: TemplateDecoder,
    image_tokens: torch.Tensor,
    probabilities: Literal["conditional", "marginal"],
    *,
    by_probability: bool = False,
) -> tuple[list[str], pd.DataFrame]:
    """Give each image the template's caption and a probability for every score.

    Parameters
    ----------
    decoder : TemplateDecoder
        Of a model in evaluation mode.
    image_tokens : Tensor, (B, N, width)
        From ``model.encode_image``.
    probabilities : {"conditional", "marginal"}
        See `PredictParams`.
    by_probability : bool
        State the score of the highest probability for each criterion. Marginal ones are no longer those of the phrases chosen.

    Returns
    -------
    list of str
        Captions, each phrase the most likely one given those before it, or as `by_probability` says.
    DataFrame
        B rows, columns `predictions.probability_columns` of each criterion; rows of a criterion sum to 1.
    """
    phrases = shares = [log_likelihoods.softmax(1) for log_likelihoods in decoder.conditional(image_tokens)]
    if probabilities == "marginal":
        parts = [marginals(decoder.joint(part)) for part in image_tokens.split(_JOINT_BATCH)]
        shares = [torch.cat(of_criterion) for of_criterion in zip(*parts, strict=True)]
    choice = [values.argmax(1).tolist() for values in (shares if by_probability else phrases)]
    captions = [
        scores_to_caption({key: alternatives(key)[index] for key, index in zip(KEYS, row, strict=True)})
        for row in zip(*choice, strict=True)
    ]
    table = pd.DataFrame(
        {
            column: share[:, index].double().cpu().numpy().round(6)
            for key, share in zip(KEYS, shares, strict=True)
            for index, column in enumerate(probability_columns(key))
        }
    )
    return captions, table
