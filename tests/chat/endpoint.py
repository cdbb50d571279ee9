"""A small OpenAI-compatible endpoint on this machine, with faults on demand."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from iqagpt.chat.prompts import NA, UNDETERMINED
from iqagpt.chat.templates import impression, template_sentence
from iqagpt.criteria import CRITERIA

#: Status, content type, body; or a function that does what it likes with the connection.
Answer = tuple[int, str, bytes] | Callable[[BaseHTTPRequestHandler], None]


def completion(text: str | None, finish_reason: str = "stop") -> Answer:
    """A chat completion with a text."""
    message = {"role": "assistant", "content": text}
    content = {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}
    return 200, "application/json", json.dumps(content).encode()


def good_report(request: dict[str, Any]) -> Answer:
    """A report that states the scores in the request."""
    return completion(json.dumps(good_content(scores_in(request))))


def good_content(scores: dict[str, int | None]) -> dict[str, Any]:
    """What a faithful language model answers."""
    sentences = [
        {
            "criterion": criterion.title,
            "score": UNDETERMINED if criterion.key not in scores else scores[criterion.key] or NA,
            "text": f"With regard to this slice, {template_sentence(criterion.key, scores)}.",
        }
        for criterion in CRITERIA
    ]
    return {"sentences": sentences, "summary": f"{impression(scores)}."}


def scores_in(request: dict[str, Any]) -> dict[str, int | None]:
    """The scores that a request gives, by criterion key."""
    text = request["messages"][1]["content"]
    entries = json.loads(text[text.index("[") :])
    keys = {criterion.title: criterion.key for criterion in CRITERIA}
    return {keys[e["criterion"]]: e["score"] for e in entries if e["description"] != "could not be determined"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class Endpoint:
    """Serve ``answer(request)``; keep requests, their headers and their paths.

    An answer of None keeps the client waiting, a byte now and then, until `close`.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer | None]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.closing = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(request)
                endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
                endpoint.paths.append(self.path)
                answer = endpoint.answer(request)
                if answer is None:
                    self.trickle()
                    return
                if callable(answer):
                    with contextlib.suppress(OSError):
                        answer(self)
                    return
                status, kind, body = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def trickle(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                while not endpoint.closing.is_set():
                    try:
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    except OSError:
                        return
                    time.sleep(0.05)

            def log_message(self, *args: object) -> None:
                """Print nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
