"""Write the results page: one HTML file for the run and one for every test patient, which need no network.

Reads ``results``, ``metrics``, ``predictions/iqagpt.csv``, ``data/captions``, ``reports``, ``figures``, ``data/variants`` and the
whole of ``params.yaml``, which it shows; writes ``page``.

Command: ``python -m stages.page --results results --metrics metrics --predictions predictions/iqagpt.csv
--captions data/captions --reports reports --figures figures --variants data/variants --params params.yaml --output page``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.config import load_section
from iqagpt.page.contents import Sources, load_run
from iqagpt.page.pages import write_pages
from iqagpt.page.pictures import PageParams
from iqagpt.stage import stage_app


def main(
    results: Annotated[Path, typer.Option(help="Results artifact.")],
    metrics: Annotated[Path, typer.Option(help="Folder of metrics files.")],
    predictions: Annotated[Path, typer.Option(help="Table of predictions of IQAGPT.")],
    captions: Annotated[Path, typer.Option(help="Captions artifact: the reader's scores.")],
    reports: Annotated[Path, typer.Option(help="Reports artifact.")],
    figures: Annotated[Path, typer.Option(help="Folder with figures.json and the figures that it lists.")],
    variants: Annotated[Path, typer.Option(help="Variants artifact: the images.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Write the results page and a page for every test patient."""
    settings = load_section(params, "page", PageParams)
    run = load_run(Sources(results, metrics, predictions, captions, reports, figures, variants, params))
    write_pages(output, run, settings)


app = stage_app(main)

if __name__ == "__main__":
    app()
