"""Write scores and a report for every test image.  Reads ``predictions/iqagpt.csv``, writes ``reports``.

Command: ``python -m stages.report --predictions predictions/iqagpt.csv --output reports --metrics metrics/report.json``
"""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.artifacts import write_metrics
from iqagpt.chat.cache import AnswerCache
from iqagpt.chat.rating import rate_captions
from iqagpt.chat.report_tables import report_metrics, save_reports, write_reports
from iqagpt.chat.reports import OPENAI, ReportParams, ReportWriter
from iqagpt.chat.space import read_space
from iqagpt.config import given_file, load_section
from iqagpt.predictions import read_predictions
from iqagpt.stage import stage_app

#: Answers of a language model: what was asked before is not asked again.
ANSWERS = Path(".iqagpt/answers")


def main(
    predictions: Annotated[Path, typer.Option(help="Table of predictions.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    metrics: Annotated[Path, typer.Option(help="Metrics file to write.")],
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Write a report in radiology form for every test image, by templates or by a language model."""
    settings = load_section(params, "report", ReportParams)
    table = read_predictions(predictions, "test")
    client = settings.open_client() if settings.generator == OPENAI or settings.rate else None
    space = given_file(settings.space)
    writer = ReportWriter(
        client if settings.generator == OPENAI else None, read_space(space) if space else None, AnswerCache(ANSWERS)
    )
    reports = write_reports(table, writer)
    measured = report_metrics(reports, settings.generator)
    if settings.rate:
        measured["rating_by_language_model"] = rate_captions(table["caption"], client)
    save_reports(output, reports)
    write_metrics(metrics, measured)


app = stage_app(main)

if __name__ == "__main__":
    app()
