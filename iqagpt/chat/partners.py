"""Who answers in a dialogue: a report writer and, where an endpoint is named, a language model for free questions.

Between the options of ``iqagpt chat`` and ``iqagpt serve`` and `iqagpt.chat.dialogue`. A language model that keeps failing is left
alone for a while, so that nobody waits for a dead endpoint again and again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from iqagpt.chat.client import ChatFailedError, ChatUnavailableError
from iqagpt.chat.reports import GIVE_UP_AFTER, REST_S, ReportWriter, open_writer
from iqagpt.errors import InputError

if TYPE_CHECKING:
    from iqagpt.chat.client import Budget, ChatClient

#: Seconds that one answer may take; a person is waiting.
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Partners:
    """Who answers.

    Attributes
    ----------
    writer : ReportWriter
    client : WatchedClient or None
        A language model.
    name : str or None
        Its host and name, for people.
    """

    writer: ReportWriter
    client: "WatchedClient | None" = None
    name: str | None = None


class WatchedClient:
    """A `ChatClient` that shows what it sends, and rests after failures.

    Parameters
    ----------
    client : ChatClient
    show : callable, optional
        Called with the exact bytes before each question and report is sent.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        client: "ChatClient",
        show: Callable[[bytes], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._show = show
        self._clock = clock
        self._failures = 0
        self._resting_until = -1.0
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def complete(
        self, messages: list[dict[str, str]], schema: dict[str, Any] | None = None, budget: "Budget | None" = None
    ) -> str:
        """Return the model's answer; see `ChatClient.complete`.

        Raises
        ------
        ChatUnavailableError
            As there, or while it rests.
        ChatFailedError
            As there.
        """
        with self._lock:
            if self._clock() < self._resting_until:
                raise ChatUnavailableError(
                    f"the language model failed {GIVE_UP_AFTER} times in a row and is left alone for a while"
                )
        if self._show is not None:
            self._show(self._client.preview(messages, schema))
        try:
            answer = self._client.complete(messages, schema, budget)
        except (ChatUnavailableError, ChatFailedError):
            self._count(failed=True)
            raise
        self._count(failed=False)
        return answer

    def _count(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= GIVE_UP_AFTER:
                self._resting_until, self._failures = self._clock() + REST_S, 0


def open_partners(
    endpoint: str | None = None,
    language_model: str | None = None,
    *,
    space: Path | None = None,
    allow_remote: bool = False,
    show: Callable[[bytes], None] | None = None,
) -> Partners:
    """Open what the options name; without any, templates answer.

    Parameters
    ----------
    endpoint, language_model : str, optional
        An OpenAI-compatible endpoint, and the name of a model there.
    space : Path, optional
        A file of finished reports (``iqagpt reports build``).
    allow_remote : bool
        Whether the endpoint may be another machine.
    show : callable, optional
        Called with all that is sent, before it is.

    Raises
    ------
    InputError
        As `open_writer`, or if one of `endpoint` and `language_model` is missing.
    """
    if (endpoint is None) != (language_model is None):
        raise InputError("give --endpoint and --language-model together, or neither")
    writer = open_writer(
        endpoint=endpoint,
        model=language_model,
        space=space,
        allow_remote=allow_remote,
        timeout_s=TIMEOUT_S,
        max_retries=1,
    )
    if writer.client is None:
        return Partners(writer)
    writer.client = WatchedClient(writer.client, show)
    return Partners(writer, writer.client, f"{urlsplit(endpoint).netloc} ({language_model})")
