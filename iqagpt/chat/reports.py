"""One verified report for four scores: from a space of finished reports, by a language model, or by the template.

Whatever a language model does, the result is a report that the verifier has passed, or the template's (``fallback``); the
scores are never its own. See docs/reports.md.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from iqagpt.chat.answers import AnswerError, read_report
from iqagpt.chat.cache import AnswerCache
from iqagpt.chat.client import ChatClient, ChatFailedError, ChatUnavailableError, check_endpoint, open_client
from iqagpt.chat.prompts import PROMPT_VERSION, repair_messages, report_messages, report_schema
from iqagpt.chat.templates import template_report
from iqagpt.criteria import KEYS

logger = logging.getLogger(__name__)

Generator = Literal["template", "space", "model", "fallback"]
TEMPLATE, OPENAI = "template", "openai"
#: Failures of the endpoint in a row after which it is left alone, and for how many seconds.
GIVE_UP_AFTER = 3
REST_S = 60.0

Scores = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Report:
    """A verified report.

    Attributes
    ----------
    text : str
        Plain text.
    generator : str
        ``template``; ``space``, written and verified beforehand by `iqagpt reports build`; ``model``, by a language model
        just now; ``fallback``, the template in place of a language model's text that failed or was refused.
    findings : tuple of str
        For ``fallback``: why.
    """

    text: str
    generator: Generator
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportParams:
    """Section ``report``.

    Attributes
    ----------
    generator : str
        ``template``: no network at all. ``openai``: any OpenAI-compatible endpoint.
    space : str
        A JSON file of ``iqagpt reports build``, which comes first; ``presets/none.txt`` for none.
    endpoint : str
        Base URL of the endpoint.
    model : str
        Name of the model there.
    allow_remote : bool
        Whether the endpoint may be another machine.
    timeout_s : float
        Seconds that one report may take, retries and repair included.
    max_retries : int
        Further requests after failed ones, for one report.
    rate : bool
        Whether the language model also rates every caption, to measure how often it agrees with the parser.
    """

    generator: Literal["template", "openai"]
    space: str
    endpoint: str
    model: str
    allow_remote: bool
    timeout_s: float
    max_retries: int
    rate: bool

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint)
        if not self.model.strip():
            raise ValueError("model: expected a model's name, got nothing")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s: expected seconds > 0, got {self.timeout_s}")
        if not 0 <= self.max_retries <= 10:
            raise ValueError(f"max_retries: expected 0 to 10, got {self.max_retries}")

    def open_client(self) -> ChatClient:
        """Return the client of the endpoint; nothing is sent yet."""
        return open_client(
            self.endpoint,
            self.model,
            allow_remote=self.allow_remote,
            timeout_s=self.timeout_s,
            max_retries=self.max_retries,
        )


class ReportWriter:
    """Write reports; obtained from `open_writer`. Safe to share among threads.

    Parameters
    ----------
    client : ChatClient, optional
        A language model.
    space : mapping, optional
        Finished reports by `space_key`.
    cache : AnswerCache, optional
        Where its answers are kept.
    """

    def __init__(
        self,
        client: ChatClient | None = None,
        space: Mapping[str, Report] | None = None,
        cache: AnswerCache | None = None,
    ) -> None:
        self.client = client
        self._space = dict(space or {})
        self._cache = cache
        self._written: dict[str, Report] = {}
        self._failures = 0
        self._resting_until = 0.0
        self._lock = threading.Lock()

    def write(self, scores: Scores) -> Report:
        """Return a verified report; never raises for what an endpoint does.

        Parameters
        ----------
        scores : mapping
            As for `template_report`: 1 (best) to 4 (worst), None for no lesion, no entry where it could not be read.
        """
        key = space_key(scores)
        if key in self._space:
            return self._space[key]
        if self.client is None:
            return Report(template_report(scores), "template")
        with self._lock:
            known = self._written.get(key)
        if known is None:
            known = self._ask(scores)
            if known.generator == "model":
                with self._lock:
                    self._written[key] = known
        return known

    def _ask(self, scores: Scores) -> Report:
        messages = report_messages(scores)
        question = self._question(messages)
        kept = self._cache.find(question) if self._cache else None
        if kept is not None:
            try:
                return Report(read_report(kept, scores), "model")
            except AnswerError:
                logger.info("a kept answer is not used, as it no longer passes")
        if time.monotonic() < self._resting_until:
            return _fallback(
                scores, (f"the endpoint failed {GIVE_UP_AFTER} times in a row and is left alone for a while",)
            )
        try:
            text, answer = self._converse(messages, scores)
        except (ChatUnavailableError, ChatFailedError) as error:
            self._failed()
            return _fallback(scores, (str(error),))
        except AnswerError as error:
            self._failures = 0
            return _fallback(scores, error.findings)
        self._failures = 0
        if self._cache:
            self._cache.keep(question, answer)
        return Report(text, "model")

    def _converse(self, messages: list[dict[str, str]], scores: Scores) -> tuple[str, str]:
        """Ask once, and once more with what was wrong, within one budget."""
        budget = self.client.budget()
        answer = self.client.complete(messages, report_schema(), budget)
        try:
            return read_report(answer, scores), answer
        except AnswerError as error:
            first = error.findings
        try:
            answer = self.client.complete(repair_messages(messages, answer, first), report_schema(), budget)
            return read_report(answer, scores), answer
        except AnswerError as error:
            raise AnswerError(*error.findings) from None
        except (ChatUnavailableError, ChatFailedError):
            raise AnswerError(*first) from None

    def _question(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        url = urlsplit(self.client.endpoint)
        endpoint = f"{url.hostname}{url.path}"
        return {
            "prompt_version": PROMPT_VERSION,
            "model": self.client.model,
            "endpoint": endpoint,
            "messages": messages,
        }

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= GIVE_UP_AFTER:
            self._resting_until, self._failures = time.monotonic() + REST_S, 0
            logger.warning("%d failures in a row: the endpoint is left alone for %g s", GIVE_UP_AFTER, REST_S)


def open_writer(
    *,
    endpoint: str | None = None,
    model: str | None = None,
    space: Path | None = None,
    allow_remote: bool = False,
    timeout_s: float = 60.0,
    max_retries: int = 2,
    cache: Path | None = None,
) -> ReportWriter:
    """Return a writer of reports; without arguments, by the template alone.

    Parameters
    ----------
    endpoint, model : str, optional
        An OpenAI-compatible endpoint and the name of a model there. The key comes from the environment.
    space : Path, optional
        A file of finished reports (``iqagpt reports build``), which come first.
    allow_remote : bool
        Whether the endpoint may be another machine.
    timeout_s : float
        Seconds that one report may take.
    max_retries : int
        Further requests after failed ones, for one report.
    cache : Path, optional
        Folder for a language model's answers.

    Raises
    ------
    InputError
        If the endpoint is no address, remote without `allow_remote`, or lacks a key; or the space cannot be used.
    """
    from iqagpt.chat.space import read_space

    client = None
    if endpoint is not None:
        client = open_client(
            endpoint, model or "default", allow_remote=allow_remote, timeout_s=timeout_s, max_retries=max_retries
        )
    return ReportWriter(client, read_space(space) if space else None, AnswerCache(cache) if cache and client else None)


def space_key(scores: Scores) -> str:
    """Return a short text for four scores: ``3-2-n-1``; ``n`` for no lesion, ``u`` where undetermined."""
    return "-".join("u" if key not in scores else "n" if scores[key] is None else str(scores[key]) for key in KEYS)


def _fallback(scores: Scores, findings: tuple[str, ...]) -> Report:
    shown = "; ".join(findings)[:500]
    logger.warning("report for scores %s falls back to the template: %s", space_key(scores), shown)
    return Report(template_report(scores), "fallback", findings)
