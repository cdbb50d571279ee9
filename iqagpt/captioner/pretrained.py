"""What fine-tuning starts from: the geometry of the captioner and, unless it starts at random, weights (paper 2.2).

Written by stage ``pretrain`` as ``models/pretrained``; `train` starts the captioner from it, ViT-C and ViT-R their image
encoder (paper 3.2: "the same pre-trained image encoder"). The geometry is stated in section ``pretrain`` alone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from iqagpt.artifacts import ArtifactWriter, open_artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.errors import ArtifactError
from iqagpt.weights import read_weights, save_weights

KIND = "pretrained"
#: What the captioner has and the image-only models do not.
_TEXT = "text."


@dataclass(frozen=True)
class Pretrained:
    """Geometry, and the weights to start from.

    Attributes
    ----------
    encoder : EncoderParams
    text : TextParams
    tensors : dict of str to Tensor
        Of a `Captioner`, by name; empty where fine-tuning starts at random.
    """

    encoder: EncoderParams
    text: TextParams
    tensors: dict[str, torch.Tensor]

    def start(self, model: nn.Module) -> None:
        """Load the weights into a `Captioner`, or its image encoder's into a model that has one of that name.

        Raises
        ------
        ArtifactError
            If a weight that the model shares with the captioner is missing or of another shape.
        """
        if not self.tensors:
            return
        own = _named(model)
        shared = {name for name in own if name.startswith(("image_encoder.", _TEXT))}
        unfit = sorted(n for n in shared if n not in self.tensors or self.tensors[n].shape != own[n].shape)
        if unfit:
            raise ArtifactError(
                f"models/pretrained: {len(unfit)} weights do not fit the model, '{unfit[0]}' first; image size or "
                "vocabulary has changed since: run dvc repro pretrain"
            )
        with torch.no_grad():
            for name in shared:
                own[name].copy_(self.tensors[name])


def save_pretrained(
    writer: ArtifactWriter, encoder: EncoderParams, text: TextParams, model: Captioner | None = None
) -> None:
    """Write the geometry, and the weights of `model` where fine-tuning is not to start at random."""
    writer.info["config"] = {"encoder": asdict(encoder), "text": asdict(text)}
    if model is not None:
        save_weights(writer, model)


def open_pretrained(path: str | Path) -> Pretrained:
    """Read what `save_pretrained` wrote.

    Raises
    ------
    ArtifactError
        If it is missing, incomplete or altered.
    """
    artifact = open_artifact(path, KIND)
    config = artifact.info["config"]
    tensors = read_weights(artifact) if "weights_sha256" in artifact.info else {}
    return Pretrained(EncoderParams(**config["encoder"]), TextParams(**config["text"]), tensors)


def _named(model: nn.Module) -> dict[str, torch.Tensor]:
    # Each stored tensor once: a tied head has one name, and constants such as position numbers are not stored.
    stored = model.state_dict().keys()
    return {n: tensor for n, tensor in (*model.named_parameters(), *model.named_buffers()) if n in stored}
