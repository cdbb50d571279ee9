"""One report for four scores: template, space, language model, cache; params."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iqagpt.chat.cache import AnswerCache
from iqagpt.chat.client import open_client
from iqagpt.chat.reports import Report, ReportParams, ReportWriter, open_writer, space_key
from iqagpt.chat.templates import template_report
from iqagpt.criteria import KEYS, Scores, all_scores
from iqagpt.errors import InputError
from tests.chat.endpoint import Endpoint, good_report, scores_in

SCORES: Scores = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint(good_report)
    yield server
    server.close()


def test_without_arguments_the_template_writes() -> None:
    assert open_writer().write(SCORES) == Report(template_report(SCORES), "template")


def test_a_model_writes_and_equal_scores_are_asked_once(endpoint: Endpoint) -> None:
    writer = open_writer(endpoint=endpoint.url, model="local-model")
    first, second = writer.write(SCORES), writer.write({**SCORES, "patient_id": "L506"})
    assert first == second
    assert first.generator == "model"
    assert first.text.startswith("TECHNIQUE")
    assert len(endpoint.requests) == 1
    assert scores_in(endpoint.requests[0]) == SCORES
    assert "L506" not in json.dumps(endpoint.requests)


def test_a_criterion_that_was_not_read_is_reported_so(endpoint: Endpoint) -> None:
    scores = {key: SCORES[key] for key in KEYS[1:]}
    report = open_writer(endpoint=endpoint.url, model="m").write(scores)
    assert report.generator == "model", report.findings
    assert "could not be determined" in report.text


def test_a_space_comes_first(endpoint: Endpoint) -> None:
    known = Report("finished", "space")
    writer = ReportWriter(open_client(endpoint.url, "m"), {space_key(SCORES): known})
    assert writer.write(SCORES) == known
    assert endpoint.requests == []


def test_kept_answers_need_no_endpoint_and_are_checked_again(endpoint: Endpoint, tmp_path: Path) -> None:
    cache = tmp_path / "answers"
    first = open_writer(endpoint=endpoint.url, model="m", cache=cache).write(SCORES)
    assert open_writer(endpoint=endpoint.url, model="m", cache=cache).write(SCORES) == first
    assert len(endpoint.requests) == 1
    (file,) = cache.rglob("*.json")
    file.write_text(file.read_text().replace("sub-optimal", "excellent"))
    assert open_writer(endpoint=endpoint.url, model="m", cache=cache).write(SCORES) == first
    assert len(endpoint.requests) == 2, "an edited answer is asked for again"
    open_writer(endpoint=endpoint.url, model="another", cache=cache).write(SCORES)
    assert len(endpoint.requests) == 3


def test_a_cache_survives_damage_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.keep({"a": 1}, "x")
    assert cache.find({"a": 1}) == "x"
    assert cache.find({"a": 2}) is None
    (file,) = tmp_path.rglob("*.json")
    for damage in ("", "[]", '{"answer": 3}', "{"):
        file.write_text(damage)
        assert cache.find({"a": 1}) is None
    (tmp_path / "file").write_text("")
    AnswerCache(tmp_path / "file").keep({"a": 1}, "x")


def test_keys_tell_all_scores_apart() -> None:
    assert len({space_key(scores) for scores in all_scores()}) == 320
    assert space_key({"noise": 3, "lesion_conspicuity": None, "diagnostic_confidence": 1}) == "3-u-n-1"


def test_remote_endpoints_and_bad_addresses_are_refused() -> None:
    with pytest.raises(InputError, match="--allow-remote"):
        open_writer(endpoint="https://example.org/v1", model="m")
    with pytest.raises(InputError, match="http or https"):
        open_writer(endpoint="example.org", model="m")


GOOD_PARAMS: dict[str, Any] = {
    "generator": "openai", "endpoint": "http://127.0.0.1:8000/v1", "model": "m", "timeout_s": 1.0, "max_retries": 0,
    "space": "presets/none.txt", "allow_remote": False, "rate": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": "api.openai.com/v1"}, "endpoint: expected an http or https address"),
        ({"endpoint": "file:///etc/passwd"}, "endpoint: expected an http or https address"),
        ({"endpoint": "http://host:port/v1"}, "endpoint: expected an http or https address"),
        ({"endpoint": "https://me:key@host/v1"}, "endpoint: expected no user"),
        ({"endpoint": "https://host/v1?key=1"}, "endpoint: expected no user"),
        ({"model": " "}, "model: "),
        ({"timeout_s": 0.0}, "timeout_s: expected seconds > 0"),
        ({"max_retries": -1}, "max_retries: expected 0 to 10"),
    ],
)
def test_params_are_checked(changes: dict[str, Any], message: str) -> None:
    ReportParams(**GOOD_PARAMS)
    with pytest.raises(ValueError, match=message):
        ReportParams(**GOOD_PARAMS | changes)
