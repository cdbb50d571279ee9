"""What every stage command shares: logging, and errors shown as one message."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import typer

from iqagpt.errors import UserError


def stage_app(main: Callable[..., Any]) -> typer.Typer:
    """Wrap a stage's ``main`` as a Typer application.

    The docstring of `main` becomes the help. A `UserError`, a full disk or a missing right ends the command with exit code 1
    and one message on stderr; anything else is a defect and keeps its traceback.

    Parameters
    ----------
    main : callable
        The stage, with annotated path options.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    name = main.__module__.rsplit(".", 1)[-1] if main.__module__ != "__main__" else sys.argv[0]
    name = name.rsplit("/", 1)[-1].removesuffix(".py")

    @functools.wraps(main)
    def command(*args: Any, **options: Any) -> None:
        logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s", stream=sys.stderr, force=True)
        try:
            main(*args, **options)
        except UserError as error:
            _fail(name, str(error))
        except OSError as error:
            _fail(name, f"{error.filename or 'output'}: {error.strerror or error}; check rights and free space")

    app.command()(command)
    return app


def _fail(name: str, message: str) -> None:
    typer.echo(f"{name}: error: {message}", err=True)
    raise typer.Exit(1)
