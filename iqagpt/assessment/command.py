"""The command ``iqagpt assess``: options, exit status, what goes to stdout (data) and to stderr (talk)."""

import gc
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqagpt.errors import UserError

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import Assessor
    from iqagpt.assessment.inputs import Found
    from iqagpt.assessment.records import Record
    from iqagpt.assessment.running import Totals

SOME_FAILED, NOTHING_USABLE, NO_MODEL, NO_ROOM, INTERRUPTED = 3, 4, 5, 7, 130
_BY_SUFFIX = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".txt": "table"}
_FORMATS = ("table", "json", "jsonl", "csv")


def assess(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="DICOM files, folders or zips; NIfTI or .npy in HU; PNG or TIFF with --window."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write: .csv, .json, .jsonl or .txt; else stdout.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="table, json, jsonl or csv; default: by the output's suffix, else table.")
    ] = "",
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="HU of black and of white in PNG and TIFF.", metavar="LOWER UPPER"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a captioner, e.g. models/iqagpt; default: the one that is shipped.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished output.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an output, finished or not.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="On stderr, errors only.")] = False,
) -> None:
    """Assess the image quality of CT: four scores, a caption and a report for every axial slice. Not for diagnosis.

    Exit status: 0 all assessed, 2 usage, 3 some inputs failed, 4 nothing usable, 5 no model, 7 output cannot be
    written, 130 interrupted.
    """
    form = _checked_format(form, output)
    if window is not None and not window[0] < window[1]:
        raise typer.BadParameter(f"--window: expected LOWER below UPPER, got {window[0]:g} {window[1]:g}")
    if output is not None and _is_complete(output, form, resume=resume, force=force):
        typer.echo(f"{output}: complete; --force assesses again (only .jsonl can be added to)", err=True)
        return
    with _exit_codes(output):
        _run(inputs, model, _Options(output, form, window, resume, quiet))


@dataclass(frozen=True, slots=True)
class _Options:
    """The command's options of the same names."""

    output: Path | None
    form: str
    window: tuple[float, float] | None
    resume: bool
    quiet: bool


def _run(inputs: list[Path], model: Path | None, options: _Options) -> None:
    # Imported here: help and wrong options are to be answered without them.
    with _uncollected():
        from iqagpt.assessment.inputs import found_inputs
        from iqagpt.assessment.shipped import captioner_folder

    with _model_errors():
        folder = captioner_folder(model)
    with found_inputs(inputs, options.window) as found:
        if not found.slices:
            _tell_problems(found)
            typer.echo("nothing to assess", err=True)
            raise typer.Exit(NOTHING_USABLE)
        with _model_errors(), _uncollected():
            from iqagpt.assessment.assessor import load_assessor

            assessor = load_assessor(folder)
        totals = _assess(found, assessor, options)
    if options.form != "table" or options.output is not None:
        _tell_problems(found)
    if not options.quiet:
        typer.echo(_summary(totals, options.output), err=True)
    if not totals.assessed + totals.reused:
        raise typer.Exit(NOTHING_USABLE)
    raise typer.Exit(SOME_FAILED if totals.failed else 0)


def _assess(found: "Found", assessor: "Assessor", options: _Options) -> "Totals":
    from tqdm import tqdm

    from iqagpt.assessment.journal import Direct, Journal, make_sink
    from iqagpt.assessment.output import series_lines
    from iqagpt.assessment.records import run_record
    from iqagpt.assessment.running import assess_found

    output, quiet = options.output, options.quiet
    run = run_record(assessor, options.window)
    if output is None:
        writer = Direct(make_sink(options.form, sys.stdout, with_report=found.slices == 1), sys.stdout.flush)
        writer.add(run)
    else:
        writer = Journal(output, options.form, run, resume=options.resume)
        if writer.reusable and not quiet:
            typer.echo(f"{writer.path}: going on, {writer.reusable} slices are there", err=True)

    def tell(record: "Record") -> None:
        if not quiet and (output is not None or options.form in ("jsonl", "csv")):
            bar.clear()
            typer.echo("\n".join(series_lines(record, with_means=False)), err=True)

    # The table itself shows how far it is; a bar would cut through it.
    hidden = True if quiet or (output is None and sys.stdout.isatty()) else None
    bar = tqdm(total=found.slices, desc="assess", unit="slice", disable=hidden, file=sys.stderr)
    with closing(writer), bar:
        totals = assess_found(found, assessor, writer, window_hu=options.window, progress=bar.update, on_series=tell)
        writer.finish()
    return totals


def _checked_format(form: str, output: Path | None) -> str:
    if form:
        if form not in _FORMATS:
            raise typer.BadParameter(f"--format: expected {', '.join(_FORMATS)}, got '{form}'")
        return form
    if output is None:
        return "table"
    found = _BY_SUFFIX.get(output.suffix.lower())
    if found is None:
        raise typer.BadParameter(
            f"--output: '{output.name}' does not say a format; end it in .csv, .json, .jsonl or .txt, or give --format"
        )
    return found


def _is_complete(output: Path, form: str, *, resume: bool, force: bool) -> bool:
    """Tell whether nothing is left to do; refuse to replace what is there unasked."""
    from iqagpt.assessment.journal import journal_path

    if resume and force:
        raise typer.BadParameter("--resume or --force, not both")
    if output.is_dir():
        raise typer.BadParameter(f"--output: {output} is a folder; name a file in it")
    unfinished = journal_path(output).exists()
    if resume:
        return output.exists() and not unfinished and form != "jsonl"
    if not force and unfinished:
        raise typer.BadParameter(f"--output: {output} is unfinished; --resume to go on, --force to start again")
    if not force and output.exists():
        raise typer.BadParameter(f"--output: {output} is there already; --force to replace it")
    return False


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage: imports make objects that stay, and looking through them again and again takes part of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _exit_codes(output: Path | None) -> Iterator[None]:
    """Turn errors into one line and an exit status."""
    try:
        yield
    except BrokenPipeError:
        raise
    except UserError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{where}{error.strerror or error}; check rights and room on the disk{_hint(output)}", err=True)
        raise typer.Exit(NO_ROOM) from error
    except KeyboardInterrupt as error:
        typer.echo(f"interrupted{_hint(output)}", err=True)
        raise typer.Exit(INTERRUPTED) from error


def _hint(output: Path | None) -> str:
    from iqagpt.assessment.journal import journal_path

    return "; --resume goes on" if output is not None and journal_path(output).exists() else ""


@contextmanager
def _model_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        typer.echo(error, err=True)
        raise typer.Exit(NO_MODEL) from error


def _tell_problems(found: "Found") -> None:
    from iqagpt.assessment.output import MOST_PROBLEMS

    for problem in found.problems[:MOST_PROBLEMS]:
        typer.echo(f"{problem.name}: {problem.status}: {problem.reason}", err=True)
    if len(found.problems) > MOST_PROBLEMS:
        typer.echo(f"and {len(found.problems) - MOST_PROBLEMS} more files that were not assessed", err=True)


def _summary(totals: "Totals", output: Path | None) -> str:
    parts = [f"{totals.assessed} slice{'s' * (totals.assessed != 1)} assessed"]
    parts += [f"{totals.reused} taken over"] if totals.reused else []
    parts += [f"{totals.failed} failed"] if totals.failed else []
    parts += [f"{totals.skipped} skipped"] if totals.skipped else []
    return ", ".join(parts) + (f": {output}" if output else "")
