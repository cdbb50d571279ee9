"""The command ``iqagpt``: what a user calls apart from ``dvc``."""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.validation import find_problems
from iqagpt.weights_commands import app as weights_app

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")

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


@app.command()
def dose(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="DICOM file, or folder with one CT series.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    dose: Annotated[float, typer.Option(help="Wanted part of the series' dose, above 0 and at most 1.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    photons: Annotated[
        str, typer.Option(help="'auto': measured on the series; or photons a mm2 of detector and view of 720.")
    ] = "auto",
    kernel: Annotated[
        str, typer.Option(help="'auto': measured; or the frequency in 1/mm where it falls to half (B30f: 0.38).")
    ] = "auto",
    electronic_sd: Annotated[
        float, typer.Option(help="Electronic noise a mm2 of detector and view, in photons.")
    ] = 6.0,
    views: Annotated[int, typer.Option(help="Projections over 180 degrees.")] = 720,
    force: Annotated[bool, typer.Option(help="Replace an output folder that holds DICOM files.")] = False,
) -> None:
    """Lower the dose of a CT series: add the noise that is missing, write DICOM again. Not for diagnosis.

    Exit status: 0 all slices written, 1 nothing written, 2 usage, 3 some files skipped.
    """
    from iqagpt.data.dose_series import DoseOptions, check_output, simulate_series
    from iqagpt.errors import UserError

    try:
        options = DoseOptions(dose, seed, _auto(photons, "photons"), _auto(kernel, "kernel"), electronic_sd, views)
        check_output(source, output, force=force)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        report = simulate_series(source, output, options)
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    for line in report.warnings():
        typer.echo(line, err=True)
    typer.echo(report.summary(output))
    raise typer.Exit(3 if report.skipped else 0)


def _auto(text: str, name: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected 'auto' or a number, got {text!r}") from None


if __name__ == "__main__":
    app()
