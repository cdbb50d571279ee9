"""Whatever an endpoint does, a report is verified or the template's, within its deadline and number of calls."""

import json
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from iqagpt.chat.client import open_client
from iqagpt.chat.reports import GIVE_UP_AFTER, ReportWriter
from iqagpt.chat.templates import template_report
from iqagpt.chat.verifier import find_contradictions
from iqagpt.criteria import Scores
from tests.chat.endpoint import Answer, Endpoint, completion, good_content

KEY = "sk-secret-0123456789"
SCORES: Scores = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}
#: Of one report, seconds: long enough for a slow machine, short where waiting is the fault.
TIMEOUT_S = 8.0
SHORT_S = 0.6
HANGING = ("hang before headers", "hang after headers", "drip", "drip of headers")
RETRIES = 1


def error(status: int, code: str = "x", headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"error": {"message": f"no {KEY}", "code": code}}).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def changed(**changes: Any) -> Answer:
    return completion(json.dumps(good_content(SCORES) | changes))


def sentence(place: int, **changes: Any) -> Answer:
    content = good_content(SCORES)
    content["sentences"][place] |= changes
    return completion(json.dumps(content))


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def hang_before_headers(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(SHORT_S + 1)


def hang_after_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(SHORT_S + 1)


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.05)


def cut_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')
    handler.close_connection = True


def bad_gzip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", "10")
    handler.end_headers()
    handler.wfile.write(b"0123456789")


def fifty_megabytes(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(50 << 20))
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b" " * (1 << 20))


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\xff SSH-2.0-OpenSSH\r\n\r\n")


TEXT = "Image noise and structural fidelity are"
FAULTS: dict[str, Answer | None] = {
    **{f"status {status}": error(status) for status in (400, 401, 402, 403, 404, 408, 409, 418, 422)},
    "429": error(429),
    "429 soon": error(429, headers={"Retry-After": "0"}),
    "429 in an hour": error(429, headers={"Retry-After": "3600"}),
    "429 at a date": error(429, headers={"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    "429 quota": error(429, "insufficient_quota"),
    **{f"status {status}": error(status) for status in (500, 501, 502, 503, 504, 529)},
    "html error": (500, "text/html", b"<h1>oops</h1>"),
    "redirect": error(307, headers={"Location": "http://127.0.0.1:9/v1"}),
    "hang before headers": hang_before_headers,
    "hang after headers": hang_after_headers,
    "drip": None,
    "drip of headers": drip_headers,
    "reset": reset,
    "cut body": cut_body,
    "bad gzip": bad_gzip,
    "50 MB": fifty_megabytes,
    "not HTTP": nonsense,
    "empty body": (200, "application/json", b""),
    "204": (204, "application/json", b""),
    "not JSON": (200, "text/html", b"<html>"),
    "broken JSON": (200, "application/json", b"{ broken"),
    "deep JSON": (200, "application/json", b"[" * 100_000),
    "JSON of another kind": (200, "application/json", b"[1]"),
    "no choices": (200, "application/json", b'{"choices": []}'),
    "null message": (200, "application/json", b'{"choices": [{"message": null}]}'),
    "no content": completion(None),
    "empty content": completion(""),
    "refusal": (200, "application/json", b'{"choices": [{"message": {"content": null, "refusal": "I cannot"}}]}'),
    "length stop": completion('{"sentences": [', "length"),
    "content filter": completion("", "content_filter"),
    "tool call": completion("", "tool_calls"),
    "prose instead of JSON": completion("The image is fine."),
    "list instead of object": completion("[]"),
    "further key": changed(diagnosis="none"),
    "no summary": completion(json.dumps({"sentences": good_content(SCORES)["sentences"]})),
    "sentence missing": changed(sentences=good_content(SCORES)["sentences"][:3]),
    "sentence twice": changed(sentences=[good_content(SCORES)["sentences"][0]] * 4),
    "summary of another type": changed(summary=3),
    "wrong score": sentence(0, score=2),
    "score as true": sentence(3, score=True),
    "wrong words": sentence(0, text=f"{TEXT} excellent"),
    "another number": sentence(0, text=f"{TEXT} sub-optimal (score 4)"),
    "a measurement": sentence(0, text=f"{TEXT} sub-optimal at 12 HU"),
    "an organ": sentence(0, text=f"{TEXT} sub-optimal in the liver"),
    "advice": sentence(0, text=f"{TEXT} sub-optimal, repeat the scan"),
    "no lesion": sentence(2, text="No lesion is seen"),
    "two criteria": sentence(0, text=f"{TEXT} sub-optimal and diagnostic confidence is complete"),
    "a false summary": changed(summary="Diagnostic confidence is poor"),
    "escape codes": sentence(0, text=f"{TEXT} sub-optimal\x1b[2J"),
    "markup": sentence(0, text=f"{TEXT} sub-optimal <script>alert()</script>"),
    "address": changed(summary="See https://example.org"),
    "very long text": sentence(0, text=f"{TEXT} sub-optimal" + " and" * 5000),
}  # fmt: skip


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Endpoint]]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    opened: list[Endpoint] = []

    def start(answer: Callable[[Any], Answer | None]) -> Endpoint:
        opened.append(Endpoint(answer))
        return opened[-1]

    yield start
    for endpoint in opened:
        endpoint.close()


def writer(endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> ReportWriter:
    return ReportWriter(open_client(endpoint.url, "m", timeout_s=timeout_s, max_retries=RETRIES))


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 24


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_the_template_within_deadline_and_calls(
    serve: Callable[..., Endpoint], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = serve(lambda request: FAULTS[name])
    timeout_s = SHORT_S if name in HANGING else TIMEOUT_S
    begun = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        report = writer(endpoint, timeout_s).write(SCORES)
    assert time.monotonic() - begun < timeout_s + 2.5
    assert (report.generator, report.text) == ("fallback", template_report(SCORES))
    assert report.findings
    assert all(report.findings)
    assert 1 <= len(endpoint.requests) <= RETRIES + 2
    assert KEY not in caplog.text + repr(report)


@pytest.mark.parametrize(
    "name", ["wrong words", "prose instead of JSON", "no lesion", "wrong score", "429 soon", "status 503"]
)
def test_a_fault_that_passes_ends_in_the_models_report(serve: Callable[..., Endpoint], name: str) -> None:
    """One repair, or one retry."""
    endpoint = serve(lambda request: FAULTS[name] if len(endpoint.requests) == 1 else changed())
    report = writer(endpoint).write(SCORES)
    assert report.generator == "model", report.findings
    assert len(endpoint.requests) == 2
    assert find_contradictions(report.text, SCORES) == ()
    assert "With regard to this slice" in report.text
    if name in ("wrong words", "no lesion", "wrong score"):
        assert "This answer cannot be used" in endpoint.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize("name", ["status 401", "status 404", "status 402", "429 quota", "429 in an hour", "redirect"])
def test_what_waiting_cannot_mend_is_not_repeated(serve: Callable[..., Endpoint], name: str) -> None:
    endpoint = serve(lambda request: FAULTS[name])
    assert writer(endpoint).write(SCORES).generator == "fallback"
    assert len(endpoint.requests) == 1


def test_a_redirect_carries_nothing_to_another_host(serve: Callable[..., Endpoint]) -> None:
    other = serve(lambda request: changed())
    first = serve(lambda request: error(307, headers={"Location": f"{other.url}/chat/completions"}))
    assert writer(first).write(SCORES).generator == "fallback"
    assert other.requests == []


def test_an_endpoint_that_keeps_failing_is_left_alone(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda request: FAULTS["status 401"])
    shared = writer(endpoint)
    for _ in range(GIVE_UP_AFTER + 3):
        assert shared.write(SCORES).generator == "fallback"
    assert len(endpoint.requests) == GIVE_UP_AFTER


def test_answers_inside_a_code_fence_are_read(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda request: completion(f"```json\n{json.dumps(good_content(SCORES))}\n```"))
    assert writer(endpoint).write(SCORES).generator == "model"
