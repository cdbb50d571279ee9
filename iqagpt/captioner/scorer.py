"""The captioner as a `Scorer`: images from anywhere to captions and expected scores.

Captions are the template's most likely ones, as with ``predict.decoding: template``; scores are averages over the probabilities
of the four, finer than the whole ones that a caption states.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqagpt.captioner.captioner import load_captioner
from iqagpt.captioner.decoding import score_captions
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.criteria import KEYS, caption_to_scores
from iqagpt.device import pick_device
from iqagpt.predictions import expected_scores
from iqagpt.scorers import Scorer, window_batches

BATCH_SIZE = 8


def load_scorer(path: str | Path) -> Scorer:
    """Load a captioner; see `iqagpt.scorers`.

    Raises
    ------
    ArtifactError
        As `load_captioner`.
    """
    model, tokenizer, artifact = load_captioner(path, pick_device())
    device = next(model.parameters()).device
    decoder = TemplateDecoder(model, tokenizer)
    window_hu = tuple(artifact.info["window_hu"])

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        captions, probabilities = [], []
        for batch in window_batches(images_hu, window_hu, BATCH_SIZE):
            with torch.inference_mode():
                image_tokens = model.encode_image(torch.from_numpy(batch).to(device))
            found = score_captions(decoder, image_tokens, "conditional")
            captions += found[0]
            probabilities.append(found[1])
        table = expected_scores(pd.concat(probabilities, ignore_index=True))
        stated = [caption_to_scores(caption) for caption in captions]
        for key in KEYS:
            absent = np.array([scores[key] is None for scores in stated])
            table[key] = table[key].astype("Float64").mask(absent)
        return table.assign(caption=captions, unparsed="")

    return Scorer(score, window_hu, model.config["image_size"], "expected scores")
