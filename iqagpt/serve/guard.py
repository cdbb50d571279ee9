"""Which requests the server lets in, how large they may be, and the headers of every answer.

A web page from elsewhere can make a browser send requests to a server on the same machine. Three checks keep it out: the ``Host``
must be a name of this machine (a foreign name that was made to resolve to 127.0.0.1 is refused), an ``Origin`` must be the
server's own, and a browser's ``Sec-Fetch-Site`` must not be another site. Programs such as curl send neither of the latter.
"""

import json
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Names of this machine for itself.
LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))
#: Where files come in, which have a bound of their own (`iqagpt.serve.uploads`).
UPLOADS = "/api/assess"
#: Largest body of any other request, bytes: nine of the longest questions, every character escaped, take half of it.
LARGEST_BODY = 2**18
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request from elsewhere, or pass it on; add `HEADERS` to the answer where it has none of its own."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = refused(Headers(scope=scope))
        if refusal:
            await _refuse(guarded_send, refusal)
            return
        await self._app(scope, receive if scope["path"] == UPLOADS else _bounded(receive), guarded_send)


def refused(headers: Headers) -> str:
    """Say why a request with these headers is not let in; empty if it is."""
    host = headers.get("host", "")
    if _name(f"//{host}") not in LOOPBACK_NAMES:
        return "this server answers under the names 127.0.0.1 and localhost only"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "requests from other web pages are not answered"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "requests from other web sites are not answered"
    return ""


def _bounded(receive: Receive) -> Receive:
    received = 0

    async def bounded_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY:
            raise HTTPException(413, f"the request has more than {LARGEST_BODY} bytes")
        return message

    return bounded_receive


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _refuse(send: Send, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
