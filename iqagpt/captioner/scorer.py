"""The captioner as a `Scorer`: images from anywhere to captions, and scores read from them.

Captions are the template's most likely ones, as with ``predict.decoding: template``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqagpt.captioner.captioner import load_captioner
from iqagpt.captioner.decoding import score_captions
from iqagpt.captioner.template import CaptionTree
from iqagpt.criteria import KEYS, caption_to_scores
from iqagpt.device import pick_device
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
    tree = CaptionTree(tokenizer, device)
    window_hu = tuple(artifact.info["window_hu"])

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        captions: list[str] = []
        for batch in window_batches(images_hu, window_hu, BATCH_SIZE):
            with torch.inference_mode():
                image_tokens = model.encode_image(torch.from_numpy(batch).to(device))
            captions += score_captions(model, tree, image_tokens, "conditional")[0]
        return read_captions(captions)

    return Scorer(score, window_hu, model.config["image_size"], "whole scores")


def read_captions(captions: list[str]) -> pd.DataFrame:
    """Return the four criteria read from captions, with ``caption`` and ``unparsed``."""
    scores = [caption_to_scores(caption) for caption in captions]
    table = pd.DataFrame({key: pd.array([s.get(key) for s in scores], dtype="Float64") for key in KEYS})
    return table.assign(caption=captions, unparsed=[";".join(k for k in KEYS if k not in s) for s in scores])
