"""CLIP in a folder: weights, geometry, tokenizer."""

from pathlib import Path

import torch

from iqagpt.artifacts import Artifact, ArtifactWriter, open_artifact
from iqagpt.clip.facts import KINDS
from iqagpt.clip.model import Clip
from iqagpt.clip.tokens import ClipTokens, load_tokens
from iqagpt.errors import ArtifactError, InputError
from iqagpt.weights import load_weights, save_weights

#: Kind of artifact that ``iqagpt weights import --clip`` writes.
KIND = "clip"
CONFIG = "clip"
#: Kinds of facts that a builtin CLIP was told, in the artifact of its baseline.
FACTS = "facts"


def save_clip(writer: ArtifactWriter, clip: Clip, tokens: ClipTokens) -> None:
    """Write a CLIP into an artifact."""
    save_weights(writer, clip)
    tokens.save(writer.path)
    writer.info[CONFIG] = clip.config


def load_clip(artifact: Artifact) -> tuple[Clip, ClipTokens]:
    """Read what `save_clip` wrote; the model is in evaluation mode and frozen.

    Raises
    ------
    ArtifactError
        If files are missing or altered.
    """
    config = artifact.info.get(CONFIG)
    if config is None:
        raise ArtifactError(f"{artifact.path}: no CLIP inside; iqagpt weights import --clip makes such a folder")
    with torch.random.fork_rng(devices=[]):
        clip = Clip.from_config(config)
    load_weights(artifact, clip)
    return frozen(clip), load_tokens(artifact.path)


def open_clip(path: str, sha256: str) -> tuple[Clip, ClipTokens, tuple[str, ...]]:
    """Open imported weights, or those of a fitted CLIP-IQA.

    Parameters
    ----------
    path : str
        A folder that ``iqagpt weights import --clip`` made, or a fitted baseline's.
    sha256 : str
        What its ``weights.safetensors`` must have.

    Returns
    -------
    clip : Clip
    tokens : ClipTokens
    facts : tuple of str
        Kinds of facts that it knows; all, unless it is a builtin one that was told fewer.

    Raises
    ------
    InputError
        If there is no such folder, or its weights are others.
    """
    folder = Path(path)
    kinds = (KIND, "baseline")
    for kind in kinds:
        try:
            artifact = open_artifact(folder, kind)
        except ArtifactError as error:
            if kind == kinds[-1]:
                raise InputError(
                    f"weights: {folder}: no CLIP; expected 'builtin' or a folder that iqagpt weights import --clip made"
                ) from error
            continue
        break
    found = artifact.info.get("weights_sha256", "")
    if found != sha256:
        raise InputError(
            f"weights_sha256: {folder} has '{found}', got '{sha256}'; set it to the former if these are meant"
        )
    return *load_clip(artifact), tuple(artifact.info.get(FACTS, KINDS))


def frozen(clip: Clip) -> Clip:
    """Return the model in evaluation mode, with no parameter that can learn."""
    return clip.eval().requires_grad_(False)
