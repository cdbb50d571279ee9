"""What CLIP-IQA and CLIP-IQA+ share: their CLIP, opened or fitted, and how a fitted one scores images from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from iqagpt.artifacts import ArtifactWriter
from iqagpt.clip.builtin import BuiltinParams, fit_builtin
from iqagpt.clip.context import encode_batches
from iqagpt.clip.model import Clip
from iqagpt.clip.quality import Prompts
from iqagpt.clip.stored import FACTS, open_clip, save_clip
from iqagpt.clip.tokens import ClipTokens
from iqagpt.device import pick_device
from iqagpt.predictions import BUILTIN
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer, window_batches

#: Images in one batch; a large CLIP on images of 512 px takes 200 MB an image.
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class ClipParams:
    """Which CLIP, and what it is asked.

    Attributes
    ----------
    weights : str
        ``builtin``: fitted here, to facts of the training images; or a folder that ``iqagpt weights import --clip`` made.
    weights_sha256 : str
        Of the ``weights.safetensors`` in that folder, as the import prints it; empty with ``builtin``. It stands for the folder as
        an input: other weights need another value here, so a change is never missed, though DVC does not watch the folder.
    builtin : BuiltinParams
    prompts : Prompts
    """

    weights: str
    weights_sha256: str
    builtin: BuiltinParams
    prompts: Prompts

    def __post_init__(self) -> None:
        if self.weights == BUILTIN and self.weights_sha256:
            raise ValueError(f"weights_sha256: expected none with weights: builtin, got '{self.weights_sha256}'")
        if self.weights != BUILTIN and len(self.weights_sha256) != 64:
            raise ValueError(
                f"weights_sha256: expected the 64 digits that iqagpt weights import printed for {self.weights}, "
                f"got '{self.weights_sha256}'"
            )


def prepare_clip(
    params: ClipParams, images: ScoredImages, writer: ArtifactWriter
) -> tuple[Clip, ClipTokens, tuple[str, ...]]:
    """Open or fit the CLIP, frozen and on the device to run on, and store it in the baseline's artifact.

    Returns
    -------
    clip : Clip
    tokens : ClipTokens
    facts : tuple of str
        Kinds of facts that it knows: of a builtin one those it was told, of any other all.

    Raises
    ------
    UserError
        If the weights are not there or are others, or there is no image to fit the builtin to.
    """
    device = pick_device()
    if params.weights == BUILTIN:
        fitted = fit_builtin(images, params.builtin, device)
        writer.table("builtin_curve", fitted.curve)
        writer.table("builtin_facts", fitted.known)
        writer.info["source"] = BUILTIN
        clip, tokens, facts = fitted.clip, fitted.tokens, fitted.facts
    else:
        clip, tokens, facts = open_clip(params.weights, params.weights_sha256)
        writer.info["source"] = params.weights_sha256
    writer.info[FACTS] = list(facts)
    save_clip(writer, clip, tokens)
    return clip.to(device), tokens, facts


def clip_scorer(
    clip: Clip, window_hu: tuple[float, float], to_scores: Callable[[torch.Tensor], pd.DataFrame]
) -> Scorer:
    """Return a scorer of images from outside, of any size.

    Parameters
    ----------
    clip : Clip
        On the device to run on.
    window_hu : (lower, upper)
    to_scores : callable
        Unit vectors (N, D) of images to the table of scores.
    """
    device = clip.logit_scale.device

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        batches = window_batches(images_hu, window_hu, TOGETHER)
        return to_scores(encode_batches(clip, (torch.from_numpy(batch).to(device) for batch in batches)))

    return Scorer(score, window_hu, None, "fractional scores")
