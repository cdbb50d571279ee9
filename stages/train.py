"""Fine-tune the captioner.

Reads ``data/variants``, ``data/captions``, ``data/split``, ``models/pretrained``, writes ``models/iqagpt``.
Command: ``python -m stages.train --variants data/variants --captions data/captions --split data/split --pretrained
models/pretrained --output models/iqagpt --metrics metrics/train.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, write_metrics
from iqagpt.captioner.captioner import KIND, save_captioner
from iqagpt.captioner.fitting import TrainParams, fit_captioner
from iqagpt.captioner.pretrained import open_pretrained
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.checkpoints import open_checkpoint
from iqagpt.config import load_section
from iqagpt.device import pick_device
from iqagpt.processes import process_group
from iqagpt.scored_images import open_scored_images
from iqagpt.stage import stage_app
from iqagpt.training import summarise_curve


def main(
    variants: Annotated[Path, typer.Option(help="Artifact of image variants.")],
    captions: Annotated[Path, typer.Option(help="Artifact of captions.")],
    split: Annotated[Path, typer.Option(help="Artifact of the split.")],
    pretrained: Annotated[Path, typer.Option(help="Artifact to start from.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Fine-tune the image quality captioner by next-token prediction."""
    section = load_section(params, "train", TrainParams)
    images = open_scored_images(variants, split, captions)
    tokenizer = CaptionTokenizer.load(captions)
    checkpoint = open_checkpoint()
    start = open_pretrained(pretrained)
    with process_group() as first:
        model, curve = fit_captioner(section, images, tokenizer, start, pick_device(), checkpoint)
    if not first:
        return
    with create_artifact(output, KIND) as writer:
        save_captioner(writer, model, tokenizer)
        writer.table("curve", curve)
        writer.info["window_hu"] = list(images.window_hu)
    write_metrics(metrics, summarise_curve(curve, section))
    checkpoint.remove()


app = stage_app(main)

if __name__ == "__main__":
    app()
