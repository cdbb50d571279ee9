"""CLIP-IQA: zero-shot, one pair of antonym prompts per criterion (Wang et al., AAAI 2023; paper 3.1).

Nothing is fitted to scores. Images keep their size.

Notes
-----
Not stated in the paper; the prompts, and how "no lesion" is found, for which CLIP-IQA has no answer: where a text that says so
is more probable than both lesion prompts; always, with a builtin CLIP that was told nothing of lesions.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.baselines.clip_rivals import TOGETHER, ClipParams, clip_scorer, prepare_clip
from iqagpt.clip.context import encode
from iqagpt.clip.model import Clip
from iqagpt.clip.quality import Prompts, probabilities, quality_to_score
from iqagpt.clip.stored import load_clip
from iqagpt.clip.tokens import ClipTokens
from iqagpt.criteria import KEYS, WORST
from iqagpt.device import pick_device
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer

LESION = "lesion_conspicuity"


@dataclass(frozen=True, slots=True)
class Params(ClipParams):
    """Section ``baseline.clip_iqa``; see `ClipParams`.

    Attributes
    ----------
    no_lesion : str
        The text that says that there is none.
    """

    no_lesion: str

    def __post_init__(self) -> None:
        ClipParams.__post_init__(self)
        if not self.no_lesion.strip():
            raise ValueError(f"no_lesion: expected a text, got {self.no_lesion!r}")


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    clip, tokens, facts = prepare_clip(params, images, writer)
    no_lesion = params.no_lesion if "lesion" in facts else None
    writer.info["prompts"] = {key: list(pair) for key, pair in asdict(params.prompts).items()}
    writer.info["no_lesion"] = no_lesion
    seen = encode(clip, images.held_out(), batch_size=TOGETHER, device=pick_device())[0]
    return zero_shot(clip, tokens, params.prompts, no_lesion, seen)


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    clip, tokens = load_clip(artifact)
    clip.to(pick_device())
    prompts = Prompts(**{key: tuple(pair) for key, pair in artifact.info["prompts"].items()})

    def to_scores(seen: torch.Tensor) -> pd.DataFrame:
        return zero_shot(clip, tokens, prompts, artifact.info["no_lesion"], seen)

    return clip_scorer(clip, tuple(artifact.info["window_hu"]), to_scores)


@torch.no_grad()
def zero_shot(
    clip: Clip, tokens: ClipTokens, prompts: Prompts, no_lesion: str | None, seen: torch.Tensor
) -> pd.DataFrame:
    """Score images by their unit vectors (N, D): the table of the four criteria.

    Where `no_lesion` is None, the CLIP does not know what a lesion is, and no image has one.
    """
    scores = {}
    for key in KEYS:
        quality = _ask(clip, tokens, prompts.pair(key), seen)[:, 0]
        scores[key] = quality_to_score(quality, WORST)
    table = pd.DataFrame(scores)
    if no_lesion is None:
        return table.assign(**{LESION: np.nan})
    answers = _ask(clip, tokens, (*prompts.pair(LESION), no_lesion), seen)
    return table.assign(**{LESION: table[LESION].mask(answers.argmax(axis=1) == 2)})


def _ask(clip: Clip, tokens: ClipTokens, texts: tuple[str, ...], seen: torch.Tensor) -> np.ndarray:
    ids, _ = tokens.ids(texts)
    found = probabilities(seen, clip.encode_texts(ids.to(seen.device)), clip.logit_scale.exp())
    return found.double().cpu().numpy()
