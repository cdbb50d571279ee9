"""The command ``iqagpt chat``: the dialogue about one slice in a terminal.

Answers go to stdout, talk to stderr; questions come from the terminal, from a pipe (one a line) or from ``--ask``.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iqagpt.errors import InputError, UserError

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment
    from iqagpt.chat.dialogue import Dialogue
    from iqagpt.chat.partners import Partners

NOTHING_USABLE, NO_MODEL = 4, 5
_ENDS = ("exit", "quit", "bye")

Window = Annotated[
    tuple[float, float] | None, typer.Option(help="HU of black and of white in PNG and TIFF.", metavar="LOWER UPPER")
]
Model = Annotated[
    Path | None, typer.Option(help="Folder of a captioner, e.g. models/iqagpt; default: the one that is shipped.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(help="OpenAI-compatible endpoint, e.g. http://127.0.0.1:8080/v1; its key, if any: OPENAI_API_KEY."),
]
LanguageModel = Annotated[str | None, typer.Option(help="Name of the language model there.")]
Space = Annotated[Path | None, typer.Option(help="File of finished reports, from 'iqagpt reports build'.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Let the endpoint be another machine.")]
ShowPayload = Annotated[bool, typer.Option("--show-payload", help="Print on stderr all that is sent to the endpoint.")]


def chat(
    image: Annotated[Path, typer.Argument(help="DICOM, NIfTI or .npy in HU; PNG or TIFF with --window.")],
    ask: Annotated[
        list[str] | None, typer.Option("--ask", help="A question, instead of asking for some; may be repeated.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--slice", min=1, help="Which slice of several, from 1; default: the middle one.")
    ] = None,
    window: Window = None,
    model: Model = None,
    endpoint: Endpoint = None,
    language_model: LanguageModel = None,
    space: Space = None,
    allow_remote: AllowRemote = False,
    show_payload: ShowPayload = False,
) -> None:
    """Talk about the image quality of one CT slice: scores, a report, questions. Research use only; not for diagnosis.

    Without an endpoint all is answered from templates, on this machine. Exit status: 0 answered, 2 usage, 4 the image
    cannot be used, 5 no model.
    """
    check_window(window)
    partners = named_partners(endpoint, language_model, space, allow_remote=allow_remote, show_payload=show_payload)
    result = _assess(image, number, window, model)
    from iqagpt.chat.dialogue import Dialogue

    dialogue = Dialogue(result, partners.writer, partners.client)
    _talk(dialogue, ask if ask else _questions())


def check_window(window: tuple[float, float] | None) -> None:
    """Refuse a window that is none, as wrong usage."""
    if window is not None and not window[0] < window[1]:
        raise typer.BadParameter(f"--window: expected LOWER below UPPER, got {window[0]:g} {window[1]:g}")


def named_partners(
    endpoint: str | None, language_model: str | None, space: Path | None, *, allow_remote: bool, show_payload: bool
) -> "Partners":
    """Open what the options name, and say on stderr where questions go."""
    # Imported here, as everywhere in commands: help and wrong options are to be answered without it.
    from iqagpt.chat.partners import open_partners

    try:
        partners = open_partners(
            endpoint, language_model, space=space, allow_remote=allow_remote, show=_show if show_payload else None
        )
    except UserError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    if partners.name:
        typer.echo(f"questions and scores go to {partners.name}", err=True)
    return partners


@contextmanager
def exit_with(status: int) -> Iterator[None]:
    """Show an error that the user can mend as one line, and exit."""
    try:
        yield
    except (UserError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(status) from error


def _show(payload: bytes) -> None:
    typer.echo(f"sent: {payload.decode(errors='replace')}", err=True)


def _assess(
    file: Path, number: int | None, window: tuple[float, float] | None, model: Path | None
) -> "SliceAssessment":
    from iqagpt.chat.opened_image import MAX_PIXELS, open_bounded

    with exit_with(NOTHING_USABLE):
        opened = open_bounded(file, window, MAX_PIXELS, name=str(file))
        count = len(opened.image.slices_hu)
        index = count // 2 if number is None else number - 1
        if index >= count:
            raise InputError(f"{file}: there is no slice {number}; it has {count}")
    with exit_with(NO_MODEL):
        from iqagpt.assessment.assessor import load_assessor

        assessor = load_assessor(model)
    with exit_with(NOTHING_USABLE):
        result = opened.assess(assessor, index)
    where = f", slice {index + 1} of {count}" if count > 1 else ""
    typer.echo(f"{file.name}{where}: assessed by {assessor.model_name} {assessor.weights_sha256[:12]}", err=True)
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return result


def _questions() -> Iterator[str]:
    """Yield questions from a terminal with a prompt, or the lines of a pipe."""
    if not sys.stdin.isatty():
        yield from (line for line in sys.stdin if line.strip())
        return
    from iqagpt.chat.dialogue_answers import RATE_REQUEST, REPORT_REQUEST

    typer.echo(f'Ask, e.g. "{RATE_REQUEST}" or "{REPORT_REQUEST}"; an empty line or Ctrl-D ends.', err=True)
    while True:
        typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line.strip() or line.strip().lower() in _ENDS:
            return
        yield line


def _talk(dialogue: "Dialogue", questions: Iterable[str]) -> None:
    from iqagpt.chat.dialogue import pieces

    for question in questions:
        try:
            reply = dialogue.reply(question)
        except InputError as error:
            typer.echo(error, err=True)
            continue
        for piece in pieces(reply.text):
            typer.echo(piece, nl=False)
            sys.stdout.flush()
        typer.echo(f"\n[{reply.mark}]\n" if reply.mark else "\n")
