"""The command ``iqagpt``: what a user calls apart from ``dvc``."""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.validation import find_problems

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

_PLACES = {
    "results/tables.md": "Tables 1 to 4 beside the paper",
    "results": "the same tables as CSV, and scores for dvc plots",
    "metrics": "all metrics as JSON (dvc metrics show)",
    "predictions": "captions and scores of every method",
    "reports/reports.md": "a report for every test image",
}


@app.callback()
def main() -> None:
    """CT image quality assessment with a captioner and reports. Research use only; not for diagnosis."""


@app.command()
def validate(
    params: Annotated[Path, typer.Argument(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Check every section of a parameter file, and that the files it names exist; one line per problem."""
    problems = find_problems(params)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{params}: valid")


@app.command()
def summary(
    root: Annotated[Path, typer.Option(help="Folder of the pipeline's run.")] = Path(),
) -> None:
    """Print Tables 1 to 4 of the last run, and where everything is."""
    tables = root / "results/tables.md"
    if not tables.is_file():
        typer.echo(f"{tables}: no results yet; run dvc repro", err=True)
        raise typer.Exit(1)
    typer.echo(tables.read_text(encoding="utf-8"))
    typer.echo("Where things are:")
    width = max(map(len, _PLACES))
    for place, content in _PLACES.items():
        if (root / place).exists():
            typer.echo(f"  {place.ljust(width)}  {content}")


if __name__ == "__main__":
    app()
