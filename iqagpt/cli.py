"""The command ``iqagpt``: what a user calls apart from ``dvc``."""

from pathlib import Path
from typing import Annotated

import typer

from iqagpt.assessment.command import assess
from iqagpt.chat.chat_command import chat
from iqagpt.chat.commands import app as reports_app
from iqagpt.dvc_lock import LOCK_FILES, mend_lock
from iqagpt.errors import ArtifactError
from iqagpt.params_check import find_problems
from iqagpt.serve.command import serve
from iqagpt.weights_commands import app as weights_app

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(assess)
app.command()(chat)
app.command()(serve)
app.add_typer(weights_app, name="weights")
app.add_typer(reports_app, name="reports")

_PLACES = {
    "page/index.html": "all results in a browser, without a network",
    "results/tables.md": "Tables 1 to 4 beside the paper",
    "results": "the same tables as CSV, and scores for dvc plots",
    "metrics": "all metrics as JSON (dvc metrics show)",
    "data/scores": "readers' scores, their agreement",
    "predictions": "captions and scores of every method",
    "reports/reports.md": "a report for every test image",
    "figures": "the paper's figures 2, 4 and 6 to 9, and what they show as CSV",
}


@app.callback()
def main() -> None:
    """CT image quality assessment with a captioner and reports. Research use only; not for diagnosis."""


@app.command()
def check(
    params: Annotated[Path, typer.Argument(help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Check every section of a parameter file, and that the files it names exist; one line per problem.

    A dvc.lock that a signal has cut off is mended as well; what was there is kept as dvc.lock.damaged.
    """
    problems = find_problems(params)
    for file in LOCK_FILES:
        try:
            if mended := mend_lock(file):
                typer.echo(mended, err=True)
        except ArtifactError as error:
            problems.append(str(error))
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


@app.command()
def agreement(
    table: Annotated[Path, typer.Argument(help="CSV with one row per score, or one column per criterion.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV to write as well.")] = None,
    criteria: Annotated[str, typer.Option(help="Criteria to compare, separated by commas; default: all.")] = "",
    cluster: Annotated[
        str | None, typer.Option(help="Column of what is resampled; default patient_id, else slice_id, else the image.")
    ] = None,
    replicates: Annotated[int, typer.Option(min=200, max=100_000, help="Of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
) -> None:
    """Compare readers: raw agreement, weighted kappa, Krippendorff's alpha and ICC, with 95 % intervals."""
    from iqagpt.agreement.long_table import read_ratings
    from iqagpt.agreement.summary import PATIENT, agreement_table, describe_table
    from iqagpt.artifacts import write_table
    from iqagpt.errors import UserError

    try:
        wanted = [name.strip() for name in criteria.split(",") if name.strip()]
        readings, clusters = read_ratings(table, criteria=wanted, cluster=cluster)
        found = agreement_table(readings, seed=seed, replicates=replicates)
        if output is not None:
            write_table(output, found)
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    typer.echo(describe_table(found, clusters))
    if cluster is None and clusters != PATIENT:
        typer.echo(f"No column {PATIENT}: images of one patient count as independent; intervals too narrow.", err=True)


@app.command("check-table")
def check_table(
    table: Annotated[
        str,
        typer.Argument(help="'paper', a folder of results, one of its tables, or any CSV table with names in front."),
    ],
    images: Annotated[int | None, typer.Option(min=1, help="Of how many images the figures are shares.")] = None,
) -> None:
    """Recompute means and denominators of a printed table, and name what does not add up.

    Exit status: 0 all adds up, 1 something does not, or the table cannot be read.
    """
    from iqagpt.errors import UserError
    from iqagpt.evaluation.check_table import check_file, check_paper, check_results

    try:
        if table == "paper":
            verdict = check_paper()
        elif Path(table).is_dir():
            verdict = check_results(Path(table))
        else:
            verdict = check_file(Path(table), images)
    except UserError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    for problem in verdict.problems:
        typer.echo(problem)
    typer.echo(f"checked: {verdict.means} means, {verdict.shares} shares; {len(verdict.problems)} do not add up")
    raise typer.Exit(1 if verdict.problems else 0)


@app.command()
def folds(
    root: Annotated[Path, typer.Option(help="Folder of the repository.")] = Path(),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV of the pooled figures to write.")] = None,
    draws: Annotated[int, typer.Option(min=200, max=100_000, help="Of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 23,
) -> None:
    """Gather DVC experiments over split.fold into one table, with intervals and tests over all patients.

    Run them first: dvc exp run --queue -S 'split.fold=range(0,5)', then dvc queue start.
    """
    from iqagpt.artifacts import write_table
    from iqagpt.errors import UserError
    from iqagpt.evaluation.folds import find_folds, gather, render

    try:
        found, notes = find_folds(root)
        gathered = gather(found, draws=draws, seed=seed)
        if output is not None:
            write_table(output, gathered.pooled)
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(render(gathered), nl=False)


@app.command()
def validate(
    source: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder with images and scores, or a study.yaml.")],
    model: Annotated[Path, typer.Option(help="Folder of a model: models/iqagpt or models/baseline/NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="HU of black and of white in PNG and TIFF.", metavar="LOWER UPPER"),
    ] = None,
    higher_is_worse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CRITERION=EXPRESSION", help="Ours from their columns, e.g. 'noise=abs(noise_reduction-7)'."
        ),
    ] = None,
    higher_is_better: Annotated[
        list[str] | None,
        typer.Option(metavar="CRITERION=EXPRESSION", help="The same where their scale rises with quality."),
    ] = None,
    scores: Annotated[str, typer.Option(help="Table of scores within STUDY: .csv, .tsv or .json.")] = "",
    image_column: Annotated[str, typer.Option(help="Column that names the image.")] = "",
    reader_column: Annotated[str, typer.Option(help="Column that names the reader.")] = "",
    set_column: Annotated[str, typer.Option(help="Column of images that belong together, e.g. the patient.")] = "",
    draws: Annotated[int, typer.Option(help="Bootstrap draws of sets.", min=2000)] = 2000,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    force: Annotated[bool, typer.Option(help="Replace an output folder that holds a validation.")] = False,
) -> None:
    """Set a model beside the readers of any reader study. Not for diagnosis.

    Table, JSON, predictions and a scatter plot go to the output folder, the table to stdout.

    Exit status: 0 done, 1 the study or model cannot be used, 2 usage.
    """
    from iqagpt.errors import UserError
    from iqagpt.models import open_model
    from iqagpt.study.description import describe_study
    from iqagpt.study.report import check_output, render, write_validation
    from iqagpt.study.study import load_study
    from iqagpt.study.validation import validate as compare

    try:
        given = {
            "window_hu": window,
            "higher_is_worse": _assignments(higher_is_worse, "higher-is-worse"),
            "higher_is_better": _assignments(higher_is_better, "higher-is-better"),
            "scores": scores,
            "columns": {
                role: name
                for role, name in {"image": image_column, "reader": reader_column, "set": set_column}.items()
                if name
            },
        }
        check_output(output, force=force)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        study = load_study(describe_study(source, given))
        result = compare(study, open_model(model), draws=draws, seed=seed)
        write_validation(result, output)
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(render(result), nl=False)


@app.command()
def study(
    source: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder with images and scores.")],
    description: Annotated[Path | None, typer.Option(help="Its study.yaml, where that is not in the folder.")] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Folder of a captioner to start from, or 'none'; default: the one that is shipped."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of its stages and outputs; default: the folder's.")] = None,
    folds: Annotated[int | None, typer.Option(help="Default: leave one set out.")] = None,
    params: Annotated[Path, typer.Option(help="Parameter file to change.")] = Path("study/params.yaml"),
) -> None:
    """Prepare training and testing on a reader study of your own: name it in study/params.yaml.

    Then: dvc repro study/dvc.yaml.
    """
    from iqagpt.errors import UserError
    from iqagpt.study.setup import set_up_study

    try:
        report = set_up_study(source, params, description=description, start=start, name=name, folds=folds)
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    typer.echo(report)


def _assignments(texts: list[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, expression = text.partition("=")
        if not equals or not expression.strip():
            raise ValueError(f"--{option}: expected CRITERION=EXPRESSION, got {text!r}")
        if name.strip() in found:
            raise ValueError(f"--{option}: {name.strip()} is given twice")
        found[name.strip()] = expression
    return found


def _auto(text: str, name: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected 'auto' or a number, got {text!r}") from None


if __name__ == "__main__":
    app()
