"""Write scores and a report for every test image.  Reads ``predictions/iqagpt.csv``, writes ``reports``.

Command: ``python -m stages.report --predictions predictions/iqagpt.csv --output reports --metrics metrics/report.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import write_metrics
from iqagpt.chat.client import ChatClient, read_api_key
from iqagpt.chat.reports import OPENAI, ReportParams, report_metrics, save_reports, write_reports
from iqagpt.config import load_section
from iqagpt.predictions import read_predictions
from iqagpt.stage import stage_app


def main(
    predictions: Annotated[Path, typer.Option(help="Table of predictions.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Write a report in radiology form for every test image, by templates or by a language model."""
    settings = load_section(params, "report", ReportParams)
    table = read_predictions(predictions, "test")
    writer = None
    if settings.generator == OPENAI:
        writer = ChatClient(settings.endpoint, settings.model, settings.timeout_s, settings.max_retries, read_api_key())
    reports = write_reports(table, writer)
    save_reports(output, reports)
    write_metrics(metrics, report_metrics(reports, settings.generator))


app = stage_app(main)

if __name__ == "__main__":
    app()
