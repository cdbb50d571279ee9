"""Make the built-in data: synthetic patients as CT series.  Reads params only, writes ``data/phantom``.

Command: ``python -m stages.phantom --output data/phantom``
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact
from iqagpt.config import load_section
from iqagpt.data.phantom import PhantomParams, write_phantom
from iqagpt.stage import stage_app

logger = logging.getLogger(__name__)


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Make synthetic patients at normal and low dose, as DICOM series in the AAPM layout."""
    settings = load_section(params, "phantom", PhantomParams)
    with create_artifact(output, "phantom") as artifact:
        write_phantom(artifact, settings)
    logger.info("%d patients, %d slices each, two doses", settings.patients, settings.slices)


app = stage_app(main)
if __name__ == "__main__":
    app()
