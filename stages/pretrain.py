"""Geometry and first weights of the captioner: random, pre-trained here, or from a checkpoint.

Reads ``data/variants``, ``data/captions``, ``data/split`` and what ``pretrain.weights`` names, writes ``models/pretrained``.
Command: ``python -m stages.pretrain --variants data/variants --captions data/captions --split data/split --output
models/pretrained --metrics metrics/pretrain.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, write_metrics
from iqagpt.captioner.pretrained import KIND
from iqagpt.captioner.pretraining import PretrainParams, make_pretrained
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.checkpoints import open_checkpoint
from iqagpt.config import load_section
from iqagpt.device import pick_device
from iqagpt.scored_images import open_scored_images
from iqagpt.stage import stage_app


def main(
    variants: Annotated[Path, typer.Option(help="Artifact of image variants.")],
    captions: Annotated[Path, typer.Option(help="Artifact of captions.")],
    split: Annotated[Path, typer.Option(help="Artifact of the split.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Pre-train the captioner, or take its weights from a checkpoint, or state that it starts at random."""
    section = load_section(params, "pretrain", PretrainParams)
    images = open_scored_images(variants, split, captions)
    tokenizer, checkpoint = CaptionTokenizer.load(captions), open_checkpoint()
    with create_artifact(output, KIND) as writer:
        result = make_pretrained(section, images, tokenizer, pick_device(), writer, checkpoint)
    write_metrics(metrics, result)
    checkpoint.remove()


app = stage_app(main)

if __name__ == "__main__":
    app()
