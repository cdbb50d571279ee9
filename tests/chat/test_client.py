"""The chat client against a real HTTP server with faults; the key never shows."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iqagpt.chat.client import (
    ChatClient,
    ChatFailedError,
    ChatUnavailableError,
    is_loopback,
    open_client,
    read_api_key,
)
from iqagpt.errors import InputError
from tests.chat.endpoint import Answer, Endpoint, completion

KEY = "sk-secret-0123456789"
MESSAGES = [{"role": "user", "content": "hello"}]
Start = Callable[[Answer | None], Endpoint]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def start() -> Iterator[Start]:
    endpoints = []

    def serve(answer: Answer | None) -> Endpoint:
        endpoints.append(Endpoint(lambda request: answer))
        return endpoints[-1]

    yield serve
    for endpoint in endpoints:
        endpoint.close()


def client(url: str, **changes: Any) -> ChatClient:
    options = {"model": "test-model", "timeout_s": 10.0, "max_retries": 1, "api_key": KEY} | changes
    return ChatClient(url, **options)


def json_answer(status: int, body: bytes) -> Answer:
    return status, "application/json", body


def test_question_and_answer(start: Start) -> None:
    endpoint = start(completion("a report"))
    assert client(endpoint.url).complete(MESSAGES) == "a report"
    assert endpoint.requests == [{"model": "test-model", "messages": MESSAGES}]
    assert json.loads(client(endpoint.url).preview(MESSAGES)) == endpoint.requests[0]
    assert len(endpoint.requests) == 1, "a preview sends nothing"
    assert endpoint.paths == ["/v1/chat/completions"]
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusal_is_unavailable_and_not_repeated(start: Start, status: int) -> None:
    endpoint = start(json_answer(status, f'{{"error": {{"message": "no {KEY}"}}}}'.encode()))
    with pytest.raises(ChatUnavailableError, match=rf"refused \(.*{status}.*OPENAI_API_KEY") as caught:
        client(endpoint.url).complete(MESSAGES)
    assert KEY not in str(caught.value)
    assert len(endpoint.requests) == 1


def test_server_error_is_retried_and_then_a_failure(start: Start) -> None:
    endpoint = start((500, "text/html", b"<h1>oops</h1>"))
    with pytest.raises(ChatFailedError, match="500"):
        client(endpoint.url).complete(MESSAGES)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/html", b"<html>not an endpoint</html>"),
        json_answer(200, b"{ broken"),
        json_answer(200, b"{}"),
        json_answer(200, b"[1]"),
        json_answer(200, b'{"choices": []}'),
        json_answer(200, b'{"choices": [{"message": null}]}'),
        completion(None),
        completion("half a rep", "length"),
        completion("", "content_filter"),
    ],
)
def test_garbage_is_a_failure(start: Start, answer: Answer) -> None:
    with pytest.raises(ChatFailedError):
        client(start(answer).url).complete(MESSAGES)


def test_slow_answer_ends_at_the_deadline_though_bytes_keep_coming(start: Start) -> None:
    endpoint = start(None)
    begun = time.monotonic()
    with pytest.raises(ChatFailedError, match=r"no answer within 0.6 s"):
        client(endpoint.url, timeout_s=0.6, max_retries=5).complete(MESSAGES)
    assert time.monotonic() - begun < 5


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(ChatUnavailableError, match="cannot be reached"):
            client(url, max_retries=0).complete(MESSAGES)


@pytest.mark.skipif(sys.platform != "linux", reason="relies on how Linux treats a full queue of connections")
def test_address_that_never_answers_is_unavailable_rather_than_slow() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with pytest.raises(ChatUnavailableError, match="cannot be reached"):
            client(url, timeout_s=1.0, max_retries=0).complete(MESSAGES)
        for one in waiting:
            one.close()


def test_key_is_not_shown() -> None:
    assert KEY not in repr(client("http://127.0.0.1/v1"))


def test_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert read_api_key("https://example.org/v1") == read_api_key("http://localhost:1/v1") == KEY


@pytest.mark.parametrize(("value", "message"), [("", "is not set"), ("  ", "is not set"), ("schlüssel", "plain ASCII")])
def test_missing_or_impossible_key_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(InputError, match=f"OPENAI_API_KEY .*{message}"):
        read_api_key("https://example.org/v1")


def test_a_server_of_this_machine_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert open_client("http://localhost:8080/v1", "m").api_key == "none"


@pytest.mark.parametrize(
    ("endpoint", "loopback"),
    [
        ("http://127.0.0.1:1/v1", True), ("http://localhost/v1", True), ("http://[::1]:8/v1", True),
        ("http://127.0.0.1.example.org/v1", False), ("http://10.0.0.1/v1", False), ("https://api.openai.com/v1", False),
        ("http://localhost.example.org", False), ("http://0.0.0.0:80", False),
    ],
)  # fmt: skip
def test_another_machine_must_be_allowed(monkeypatch: pytest.MonkeyPatch, endpoint: str, loopback: bool) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert is_loopback(endpoint) == loopback
    if not loopback:
        with pytest.raises(InputError, match="--allow-remote"):
            open_client(endpoint, "m")
    assert open_client(endpoint, "m", allow_remote=True).endpoint == endpoint


def test_a_schema_is_sent_and_left_out_for_a_server_that_does_not_know_it(start: Start) -> None:
    endpoint = start(completion("x"))
    endpoint.answer = lambda r: (
        json_answer(400, b'{"error": {"message": "no response_format"}}') if "response_format" in r else completion("x")
    )
    assert client(endpoint.url).complete(MESSAGES, {"type": "object"}) == "x"
    assert endpoint.requests[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "response_format" not in endpoint.requests[1]


def test_it_works_within_a_running_event_loop(start: Start) -> None:
    endpoint = start(completion("x"))

    async def ask() -> str:
        return client(endpoint.url).complete(MESSAGES)

    assert asyncio.run(ask()) == "x"
