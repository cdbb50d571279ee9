"""CLIP-IQA+: 16 learned context vectors around a pair of antonym prompts, one fit per criterion (paper 3.1, Table 3).

Both towers are frozen. Images keep their size.

Notes
-----
Not stated in the paper; the recipe is the captioner's. "No lesion" continues lesion conspicuity as 5, as for ViT-R, and is said
above the score that is right most often on the training images: probabilities of a frozen model stay near the middle, and half
way between 4 and 5 would never be reached.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from iqagpt.artifacts import Artifact, ArtifactWriter, read_json
from iqagpt.baselines.absence import LESION, absence_cut
from iqagpt.baselines.clip_rivals import TOGETHER, ClipParams, clip_scorer, prepare_clip
from iqagpt.clip.context import Seen, encode, fit_context
from iqagpt.clip.model import Clip
from iqagpt.clip.quality import WORST, probabilities, quality_to_score, score_to_quality
from iqagpt.clip.stored import load_clip
from iqagpt.clip.tokens import ClipTokens
from iqagpt.config import check_least
from iqagpt.criteria import KEYS
from iqagpt.criteria import WORST as MOST
from iqagpt.device import pick_device
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer
from iqagpt.training import Recipe

FILE = "directions"


@dataclass(frozen=True, slots=True)
class Params(Recipe):
    """Section ``baseline.clip_iqa_plus``: the `Recipe` of the context, and as below.

    Attributes
    ----------
    context : int
        Learned vectors, 16 as published.
    clip : ClipParams
    """

    context: int
    clip: ClipParams

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        check_least(self, context=1)


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Score the held-out images; see `iqagpt.baselines`."""
    train, val = images.subset("train"), images.subset("val")
    if not len(train):
        raise ArtifactError(
            "no image is in split 'train': give split.test_patients and split.val_patients fewer patients"
        )
    if params.keep == "best" and not len(val):
        raise ParamsError(
            "baseline.clip_iqa_plus.keep: 'best' needs validation patients; set split.val_patients or keep: last"
        )
    clip, tokens, _ = prepare_clip(params.clip, images, writer)
    held_out = images.held_out()
    options = {"batch_size": TOGETHER, "device": pick_device()}
    learned = encode(clip, train, views=8 if params.augment else 1, **options)
    seen = encode(clip, held_out, **options)
    is_val = torch.tensor((held_out.table["split"] == "val").to_numpy(), device=seen.device)
    directions, curves = {}, {}
    for key in KEYS:
        pair = params.clip.prompts.pair(key)
        context, curve = fit_context(
            clip, tokens, pair, train=Seen(learned, _quality(train, key, seen.device)),
            val=Seen(seen[:, is_val], _quality(val, key, seen.device)), recipe=params, count=params.context, name=key,
        )  # fmt: skip
        directions[key] = _directions(clip, tokens, pair, context)
        curves[key] = curve.set_index("epoch")
    writer.table("curve", _side_by_side(curves))
    writer.json(FILE, {key: texts.cpu().tolist() for key, texts in directions.items()})
    absent = train.table[LESION].isna().to_numpy()
    absent_above = absence_cut(_continuous(clip, directions, learned[0])[LESION].to_numpy(), absent)
    writer.info["absent_above"] = absent_above
    return _scores(clip, directions, absent_above, seen[0])


def _side_by_side(curves: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per epoch, a column for each criterion and loss, as DVC's plots need them."""
    table = pd.concat(curves, axis=1)
    table.columns = [f"{key}_{loss}" for key, loss in table.columns]
    return table.reset_index()


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`."""
    clip, _ = load_clip(artifact)
    clip.to(pick_device())
    stored = read_json(artifact.path / f"{FILE}.json")
    directions = {key: torch.tensor(stored[key], device=clip.logit_scale.device) for key in KEYS}
    absent_above = artifact.info["absent_above"]

    def to_scores(seen: torch.Tensor) -> pd.DataFrame:
        return _scores(clip, directions, absent_above, seen)

    return clip_scorer(clip, tuple(artifact.info["window_hu"]), to_scores)


def _quality(images: ScoredImages, key: str, device: torch.device) -> torch.Tensor:
    scores = images.table[key].astype("Float64").fillna(WORST[key]).to_numpy(dtype=float)
    return torch.tensor(score_to_quality(scores, WORST[key]), dtype=torch.float32, device=device)


@torch.no_grad()
def _directions(clip: Clip, tokens: ClipTokens, pair: tuple[str, str], context: torch.Tensor) -> torch.Tensor:
    """Return the unit vectors (2, D) of both texts with their context: all that scoring needs of the text side."""
    ids, slots = (tensor.to(context.device) for tensor in tokens.ids(pair, len(context)))
    return clip.encode_texts(ids, slots, context)


@torch.no_grad()
def _continuous(clip: Clip, directions: dict[str, torch.Tensor], seen: torch.Tensor) -> pd.DataFrame:
    scores = {}
    for key in KEYS:
        quality = probabilities(seen, directions[key], clip.logit_scale.exp())[:, 0].double().cpu().numpy()
        scores[key] = quality_to_score(quality, WORST[key])
    return pd.DataFrame(scores)


def _scores(clip: Clip, directions: dict[str, torch.Tensor], absent_above: float, seen: torch.Tensor) -> pd.DataFrame:
    table = _continuous(clip, directions, seen)
    return table.assign(**{LESION: table[LESION].mask(table[LESION] > absent_above).clip(upper=MOST)})
