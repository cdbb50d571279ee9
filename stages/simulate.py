"""Simulate lesions in some slices.  Reads ``data/pairs``, writes ``data/lesions``.

Command: ``python -m stages.simulate --pairs data/pairs --output data/lesions``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.data.lesions import SimulateParams, simulate_lesions
from iqagpt.stage import stage_app


def main(
    pairs: Annotated[Path, typer.Option(help="Folder of stage ingest.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Add simulated lesions, the same in both doses, to some of the slices."""
    simulate_params = load_section(params, "simulate", SimulateParams)
    source = open_artifact(pairs, "pairs")
    with create_artifact(output, "lesions") as writer:
        simulate_lesions(source, writer, simulate_params)


app = stage_app(main)

if __name__ == "__main__":
    app()
