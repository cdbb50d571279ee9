"""MiniGPT-4: a frozen image encoder and a frozen language model, with one trained projection between them (paper 3.1, Table 1).

Its captions are free text: a criterion that it does not state in the template's words counts as unparsed, and is wrong. With
``model: presets/none.txt`` the frozen models are the small ``builtin`` pair, otherwise BLIP-2's or InstructBLIP's.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.baselines.predictions import read_captions
from iqagpt.batches import in_batches, in_order, load_images
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.pretrained import Pretrained, open_pretrained
from iqagpt.config import check_least, given_file
from iqagpt.device import mixed_precision, pick_device
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.minigpt.blip import load_frozen, read_projection
from iqagpt.minigpt.bridge import TRAINED, Bridge, list_trained
from iqagpt.minigpt.builtin import (
    LanguageParams,
    PatchEyes,
    build_word_tokenizer,
    train_language_model,
    wrap_tokenizer,
)
from iqagpt.minigpt.fitting import Learned, StageTwo, encode, fit_projection
from iqagpt.predictions import BUILTIN
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer, window_batches
from iqagpt.training import build_seeded
from iqagpt.weights import load_weights, read_weights, save_tensors, save_weights

logger = logging.getLogger(__name__)

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class BuiltinParams(LanguageParams):
    """The language model of the builtin pair, and the projection's first stage.

    Attributes
    ----------
    first_steps : int
        Steps of the first stage; 0: none. MiniGPT-4 has it on other pairs of image and text; here it is on the same.
    first_lr : float
        At its start; it ends at four fifths, as in MiniGPT-4.
    """

    first_steps: int
    first_lr: float

    def __post_init__(self) -> None:
        LanguageParams.__post_init__(self)
        check_least(self, first_steps=0)
        if not self.first_lr > 0:
            raise ValueError(f"first_lr: expected a number > 0, got {self.first_lr}")


@dataclass(frozen=True, slots=True)
class Params(StageTwo):
    """Section ``baseline.minigpt4``; see `StageTwo`.

    Attributes
    ----------
    model : str
        Folder of a BLIP-2 or InstructBLIP model, or ``hub:OWNER/NAME``; ``presets/none.txt`` for the builtin pair.
    language_model : str
        Folder or ``hub:`` name of a causal language model in place of that model's own; ``presets/none.txt`` for its own.
    projection : str
        MiniGPT-4 checkpoint whose projection the fit starts from; ``presets/none.txt`` for a random one.
    max_tokens : int
        Longest description.
    describe_batch : int
        Images described together.
    builtin : BuiltinParams
    """

    model: str
    language_model: str
    projection: str
    max_tokens: int
    describe_batch: int
    builtin: BuiltinParams

    def __post_init__(self) -> None:
        StageTwo.__post_init__(self)
        check_least(self, max_tokens=1, describe_batch=1)
        if given_file(self.model) is None:
            for name in ("language_model", "projection"):
                if given_file(getattr(self, name)) is not None:
                    raise ValueError(f"{name}: '{getattr(self, name)}' needs baseline.minigpt4.model, which names none")


def fit_predict(params: Params, images: ScoredImages, pretrained: Path, writer: ArtifactWriter) -> pd.DataFrame:
    """Describe the held-out images and read the scores from what is said; see `iqagpt.baselines`."""
    device, train, val = pick_device(), images.subset("train"), images.subset("val")
    if not len(train):
        raise ArtifactError("no image is in split 'train': give split.test_patients and split.val_patients fewer")
    builtin, start = given_file(params.model) is None, open_pretrained(pretrained)
    model = _builtin(params, train, start, device, writer) if builtin else _given(params, device)
    trained = list_trained(model)
    learned, checked = (Learned(model.eyes, part, device) for part in (train, val))
    curve = [
        fit_projection(model, recipe, train=learned, val=checked, device=device).assign(stage=stage)
        for stage, recipe in _stages(params)
    ]
    # Epochs count on from stage to stage, so that a plot over them is one line.
    writer.table("curve", pd.concat(curve).assign(epoch=range(1, sum(map(len, curve)) + 1)))
    _save(model, params, images.image_size, start, writer)
    writer.info["trained"] = trained
    writer.info["source"] = BUILTIN if builtin else params.model
    held_out = images.held_out()
    draws = [in_order(len(held_out))[batch] for batch in in_batches(len(held_out), params.describe_batch)]
    table = read_captions(_describe(model, load_images(held_out, draws, device), params.max_tokens))
    logger.info("unparsed: %.1f %% of %d descriptions", 100 * (table["unparsed"] != "").mean(), len(table))
    return table


def load_scorer(artifact: Artifact) -> Scorer:
    """Load what `fit_predict` wrote; see `iqagpt.scorers`. Models from outside must still lie where they lay.

    Raises
    ------
    UserError
        If files are missing, or the weights are not those the configuration was written for.
    """
    config = artifact.info.get("config")
    if config is None:
        raise ArtifactError(f"{artifact.path}: no configuration in artifact.json; run dvc repro baseline@minigpt4")
    device = pick_device()
    model = _load_builtin(artifact, config) if "encoder" in config else _load_given(artifact, config, device)
    model.to(device).eval()
    window_hu, together = tuple(artifact.info["window_hu"]), config["describe_batch"]

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        same_size = together if len({image.shape for image in images_hu}) == 1 else 1
        batches = (torch.from_numpy(b).to(device) for b in window_batches(images_hu, window_hu, same_size))
        return read_captions(_describe(model, batches, config["max_tokens"]))

    return Scorer(score, window_hu, config.get("image_size"), "whole scores")


def _builtin(
    params: Params, train: ScoredImages, pretrained: Pretrained, device: torch.device, writer: ArtifactWriter
) -> Bridge:
    eyes = build_seeded(lambda: PatchEyes(pretrained.encoder, train.image_size), params.seed)
    pretrained.start(eyes)
    if not pretrained.tensors:
        logger.warning(
            "models/pretrained holds no weights (pretrain.source: none): the image encoder is frozen as it is "
            "initialised at random"
        )
    captions = list(train.table["caption"])
    tokenizer = build_word_tokenizer(captions)
    language, curve = train_language_model(
        params.builtin, captions, tokenizer, context=eyes.count, seed=params.seed, device=device
    )
    writer.table("language_model_curve", curve)
    return build_seeded(lambda: Bridge(eyes, language, tokenizer), params.seed).to(device)


def _given(params: Params, device: torch.device) -> Bridge:
    own = given_file(params.language_model) is None
    frozen = load_frozen(params.model, None if own else params.language_model, device)
    model = build_seeded(lambda: Bridge(*frozen), params.seed)
    file = given_file(params.projection)
    if file is not None:
        if not file.is_file():
            raise ParamsError(f"baseline.minigpt4.projection: no such file '{file}'; presets/none.txt says none")
        read_projection(file, model.projection)
    return model.to(device)


def _stages(params: Params) -> list[tuple[int, StageTwo]]:
    if given_file(params.model) is not None or not params.builtin.first_steps:
        return [(2, params)]
    lr = params.builtin.first_lr
    first = replace(params, epochs=1, iterations=params.builtin.first_steps, lr=lr, min_lr=0.8 * lr, warmup_steps=0)
    return [(1, first), (2, params)]


@torch.inference_mode()
def _describe(model: Bridge, batches: Iterable[torch.Tensor], max_tokens: int) -> list[str]:
    captions: list[str] = []
    for images in batches:
        features = encode(model.eyes, images).float()
        with mixed_precision(images.device):
            captions += model.describe(features, max_tokens)
    return captions


def _save(model: Bridge, params: Params, image_size: int, pretrained: Pretrained, writer: ArtifactWriter) -> None:
    config: dict[str, Any] = {"max_tokens": params.max_tokens, "describe_batch": params.describe_batch}
    if given_file(params.model) is None:
        save_weights(writer, model)
        model.tokenizer.backend_tokenizer.save(str(writer.path / _TOKENIZER), pretty=True)
        config |= {"encoder": asdict(pretrained.encoder), "image_size": image_size}
        config["language_model"] = model.language_model.config.to_diff_dict()
    else:
        save_tensors(writer, {name: model.get_parameter(name) for name in TRAINED})
        config |= {"model": params.model, "language_model": params.language_model}
    writer.info["config"] = config


def _load_builtin(artifact: Artifact, config: dict[str, Any]) -> Bridge:
    file = artifact.path / _TOKENIZER
    if not file.is_file():
        raise ArtifactError(f"{file}: missing; run dvc repro baseline@minigpt4")
    eyes = PatchEyes(EncoderParams(**config["encoder"]), config["image_size"])
    language = LlamaForCausalLM(LlamaConfig.from_dict(config["language_model"]))
    model = Bridge(eyes, language, wrap_tokenizer(Tokenizer.from_file(str(file))))
    load_weights(artifact, model)
    return model


def _load_given(artifact: Artifact, config: dict[str, Any], device: torch.device) -> Bridge:
    own = given_file(config["language_model"]) is None
    model = Bridge(*load_frozen(config["model"], None if own else config["language_model"], device))
    tensors = read_weights(artifact)
    for name in TRAINED:
        parameter = model.get_parameter(name)
        if name not in tensors or tensors[name].shape != parameter.shape:
            raise ArtifactError(f"{artifact.path}: its projection does not fit {config['model']}; run dvc repro")
        parameter.data.copy_(tensors[name])
    return model
