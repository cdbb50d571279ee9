"""The captioner: image encoder plus text stack, and how it is stored (paper 2.2, Fig. 3 left)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iqagpt.artifacts import Artifact, ArtifactWriter, open_artifact
from iqagpt.captioner.image_encoder import EncoderParams, build_image_encoder
from iqagpt.captioner.text_stack import TextParams, TextStack
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.weights import load_weights, save_weights

KIND = "captioner"


class Captioner(nn.Module):
    """Image (B, 1, H, W) in [0, 1] and token ids (B, T) to next-token logits (B, T, vocabulary)."""

    def __init__(self, encoder: EncoderParams, text: TextParams, *, image_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "encoder": asdict(encoder),
            "text": asdict(text),
            "image_size": image_size,
            "vocabulary_size": vocabulary_size,
        }
        self.image_encoder = build_image_encoder(encoder, image_size)
        self.text = TextStack(text, vocabulary_size, encoder.width)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Return image tokens (B, 1 + N, width)."""
        return self.image_encoder.forward_features(images)

    def forward(self, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (B, T, vocabulary) for the token after each of `ids`."""
        return self.text(ids, self.encode_image(images))


def save_captioner(writer: ArtifactWriter, model: Captioner, tokenizer: CaptionTokenizer) -> None:
    """Write weights, configuration with their sha256, and the tokenizer into an artifact."""
    save_weights(writer, model)
    writer.info["config"] = model.config
    tokenizer.save(writer.path)


def load_captioner(path: str | Path, device: torch.device) -> tuple[Captioner, CaptionTokenizer, Artifact]:
    """Load a captioner that `save_captioner` wrote, in evaluation mode.

    Raises
    ------
    ArtifactError
        If files are missing, or the weights are not those the configuration was written for.
    """
    artifact = open_artifact(path, KIND)
    config = artifact.info["config"]
    model = Captioner(
        EncoderParams(**config["encoder"]),
        TextParams(**config["text"]),
        image_size=config["image_size"],
        vocabulary_size=config["vocabulary_size"],
    )
    load_weights(artifact, model)
    return model.to(device).eval(), CaptionTokenizer.load(artifact.path), artifact
