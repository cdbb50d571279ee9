"""The command ``iqagpt serve``: the dialogue in a browser, on this machine only."""

import logging
import socket
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.chat.chat_command import (
    NO_MODEL,
    AllowRemote,
    Endpoint,
    LanguageModel,
    Model,
    ShowPayload,
    Space,
    Window,
    check_window,
    exit_with,
    named_partners,
)

ADDRESS = "127.0.0.1"
PORT_TAKEN = 1
_MIB = 2**20


def serve(
    images: Annotated[
        list[Path] | None, typer.Argument(help="Images, or folders of them, to be picked from in the page.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: any that is free.")] = 8000,
    window: Window = None,
    model: Model = None,
    endpoint: Endpoint = None,
    language_model: LanguageModel = None,
    space: Space = None,
    allow_remote: AllowRemote = False,
    show_payload: ShowPayload = False,
    max_upload: Annotated[int, typer.Option(min=1, max=2048, help="Largest upload, MiB.")] = 256,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Talk about image quality in a browser: a page, and the same as an HTTP API (/openapi.json). Not for diagnosis.

    Answers on 127.0.0.1 only; images stay in memory, and nothing leaves this machine unless an endpoint is named.
    Exit status: 0 ended, 1 port taken, 2 usage, 5 no model.
    """
    check_window(window)
    offered = _offered(images or [])
    partners = named_partners(endpoint, language_model, space, allow_remote=allow_remote, show_payload=show_payload)
    with exit_with(PORT_TAKEN):
        listening = _listen(port)
    with exit_with(NO_MODEL):
        from iqagpt.assessment.assessor import load_assessor

        assessor = load_assessor(model)
    from iqagpt.serve.app import Limits, Parts, create_app

    parts = Parts(assessor, partners.writer, partners.client, partners.name, offered, window)
    app = create_app(parts, Limits(upload_bytes=max_upload * _MIB, held_bytes=4 * max_upload * _MIB))
    address = f"http://{ADDRESS}:{listening.getsockname()[1]}/"
    typer.echo(f"IQAGPT answers on {address} (Ctrl-C ends)", err=True)
    if not partners.name:
        typer.echo("nothing leaves this machine", err=True)
    if open_browser:
        webbrowser.open(address)
    _run(app, listening)


def _offered(paths: list[Path]) -> list[Path]:
    from iqagpt.images import find_images

    found = []
    for path in paths:
        if path.is_dir():
            found += find_images(path)
        elif path.is_file():
            found.append(path)
        else:
            raise typer.BadParameter(f"{path}: no such file or folder")
    return found


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        raise OSError(
            f"port {port} of {ADDRESS} cannot be used ({error.strerror}); choose another with --port"
        ) from error


def _run(app: object, listening: socket.socket) -> None:
    import uvicorn

    # No access log: it would keep who asked for what.
    config = uvicorn.Config(
        app,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
