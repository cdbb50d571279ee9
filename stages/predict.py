"""Caption the val and test images.  Reads ``models/iqagpt``, ``data/variants``, ``data/split``; writes predictions.

Command: ``python -m stages.predict --model models/iqagpt --variants data/variants --split data/split --output
predictions/iqagpt.csv --metrics metrics/predict.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import write_metrics, write_table
from iqagpt.captioner.captioner import load_captioner
from iqagpt.captioner.decoding import PredictParams, predict_table
from iqagpt.config import load_section
from iqagpt.device import pick_device
from iqagpt.scored_images import open_scored_images
from iqagpt.stage import stage_app


def main(
    model: Annotated[Path, typer.Option(help="Artifact of the captioner.")],
    variants: Annotated[Path, typer.Option(help="Artifact of image variants.")],
    split: Annotated[Path, typer.Option(help="Artifact of the split.")],
    output: Annotated[Path, typer.Option(help="Table to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Caption the val and test images and read the scores from the captions."""
    section = load_section(params, "predict", PredictParams)
    captioner, tokenizer, _ = load_captioner(model, pick_device())
    images = open_scored_images(variants, split).held_out()
    table, valid = predict_table(captioner, tokenizer, images, section, "iqagpt")
    write_table(output, table)
    write_metrics(metrics, valid)


app = stage_app(main)

if __name__ == "__main__":
    app()
