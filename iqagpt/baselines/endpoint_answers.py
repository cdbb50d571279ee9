"""Answers of a chat endpoint to many questions, each asked once ever: within a budget and a deadline, and kept by content.

An answer lies in ``.iqagpt/answers`` of the working folder, or where ``IQAGPT_ANSWERS`` says (``off``: nowhere), under a hash of
endpoint, model and the whole question, images included. The folder is outside a stage's ``outs``, which DVC deletes before the
stage runs. It holds answers, never questions or images.
"""

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openai
from tqdm import tqdm

from iqagpt.errors import InputError

logger = logging.getLogger(__name__)

KEY_VARIABLE, FOLDER_VARIABLE = "OPENAI_API_KEY", "IQAGPT_ANSWERS"
FOLDER = Path(".iqagpt/answers")
#: So many questions in a row without an answer, and the rest is not asked.
MOST_FAILURES = 5
_UNAVAILABLE = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
_FILTERED = "content_filter"


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask, and how long: the attributes of section ``baseline.gpt4v`` of the same names."""

    endpoint: str
    model: str
    timeout_s: float
    max_retries: int
    parallel: int
    max_calls: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said; a refusal may have no words."""

    kind: Literal["answer", "refusal"]
    text: str


class _Failed(Exception):
    """No answer to one question; another attempt may succeed."""


class _Stopped(Exception):
    """No further question makes sense in this run."""


def ask_all(asking: Asking, questions: Iterable[list[dict[str, Any]]], count: int) -> list[Answer]:
    """Ask every question that has not been answered before.

    Parameters
    ----------
    asking : Asking
    questions : iterable of lists of messages
        `count` conversations; read as they are asked.
    count : int

    Returns
    -------
    list of Answer
        In the order of the questions.

    Raises
    ------
    InputError
        If the key is missing, the endpoint refuses, or any question stays without an answer: by failures, at the end of the
        budget, or at the deadline. Answers so far are kept.
    """
    return asyncio.run(_Round(asking, count).run(questions))


class _Round:
    """One run: its budget, its clock, and what has failed."""

    def __init__(self, asking: Asking, count: int) -> None:
        self._asking, self._count = asking, count
        self._folder = _answers_folder()
        self._answers: list[Answer | None] = [None] * count
        self._calls = self._kept = self._failures = self._in_a_row = 0
        self._last_failure = self._stopped = ""
        self._end = time.monotonic() + asking.deadline_s

    async def run(self, questions: Iterable[list[dict[str, Any]]]) -> list[Answer]:
        waiting: asyncio.Queue[tuple[int, list[dict[str, Any]], Path | None]] = asyncio.Queue(self._asking.parallel)
        async with openai.AsyncOpenAI(
            base_url=self._asking.endpoint,
            api_key=_api_key(),
            timeout=self._asking.timeout_s,
            max_retries=self._asking.max_retries,
        ) as client:
            workers = [asyncio.create_task(self._work(client, waiting)) for _ in range(self._asking.parallel)]
            try:
                for index, messages in enumerate(tqdm(questions, "answers", self._count, unit="image", disable=None)):
                    if self._stopped:
                        break
                    file = self._file(messages)
                    self._answers[index] = _read(file)
                    self._kept += self._answers[index] is not None
                    if self._answers[index] is None:
                        await waiting.put((index, messages, file))
                await waiting.join()
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self._finish()

    async def _work(self, client: openai.AsyncOpenAI, waiting: asyncio.Queue) -> None:
        while True:
            index, messages, file = await waiting.get()
            try:
                if not self._stopped:
                    self._answers[index] = await self._ask(client, messages)
                    self._in_a_row = 0
                    _write(file, self._answers[index])
            except _Stopped as reason:
                self._stopped = self._stopped or str(reason)
            except _Failed as reason:
                self._failures, self._in_a_row, self._last_failure = self._failures + 1, self._in_a_row + 1, str(reason)
                if self._in_a_row >= MOST_FAILURES:
                    self._stopped = self._stopped or f"{self._in_a_row} questions in a row got no answer"
            except OSError as error:
                self._stopped = self._stopped or f"{self._folder}: {error.strerror or error}"
            finally:
                waiting.task_done()

    async def _ask(self, client: openai.AsyncOpenAI, messages: list[dict[str, Any]]) -> Answer:
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise _Stopped(f"deadline_s: {self._asking.deadline_s:g} s are over")
        if self._calls >= self._asking.max_calls:
            raise _Stopped(f"max_calls: {self._asking.max_calls} questions have been asked")
        self._calls += 1
        try:
            # The client's time-out counts from one received byte to the next; this one bounds the whole.
            async with asyncio.timeout(min(self._asking.timeout_s, left_s)):
                completion = await client.chat.completions.create(model=self._asking.model, messages=messages)
        except _UNAVAILABLE as error:
            raise _Stopped(f"refused ({_reason(error)}); check {KEY_VARIABLE}, endpoint and model") from None
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if _FILTERED in f"{error.body} {error}":
                return Answer("refusal", "")
            raise _Stopped(f"cannot use the question ({_reason(error)}); does the model see images?") from None
        except (TimeoutError, openai.APITimeoutError):
            raise _Failed(f"no answer within {self._asking.timeout_s:g} s") from None
        except (openai.OpenAIError, ValueError) as error:
            raise _Failed(_reason(error)) from None
        return _read_completion(completion)

    def _file(self, messages: list[dict[str, Any]]) -> Path | None:
        if self._folder is None:
            return None
        content = json.dumps([self._asking.endpoint, self._asking.model, messages], sort_keys=True)
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()}.json"

    def _finish(self) -> list[Answer]:
        found = [answer for answer in self._answers if answer is not None]
        logger.info("%d questions asked, %d answers kept from before", self._calls, self._kept)
        if len(found) == self._count:
            return found
        reasons = [self._stopped, f"{self._failures} failed, the last: {self._last_failure}" if self._failures else ""]
        kept = "no answer is kept" if self._folder is None else f"answers are kept in {self._folder}: run again"
        raise InputError(
            f"{self._asking.endpoint}: {len(found)} of {self._count} images have an answer "
            f"({'; '.join(filter(None, reasons))}); {kept}, or change baseline.gpt4v"
        )


def _read_completion(completion: Any) -> Answer:
    # A server that answers with something else yields text, or an object without these parts.
    try:
        choice = completion.choices[0]
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        finished = choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        raise _Failed("the answer is not a chat completion") from None
    if isinstance(refusal, str) and refusal:
        return Answer("refusal", refusal)
    if finished == _FILTERED:
        return Answer("refusal", text if isinstance(text, str) else "")
    if not isinstance(text, str):
        raise _Failed("the answer holds no text")
    return Answer("answer", text)


def _read(file: Path | None) -> Answer | None:
    if file is None or not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        answer = Answer(content["kind"], content["text"])
    except (ValueError, KeyError, TypeError):
        logger.warning("%s: damaged; asking again", file.name)
        return None
    return answer


def _write(file: Path | None, answer: Answer) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps({"kind": answer.kind, "text": answer.text}), encoding="utf-8")
    os.replace(partial, file)


def _answers_folder() -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE, "").strip() or str(FOLDER)
    return None if folder == "off" else Path(folder)


def _api_key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(
            f"{KEY_VARIABLE} is not set; baseline.gpt4v needs a key in this environment variable (any text for a local "
            "server that asks for none)"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(f"{KEY_VARIABLE} holds characters that are not plain ASCII; set it to the key alone")
    return key


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    key = os.environ.get(KEY_VARIABLE, "").strip()
    # Some servers repeat the key that they refuse. A word such as "none", for servers without keys, is no secret.
    return (text.replace(key, "***") if len(key) > 4 else text)[:200]
