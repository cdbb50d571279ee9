"""Pair the NDCT and LDCT series of every patient.  Reads ``ingest.root``, a folder or zip archive, writes ``data/pairs``.

Command: ``python -m stages.ingest --output data/pairs``
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import create_artifact
from iqagpt.config import load_section
from iqagpt.data.finding import find_slices
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.pair_store import write_pairs
from iqagpt.data.pairing import pair_slices
from iqagpt.data.pixel_jobs import measure_scans
from iqagpt.data.selection import select_for_all
from iqagpt.data.sources import opened_source
from iqagpt.stage import stage_app

log = logging.getLogger(__name__)


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Pair NDCT and LDCT slices from a folder or zip archive of DICOM series."""
    options = load_section(params, "ingest", IngestParams)
    scratch = output.with_name(f".{output.name}.unpacked.partial")
    with opened_source(Path(options.root), scratch) as source:
        found = find_slices(options, source)
        pairs = select_for_all(pair_slices(found, options), found, options)
        pairs, scans = measure_scans(pairs, options, found.rejected)
        found.rejected.check(options.strict)
        with create_artifact(output, "pairs") as writer:
            write_pairs(writer, pairs, found, options, scans=scans)
    log.info("%d pairs written; %d file(s) rejected, see %s", len(pairs), len(found.rejected), output / "rejected.csv")


app = stage_app(main)

if __name__ == "__main__":
    app()
