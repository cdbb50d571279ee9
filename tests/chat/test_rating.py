"""The paper's rating by a language model: measured against the parser, misses shown, never used."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from iqagpt.chat.client import open_client
from iqagpt.chat.rating import rate_captions
from iqagpt.criteria import KEYS, caption_to_scores, scores_to_caption
from tests.chat.endpoint import Answer, Endpoint, completion

CAPTIONS = [
    scores_to_caption(dict(zip(KEYS, values, strict=True)))
    for values in ((1, 1, None, 1), (2, 2, None, 2), (4, 4, 2, 4), (4, 4, 2, 4))
]


def rate(request: dict[str, Any]) -> Answer:
    caption = request["messages"][1]["content"].split("\n", 1)[1]
    scores = {key: "N/A" if score is None else score for key, score in caption_to_scores(caption).items()}
    if scores["noise"] == 4:
        scores["noise"] = 1
    return completion(json.dumps(scores))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint(rate)
    yield server
    server.close()


def test_agreement_and_misses(endpoint: Endpoint) -> None:
    found = rate_captions([*CAPTIONS, "nonsense of patient L506"], open_client(endpoint.url, "m"))
    assert found == {
        "captions": 3,
        "rated": 3,
        "agreement": {
            "all": 2 / 3, "noise": 2 / 3, "small_structures": 1, "lesion_conspicuity": 1, "diagnostic_confidence": 1,
        },
        "misses": [{"parser": "4, 4, 2, 4", "model": "1, 4, 2, 4"}],
    }  # fmt: skip
    assert len(endpoint.requests) == 3, "equal captions are rated once"
    assert "L506" not in json.dumps(endpoint.requests)


@pytest.mark.parametrize(
    "text",
    ["fine", "[]", '{"noise": 1}', json.dumps(dict.fromkeys(KEYS, 5)), json.dumps(dict.fromkeys(KEYS, "N/A")),
     json.dumps(dict.fromkeys(KEYS, True)), json.dumps({**dict.fromkeys(KEYS, 1), "why": ""})],
)  # fmt: skip
def test_answers_that_are_no_rating_are_not_counted(endpoint: Endpoint, text: str) -> None:
    endpoint.answer = lambda request: completion(text)
    assert rate_captions(CAPTIONS, open_client(endpoint.url, "m")) == {"captions": 3, "rated": 0, "misses": []}


def test_a_dead_endpoint_ends_it_early(endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (401, "application/json", b"{}")
    captions = [scores_to_caption(dict(zip(KEYS, (n, n, n, n), strict=True))) for n in (1, 2, 3, 4)]
    assert rate_captions(captions, open_client(endpoint.url, "m"))["rated"] == 0
    assert len(endpoint.requests) == 3
