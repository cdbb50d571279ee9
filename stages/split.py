"""Split the patients into train, val and test.  Reads ``data/pairs``, writes ``data/split``.

Command: ``python -m stages.split --pairs data/pairs --output data/split``
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.data.split import SplitParams, check_no_shared_slices, split_marked, split_table
from iqagpt.stage import stage_app

log = logging.getLogger(__name__)


def main(
    pairs: Annotated[Path, typer.Option(help="Artifact with the pairs.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Assign every patient to train, val or test, or to pre-training alone."""
    options = load_section(params, "split", SplitParams)
    source = open_artifact(pairs, "pairs")
    manifest = source.manifest
    check_no_shared_slices(manifest, source.array("ndct"))
    table = split_table(manifest, split_marked(manifest, options))
    with create_artifact(output, "split") as writer:
        writer.manifest(table)
        writer.info["fold"] = options.fold
    for side, part in table.groupby("split"):
        log.info("%s: %d slices of %s", side, len(part), ", ".join(part["patient_id"].unique()))


app = stage_app(main)

if __name__ == "__main__":
    app()
