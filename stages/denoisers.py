"""Fit one denoiser, or import it.  Reads ``data/lesions``, ``data/split``, writes ``models/denoisers/NAME``.

Command: ``python -m stages.denoisers NAME --lesions data/lesions --split data/split --output models/denoisers/NAME``;
NAME is map_nn or red_cnn. Its module is imported by name, so that a change of one does not rerun the other.
"""

import importlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.denoise.fitting import KIND, make_denoiser
from iqagpt.stage import stage_app

Name = StrEnum("Name", ["map_nn", "red_cnn"])


def main(
    name: Annotated[Name, typer.Argument(help="Which denoiser.")],
    lesions: Annotated[Path, typer.Option(help="Slice pairs to fit on.")],
    split: Annotated[Path, typer.Option(help="Split by patient; only train is fitted on, val is only measured.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Fit a denoiser on the training patients, or import its published weights."""
    method = importlib.import_module(f"iqagpt.denoise.{name}")
    settings = load_section(params, f"denoisers.{name}", method.PARAMS)
    pairs, parts = open_artifact(lesions, "lesions"), open_artifact(split, "split")
    with create_artifact(output, KIND) as writer:
        make_denoiser(method, settings, pairs, parts, writer)


app = stage_app(main)
if __name__ == "__main__":
    app()
