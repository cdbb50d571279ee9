"""The commands ``iqagpt reports``: write one report, all 320, or check a text against scores."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from iqagpt.errors import UserError

app = typer.Typer(help="Verified reports: one, all 320, or a check of a text.", no_args_is_help=True)

Scores = Annotated[
    str, typer.Argument(metavar="SCORES", help="Four scores 1 (best) to 4 (worst), as 3,2,n,1; n: no lesion.")
]
Endpoint = Annotated[
    str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint, as http://127.0.0.1:8080/v1.")
]
Model = Annotated[str, typer.Option(help="Name of the model there.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="The endpoint may be another machine.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that one report may take.")]
Retries = Annotated[int, typer.Option(min=0, max=10, help="Further requests after failed ones, for one report.")]
ShowPayload = Annotated[bool, typer.Option("--show-payload", help="Print what would be sent, and send nothing.")]


@app.command()
def build(
    output: Annotated[Path, typer.Argument(help="Folder to write; a file reports.json, for report.space.")],
    endpoint: Endpoint = None,
    model: Model = "default",
    allow_remote: AllowRemote = False,
    timeout: Timeout = 60.0,
    max_retries: Retries = 2,
    retry: Annotated[bool, typer.Option("--retry", help="Ask again for reports that fell back earlier.")] = False,
    show_payload: ShowPayload = False,
) -> None:
    """Write and verify the reports of all 320 score tuples once; without an endpoint, by the template.

    A build that was interrupted goes on where it ended. Exit status: 0 written, 1 not, 3 some fell back to the template.
    """
    from iqagpt.chat.space import FILE, build_space, read_space

    with _messages():
        writer = _open_writer(endpoint, model, allow_remote, timeout, max_retries)
        if show_payload:
            _print_payload(
                writer, {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}
            )
            return
        counts = build_space(output, writer, retry=retry)
        read_space(output)
    listed = ", ".join(f"{number} {generator}" for generator, number in counts.items())
    typer.echo(f"{output / FILE}: {sum(counts.values())} reports, all verified: {listed}")
    typer.echo(f"set report.space to {output / FILE}", err=True)
    raise typer.Exit(3 if counts.get("fallback") else 0)


@app.command()
def write(
    scores: Scores,
    endpoint: Endpoint = None,
    model: Model = "default",
    space: Annotated[Path | None, typer.Option(help="File of finished reports.")] = None,
    allow_remote: AllowRemote = False,
    timeout: Timeout = 60.0,
    max_retries: Retries = 2,
    show_payload: ShowPayload = False,
) -> None:
    """Write the report of one slice from its scores."""
    with _messages():
        given = _read_scores(scores)
        writer = _open_writer(endpoint, model, allow_remote, timeout, max_retries, space)
        if show_payload:
            _print_payload(writer, given)
            return
        report = writer.write(given)
    typer.echo(report.text)
    for finding in report.findings:
        typer.echo(f"template used: {finding}", err=True)


@app.command()
def check(
    scores: Scores,
    text: Annotated[Path, typer.Argument(help="Text file; - for standard input.", allow_dash=True)],
) -> None:
    """Check any report against scores: one line per contradiction or statement that was not given.

    Exit status: 0 verified, 1 not.
    """
    from iqagpt.chat.verifier import find_contradictions
    from iqagpt.errors import InputError

    with _messages():
        given = _read_scores(scores)
        try:
            content = sys.stdin.read() if str(text) == "-" else text.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{text}: cannot be read ({error})") from error
    findings = find_contradictions(content, given)
    for finding in findings:
        typer.echo(finding)
    typer.echo("not verified" if findings else "verified", err=True)
    raise typer.Exit(1 if findings else 0)


def _open_writer(
    endpoint: str | None, model: str, allow_remote: bool, timeout: float, retries: int, space: Path | None = None
) -> Any:
    from iqagpt.chat.reports import open_writer

    return open_writer(
        endpoint=endpoint, model=model, space=space, allow_remote=allow_remote, timeout_s=timeout, max_retries=retries
    )


def _print_payload(writer: Any, scores: dict[str, int | None]) -> None:
    from iqagpt.chat.prompts import report_messages, report_schema
    from iqagpt.errors import InputError

    if writer.client is None:
        raise InputError("--show-payload: without --endpoint nothing is sent")
    typer.echo(writer.client.preview(report_messages(scores), report_schema()).decode())


def _read_scores(text: str) -> dict[str, int | None]:
    from iqagpt.criteria import KEYS, SCORES
    from iqagpt.errors import InputError

    parts = [part.strip().lower() for part in text.split(",")]
    allowed = {str(score): score for score in SCORES}
    lesion = KEYS.index("lesion_conspicuity")
    valid = len(parts) == len(KEYS) and all(
        part in allowed or (place == lesion and part in ("n", "n/a")) for place, part in enumerate(parts)
    )
    if not valid:
        raise InputError(f"SCORES: expected four scores 1 to 4 such as 3,2,n,1 ({', '.join(KEYS)}), got '{text}'")
    return {key: allowed.get(part) for key, part in zip(KEYS, parts, strict=True)}


@contextmanager
def _messages() -> Iterator[None]:
    """Show an error that the user can mend as one line, exit status 1."""
    try:
        yield
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
