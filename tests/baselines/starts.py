"""Folders that captioner, ViTs and MiniGPT-4 start from, as stage ``pretrain`` writes them."""

from collections.abc import Mapping
from pathlib import Path

import torch

from iqagpt.artifacts import create_artifact
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.pretrained import KIND, save_pretrained
from iqagpt.captioner.text_stack import TextParams
from iqagpt.weights import save_tensors

ENCODER = EncoderParams("conv", 16, 32, 1, 2)


def write_start(
    folder: Path, encoder: EncoderParams = ENCODER, tensors: Mapping[str, torch.Tensor] | None = None
) -> Path:
    """Write the geometry, and weights if there are any; return the folder."""
    with create_artifact(folder, KIND) as writer:
        save_pretrained(writer, encoder, TextParams(32, 1, 1, 2, 64, 0.0))
        if tensors is not None:
            save_tensors(writer, tensors)
    return folder
