"""Fit one baseline and let it predict.  Reads what ``train`` reads; writes ``models/baseline/NAME`` and its predictions.

Command: ``python -m stages.baseline vit_c --variants data/variants --captions data/captions --split data/split
--pairs data/pairs --pretrained models/pretrained --output models/baseline/vit_c --predictions predictions/vit_c.csv``
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, write_table
from iqagpt.baselines.predictions import prediction_table
from iqagpt.config import load_section
from iqagpt.scored_images import open_scored_images
from iqagpt.stage import stage_app


def main(
    name: Annotated[
        str, typer.Argument(help="Baseline: a module of iqagpt.baselines, as enabled in evaluate.baselines.")
    ],
    variants: Annotated[Path, typer.Option(help="Artifact of image variants.")],
    captions: Annotated[Path, typer.Option(help="Artifact of captions.")],
    split: Annotated[Path, typer.Option(help="Artifact of the split.")],
    pretrained: Annotated[Path, typer.Option(help="Artifact that image encoders start from.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    predictions: Annotated[Path, typer.Option(help="Table to write.")],
    pairs: Annotated[Path | None, typer.Option(help="Artifact of pairs: organ maps, for the builtin CLIP.")] = None,
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Fit one baseline on the training images and let it score the val and test images."""
    module = import_module(f"iqagpt.baselines.{name}")
    section = load_section(params, f"baseline.{name}", module.Params)
    images = open_scored_images(variants, split, captions, pairs)
    with create_artifact(output, "baseline") as writer:
        scores = module.fit_predict(section, images, pretrained, writer)
        writer.info.update(name=name, window_hu=list(images.window_hu))
    write_table(predictions, prediction_table(images.held_out(), scores, name, writer.info.get("source")))


app = stage_app(main)

if __name__ == "__main__":
    app()
