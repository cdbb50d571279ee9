"""A vision-language model behind an OpenAI-compatible endpoint, which looks at the images themselves.

Zero-shot, or after some examples of the training split with their captions. Nothing is fitted. Images leave this machine as
windowed PNG without metadata, and only if the user says so, ``allow_images: true``. Answers are kept outside the stage's outputs
(`iqagpt.baselines.endpoint_answers`), so that a rerun, or one after a failure, asks only what has not been answered.

Notes
-----
Not in the paper's tables. The prompt is ours; it gives the scales and the template and asks for nothing else.
"""

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from iqagpt.artifacts import ArtifactWriter
from iqagpt.baselines.endpoint_answers import Asking, ask_all
from iqagpt.baselines.predictions import read_captions
from iqagpt.config import check_least
from iqagpt.criteria import BEST, CRITERIA, SCORES, WORST, scores_to_caption
from iqagpt.ct import apply_window
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng

logger = logging.getLogger(__name__)

#: Stands in params for what the user has not named.
NONE = "none"
_ROLE = (
    "You are a radiologist who assesses the quality of abdominal CT images, each one axial slice in a soft-tissue window. "
    "Score what you see in this image alone. This is for research; no diagnosis is asked for."
)


@dataclass(frozen=True, slots=True)
class Params:
    """Section ``baseline.gpt4v``.

    Attributes
    ----------
    allow_images : bool
        The user's word that images of val and test, and the examples, may leave this machine.
    endpoint, model : str
        Base URL and the model's name there; ``none``: not named yet. The key comes from ``OPENAI_API_KEY``.
    examples : int
        Images of ``train`` shown with their captions before each question; 0: zero-shot.
    image_side : int
        Longest side in pixels of an image sent; larger ones are resized.
    timeout_s : float
        For one answer, retries included.
    max_retries : int
        After connection errors, 408, 409, 429 and 5xx.
    parallel : int
        Questions at once.
    max_calls : int
        Questions in one run of the stage; then it stops.
    deadline_s : float
        For one run of the stage; then it stops.
    seed : int
        Of the choice of examples.
    """

    allow_images: bool
    endpoint: str
    model: str
    examples: int
    image_side: int
    timeout_s: float
    max_retries: int
    parallel: int
    max_calls: int
    deadline_s: float
    seed: int

    def __post_init__(self) -> None:
        check_least(self, examples=0, image_side=32, max_retries=0, parallel=1, max_calls=1, seed=0)
        for name in ("timeout_s", "deadline_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected seconds > 0, got {getattr(self, name)}")
        if self.endpoint != NONE and not self.endpoint.startswith(("https://", "http://")):
            raise ValueError(f"endpoint: expected a URL such as https://api.openai.com/v1, got '{self.endpoint}'")

    def check_enabled(self) -> None:
        """Refuse to run unless the user has named the endpoint and allowed images to go there.

        Raises
        ------
        ParamsError
            If anything is missing.
        """
        for name in ("endpoint", "model"):
            if getattr(self, name) == NONE:
                raise ParamsError(
                    f"baseline.gpt4v.{name}: not named, and evaluate.baselines has gpt4v; name it, or leave gpt4v out"
                )
        if not self.allow_images:
            raise ParamsError(
                f"baseline.gpt4v.allow_images: false, so no image may leave this machine; gpt4v would send images to "
                f"{self.endpoint}. Set it to true if your data may go there, or leave gpt4v out of evaluate.baselines"
            )


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Ask about the held-out images and read the scores from the answers; see `iqagpt.baselines`."""
    params.check_enabled()
    chosen = choose_examples(images.subset("train"), params.examples, params.seed)
    shown = _conversation(chosen, params.image_side)
    held_out = images.held_out()
    asking = Asking(
        endpoint=params.endpoint, model=params.model, timeout_s=params.timeout_s, max_retries=params.max_retries,
        parallel=params.parallel, max_calls=params.max_calls, deadline_s=params.deadline_s,
    )  # fmt: skip
    # One at a time: a thousand images as text would fill the memory.
    questions = ([*shown, _question(held_out, index, params.image_side)] for index in range(len(held_out)))
    answers = ask_all(asking, questions, len(held_out))
    table = read_captions([" ".join(answer.text.split()) for answer in answers])
    kinds = pd.Series([answer.kind for answer in answers], dtype=str)
    writer.table("answers", held_out.table[["image_id"]].assign(kind=kinds.to_numpy()))
    writer.table("examples", chosen.table[["image_id", "caption"]])
    writer.info.update(endpoint=params.endpoint, model=params.model, refused=int((kinds == "refusal").sum()))
    logger.info("unparsed: %.1f %% of %d answers", 100 * (table["unparsed"] != "").mean(), len(table))
    return table


def choose_examples(train: ScoredImages, count: int, seed: int) -> ScoredImages:
    """Choose images of the training split that differ in their scores.

    Each next one has the noise score, then the caption, that occurs least among those chosen; ties are drawn.

    Raises
    ------
    ArtifactError
        If there are fewer images than asked for.
    """
    if count > len(train):
        raise ArtifactError(
            f"baseline.gpt4v.examples: {count}, and split 'train' has {len(train)} images; ask for fewer"
        )
    left = list(item_rng(seed, "examples").permutation(len(train)))
    chosen: list[int] = []
    for _ in range(count):
        noise, captions = (train.table[name].iloc[chosen].tolist() for name in ("noise", "caption"))
        rows = train.table.iloc[left]
        rank = [(noise.count(n), captions.count(c)) for n, c in zip(rows["noise"], rows["caption"], strict=True)]
        chosen.append(left.pop(rank.index(min(rank))))
    return ScoredImages(train.table.iloc[chosen].reset_index(drop=True), train.variants)


def png(image_hu: np.ndarray, window_hu: tuple[float, float], side: int) -> bytes:
    """Return an image (H, W) in HU as an 8-bit grey PNG: pixels in the window, and nothing else.

    Parameters
    ----------
    image_hu : ndarray, (H, W), HU
    window_hu : (lower, upper)
        Black and white.
    side : int
        Longest side in pixels; larger images are resized.
    """
    picture = Image.fromarray(np.rint(apply_window(image_hu, window_hu) * 255).astype(np.uint8))
    picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def instructions() -> str:
    """Return the scales and the form of the answer, as each question gives them."""
    scales = []
    for criterion in CRITERIA:
        steps = [f'{score}: "{words}"' for score, words in zip(SCORES, criterion.descriptions, strict=True)]
        absent = [f'without a lesion: "{criterion.absent}"'] if criterion.absent else []
        scales.append(f"{criterion.title}: {'; '.join([*steps, *absent])}")
    form = "; ".join(f"{criterion.title}: DESCRIPTION" for criterion in CRITERIA)
    example = scores_to_caption({c.key: None if c.absent else BEST for c in CRITERIA})
    return (
        f"Assess this image by four criteria, from {BEST} (best) to {WORST} (worst), in these words:\n"
        + "\n".join(scales)
        + f"\n\nAnswer in one line and nothing else, with the words of the scales in place of DESCRIPTION:\n{form}\n"
        + f"For instance: {example}"
    )


def _conversation(examples: ScoredImages, side: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": _ROLE}]
    for index, caption in enumerate(examples.table["caption"]):
        messages += [_question(examples, index, side), {"role": "assistant", "content": caption}]
    return messages


def _question(images: ScoredImages, index: int, side: int) -> dict[str, Any]:
    data = base64.b64encode(png(images.pixels_hu(index), images.window_hu, side)).decode()
    return {
        "role": "user",
        "content": [
            {"type": "text", "text": instructions()},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        ],
    }
