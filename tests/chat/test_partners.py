"""A language model that keeps failing is left alone; what is sent is shown."""

import json

import pytest
from endpoint import Endpoint, completion

from iqagpt.chat.client import ChatFailedError, ChatUnavailableError
from iqagpt.chat.partners import WatchedClient, open_partners
from iqagpt.chat.reports import GIVE_UP_AFTER, REST_S
from iqagpt.errors import InputError

QUESTION = [{"role": "user", "content": "How noisy is it?"}]


class Failing:
    """A client that fails until it is mended."""

    def __init__(self):
        self.error, self.calls = ChatFailedError("no answer"), 0

    def complete(self, messages, schema=None, budget=None):
        self.calls += 1
        if self.error:
            raise self.error
        return "fine"


def test_a_failing_language_model_rests_and_is_asked_again_later():
    now = [100.0]
    client = Failing()
    watched = WatchedClient(client, clock=lambda: now[0])
    for _ in range(GIVE_UP_AFTER):
        with pytest.raises(ChatFailedError):
            watched.complete(QUESTION)
    with pytest.raises(ChatUnavailableError, match="left alone"):
        watched.complete(QUESTION)
    assert client.calls == GIVE_UP_AFTER
    now[0] += REST_S + 1
    client.error = None
    assert watched.complete(QUESTION) == "fine"


def test_an_answer_in_between_starts_the_count_again():
    client = Failing()
    watched = WatchedClient(client)
    for turn in range(4 * GIVE_UP_AFTER):
        client.error = None if turn % GIVE_UP_AFTER == 0 else ChatFailedError("no answer")
        try:
            watched.complete(QUESTION)
        except ChatFailedError:
            continue
    assert client.calls == 4 * GIVE_UP_AFTER


def test_what_is_shown_is_what_is_sent():
    shown = []
    endpoint = Endpoint(lambda request: completion("I cannot answer that from the scores."))
    try:
        partners = open_partners(endpoint.url, "small", show=shown.append)
        partners.client.complete(QUESTION)
        assert len(shown) == len(endpoint.requests) == 1
        assert json.loads(shown[0]) == endpoint.requests[0]
        assert partners.name == f"{endpoint.url.split('/')[2]} (small)"
    finally:
        endpoint.close()


def test_without_an_endpoint_there_is_no_language_model():
    partners = open_partners()
    assert partners.client is None and partners.name is None


@pytest.mark.parametrize(
    ("endpoint", "model", "reason"),
    [
        ("http://127.0.0.1:1/v1", None, "together"),
        (None, "small", "together"),
        ("http://example.org/v1", "small", "--allow-remote"),
        ("file:///etc", "small", "http"),
    ],
)
def test_what_cannot_be_opened_is_told(endpoint, model, reason):
    with pytest.raises(InputError, match=reason):
        open_partners(endpoint, model)
