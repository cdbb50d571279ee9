"""Image-only multi-task models on the CLS token: what ViT-C and ViT-R share (paper 3.2, Fig. 5).

The captioner's image encoder, then four groups of two fully connected layers, one group per criterion.
Shapes: images (B, 1, H, W) -> {criterion: (B, outputs)}.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.batches import in_batches, in_order, load_images
from iqagpt.captioner.image_encoder import EncoderParams, build_image_encoder
from iqagpt.captioner.pretrained import open_pretrained
from iqagpt.checkpoints import open_checkpoint
from iqagpt.criteria import KEYS
from iqagpt.device import pick_device
from iqagpt.errors import ArtifactError
from iqagpt.scored_images import ScoredImages
from iqagpt.scorers import Scorer, window_batches
from iqagpt.training import LossFactory, Recipe, build_seeded, fit
from iqagpt.weights import load_weights, save_weights

#: Images from outside in one batch.
SCORED_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class HeadsParams(Recipe):
    """Heads and `Recipe` of an image-only model; its image encoder is that of ``models/pretrained``.

    Attributes
    ----------
    hidden : int
        Width between the two layers of each head. Not stated in the paper.
    """

    hidden: int

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if self.hidden < 1:
            raise ValueError(f"hidden: expected a whole number > 0, got {self.hidden}")


class MultiHeadViT(nn.Module):
    """Image encoder with one two-layer head per criterion on its CLS token."""

    def __init__(self, encoder: EncoderParams, hidden: int, image_size: int, outputs: dict[str, int]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"encoder": asdict(encoder), "hidden": hidden, "image_size": image_size}
        self.image_encoder = build_image_encoder(encoder, image_size)
        self.heads = nn.ModuleDict(
            {
                key: nn.Sequential(nn.Linear(encoder.width, hidden), nn.ReLU(), nn.Linear(hidden, size))
                for key, size in outputs.items()
            }
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs (B, size) of each head."""
        cls = self.image_encoder.forward_features(images)[:, 0]
        return {key: head(cls) for key, head in self.heads.items()}


def fit_heads(
    params: HeadsParams,
    images: ScoredImages,
    pretrained: Path,
    outputs: dict[str, int],
    make_loss: LossFactory,
    writer: ArtifactWriter,
    asked: Sequence[ScoredImages],
) -> list[dict[str, np.ndarray]]:
    """Fit a model on ``train``, store it, and return its raw outputs for some of the images.

    Returns
    -------
    list of dict
        For each of `asked`: (N, size), float32, per criterion.
    """
    first = open_pretrained(pretrained)
    model = build_seeded(lambda: MultiHeadViT(first.encoder, params.hidden, images.image_size, outputs), params.seed)
    first.start(model)
    train, val = images.subset("train"), images.subset("val")
    checkpoint = open_checkpoint()
    curve = fit(model, make_loss, train=train, val=val, recipe=params, device=pick_device(), checkpoint=checkpoint)
    save_weights(writer, model)
    writer.info["config"] = model.config
    writer.table("curve", curve)
    found = []
    for part in asked:
        draws = [in_order(len(part))[batch] for batch in in_batches(len(part), params.batch_size)]
        batches = tqdm(load_images(part, draws, pick_device()), "scores", len(draws), unit="batch", disable=None)
        found.append(_run(model, batches))
    checkpoint.remove()
    return found


def load_heads(
    artifact: Artifact, outputs: dict[str, int], to_scores: Callable[[dict[str, np.ndarray]], pd.DataFrame], scale: str
) -> Scorer:
    """Load a model that `fit_heads` stored.

    Parameters
    ----------
    artifact : Artifact
    outputs : dict
        As for `fit_heads`.
    to_scores : callable
        Raw outputs (N, size) by criterion to the table of scores.
    scale : str
        See `Scorer`.

    Raises
    ------
    ArtifactError
        If files are missing, or the weights are not those the configuration was written for.
    """
    model = open_heads(artifact, outputs)
    window_hu = tuple(artifact.info["window_hu"])

    def score(images_hu: Sequence[np.ndarray]) -> pd.DataFrame:
        return to_scores(_run(model, window_batches(images_hu, window_hu, SCORED_TOGETHER)))

    return Scorer(score, window_hu, model.config["image_size"], scale)


def open_heads(artifact: Artifact, outputs: dict[str, int]) -> MultiHeadViT:
    """Return the network that `fit_heads` stored, on the device, in evaluation mode.

    Parameters
    ----------
    artifact, outputs
        As for `load_heads`.

    Raises
    ------
    ArtifactError
        As `load_heads`.
    """
    config = artifact.info.get("config")
    if config is None:
        raise ArtifactError(f"{artifact.path}: no configuration in artifact.json (an older version's); run dvc repro")
    model = MultiHeadViT(EncoderParams(**config["encoder"]), config["hidden"], config["image_size"], outputs)
    load_weights(artifact, model)
    return model.to(pick_device()).eval()


def score_classes(table: pd.DataFrame, no_lesion: int) -> torch.Tensor:
    """Return scores as whole numbers (N, 4), int64, with `no_lesion` standing for an absent lesion score."""
    return torch.tensor(table[list(KEYS)].astype("Int64").fillna(no_lesion).to_numpy(dtype=np.int64))


@torch.inference_mode()
def _run(model: nn.Module, batches: Iterable[np.ndarray | torch.Tensor]) -> dict[str, np.ndarray]:
    device = next(model.parameters()).device
    parts = [model(torch.as_tensor(batch).to(device)) for batch in batches]
    return {key: torch.cat([part[key] for part in parts]).float().cpu().numpy() for key in KEYS}
