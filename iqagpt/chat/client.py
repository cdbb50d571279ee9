"""Ask any OpenAI-compatible endpoint for text: within a deadline, a number of calls and a size, and nowhere else.

Loopback endpoints (vLLM, Ollama, llama.cpp, ...) need no key; a remote one must be allowed, and its key comes from the
environment alone (`KEY_VARIABLE`). Redirects are not followed, so that a key and a payload reach no other host.
"""

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from iqagpt.errors import InputError

KEY_VARIABLE = "OPENAI_API_KEY"
#: Longest answer that is read, bytes; a report takes about two thousand.
LARGEST = 1_000_000
#: Longest answer that is asked for with a schema, tokens: small models may go on for ever inside a JSON text.
LONGEST_ANSWER = 600
#: Stands for a key where a server of this machine asks for none.
_NO_KEY = "none"
_RETRIED = (408, 409, 429)
_LONGEST_WAIT_S = 8.0


class ChatUnavailableError(InputError):
    """The endpoint cannot be reached, or refuses the key, the model or the address."""


class ChatFailedError(Exception):
    """The endpoint answered late, with an error, or with something that is not a chat completion."""


def check_endpoint(endpoint: str) -> None:
    """Check an endpoint's address.

    Raises
    ------
    ValueError
        If it is no http or https address, or carries a user, a password or a query.
    """
    try:
        url = urlsplit(endpoint)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        credentials = url.username is not None or url.query != ""
    except ValueError:
        valid = credentials = False
    if not valid:
        raise ValueError(f"endpoint: expected an http or https address, got {endpoint!r}")
    if credentials:
        raise ValueError(f"endpoint: expected no user, password or query; the key goes into {KEY_VARIABLE}")


def is_loopback(endpoint: str) -> bool:
    """Say whether an address is on this machine: ``localhost``, ``127.0.0.0/8`` or ``::1``."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_api_key(endpoint: str) -> str:
    """Return the key of an endpoint from the environment.

    Raises
    ------
    InputError
        If the endpoint is remote and the variable not set, or it holds what no HTTP header can carry.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and not is_loopback(endpoint):
        raise InputError(
            f"{KEY_VARIABLE} is not set; {endpoint} is not on this machine and needs a key in this variable"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(f"{KEY_VARIABLE} holds characters that are not plain ASCII; set it to the key alone")
    return key or _NO_KEY


def open_client(
    endpoint: str, model: str, *, allow_remote: bool = False, timeout_s: float = 60.0, max_retries: int = 2
) -> "ChatClient":
    """Return a client for an endpoint; nothing is sent yet.

    Raises
    ------
    InputError
        If the address is not one, is not on this machine though `allow_remote` is False, or the key is missing.
    """
    try:
        check_endpoint(endpoint)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not model.strip():
        raise InputError("model: expected a model's name, got nothing")
    if not allow_remote and not is_loopback(endpoint):
        raise InputError(
            f"{endpoint}: not on this machine; scores and template phrases would leave it. Allow that with --allow-remote "
            "(in a parameter file: report.allow_remote: true), or give an address such as http://127.0.0.1:8080/v1"
        )
    return ChatClient(endpoint, model, timeout_s, max_retries, read_api_key(endpoint))


@dataclass(slots=True)
class Budget:
    """What one report may still take.

    Attributes
    ----------
    ends : float
        `time.monotonic` of the deadline, seconds.
    calls : int
        Requests left.
    """

    ends: float
    calls: int

    @property
    def left_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.ends - time.monotonic())


@dataclass(frozen=True, slots=True)
class ChatClient:
    """A chat model behind an OpenAI-compatible endpoint.

    Attributes
    ----------
    endpoint : str
        Base URL, as ``https://api.openai.com/v1``.
    model : str
        Name of the model there.
    timeout_s : float
        Seconds that one budget lasts, retries included.
    max_retries : int
        Further requests after connection errors, 408, 409, 429 and 5xx, in one budget; one more is for a repair.
    api_key : str
        Never shown.
    """

    endpoint: str
    model: str
    timeout_s: float
    max_retries: int
    api_key: str = field(repr=False)

    def budget(self) -> Budget:
        """Return what one report may take."""
        return Budget(time.monotonic() + self.timeout_s, self.max_retries + 2)

    def complete(
        self, messages: list[dict[str, str]], schema: dict[str, Any] | None = None, budget: Budget | None = None
    ) -> str:
        """Return the model's answer to a conversation.

        Parameters
        ----------
        messages : list of dict
        schema : dict, optional
            JSON schema that the answer is asked to follow; the caller checks whether it does. A server that does not know
            the option is asked again without it.
        budget : Budget, optional
            Shared with other calls for the same report.

        Raises
        ------
        ChatUnavailableError
            If the endpoint cannot be reached or refuses (401, 403, 404, no credit).
        ChatFailedError
            If there is no usable answer within the budget.
        """
        budget = budget or self.budget()
        try:
            return self._text(_run(self._ask_within(messages, schema, budget), budget.left_s + 2))
        except TimeoutError:
            raise ChatFailedError(f"no answer within {self.timeout_s:g} s") from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APIConnectionError as error:
            if isinstance(error, openai.APITimeoutError) and "Connect" not in type(error.__cause__).__name__:
                raise ChatFailedError(f"no answer within {self.timeout_s:g} s") from None
            raise ChatUnavailableError(
                f"{self.endpoint}: cannot be reached ({self._reason(error.__cause__ or error)}); check the address and the "
                "network, or do without a language model"
            ) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise ChatFailedError(self._reason(error)) from None
        except _ANSWER_ERRORS as error:
            raise ChatFailedError(f"the answer broke off ({self._reason(error)})") from None

    def preview(self, messages: list[dict[str, str]], schema: dict[str, Any] | None = None) -> bytes:
        """Return the exact body that `complete` would send, without sending it."""
        caught: list[bytes] = []

        async def keep(request: Any) -> None:
            caught.append(request.content)
            raise _NotSentError

        with contextlib.suppress(openai.APIConnectionError, _NotSentError):
            _run(self._ask(messages, schema, 5.0, before=keep), 10)
        return caught[0]

    async def _ask_within(self, messages: list[dict[str, str]], schema: dict[str, Any] | None, budget: Budget) -> bytes:
        retries = 0
        while True:
            if budget.calls <= 0:
                raise ChatFailedError("the number of calls for one report is used up")
            budget.calls -= 1
            try:
                async with asyncio.timeout(budget.left_s):
                    return await self._ask(messages, schema, budget.left_s)
            except openai.APIStatusError as error:
                if schema is not None and error.status_code in (400, 422):
                    schema = None  # a server that does not know the option
                    continue
                wait = _wait_s(error, retries) if _may_retry(error) else None
                failure: openai.APIError = error
            except openai.APIConnectionError as error:
                wait, failure = _backoff_s(retries), error
            if wait is None or retries >= self.max_retries or wait >= budget.left_s or budget.calls <= 0:
                raise failure
            retries += 1
            await asyncio.sleep(wait)

    async def _ask(
        self, messages: list[dict[str, str]], schema: dict[str, Any] | None, left_s: float, before: Any = None
    ) -> bytes:
        options: dict[str, Any] = {}
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
            options["max_completion_tokens"] = LONGEST_ANSWER
        # The SDK's time-out counts from one received byte to the next, so the caller bounds the whole; each attempt to
        # connect gets its share, so that an address that never answers is told from a slow model.
        connect = max(0.05, left_s / (2 * (self.max_retries + 1)))
        http = openai.DefaultAsyncHttpxClient(
            follow_redirects=False,
            verify=self.endpoint.startswith("https"),  # certificates take a tenth of a second to load
            trust_env=not is_loopback(self.endpoint),  # no proxy between this machine and itself
            event_hooks={"request": [before]} if before else {},
        )
        async with (
            openai.AsyncOpenAI(
                base_url=self.endpoint,
                api_key=self.api_key,
                timeout=openai.Timeout(max(left_s, 0.05), connect=connect),
                max_retries=0,
                http_client=http,
            ) as client,
            client.chat.completions.with_streaming_response.create(
                model=self.model, messages=messages, **options
            ) as response,
        ):
            body = bytearray()
            async for part in response.iter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise ChatFailedError(f"the answer is longer than {LARGEST} bytes")
            return bytes(body)

    def _refused(self, error: openai.APIStatusError) -> Exception:
        if error.status_code in (401, 403, 404) or _no_credit(error):
            return ChatUnavailableError(
                f"{self.endpoint}: refused ({self._reason(error)}); check {KEY_VARIABLE}, the endpoint and the model"
            )
        return ChatFailedError(self._reason(error) or f"status {error.status_code}")

    def _text(self, body: bytes) -> str:
        try:
            choice = json.loads(body)["choices"][0]
            message, finished = choice["message"], choice.get("finish_reason")
            text, refusal = message.get("content"), message.get("refusal")
        except (ValueError, AttributeError, IndexError, KeyError, TypeError, RecursionError):
            raise ChatFailedError("the answer is not a chat completion") from None
        if refusal:
            raise ChatFailedError("the model refused to answer")
        if finished not in ("stop", None):
            raise ChatFailedError(f"the answer is incomplete (finish_reason '{str(finished)[:30]}')")
        if not isinstance(text, str):
            raise ChatFailedError("the answer holds no text")
        return text

    def _reason(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        text = "".join(char for char in text if char.isprintable())
        # Some servers repeat the key that they refuse. A word such as "none", for servers without keys, is no secret.
        return (text.replace(self.api_key, "***") if len(self.api_key) > 4 else text)[:200]


class _NotSentError(Exception):
    """Ends a request before it is sent."""


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the HTTP library that the SDK brings, whichever it is, for a body that breaks off."""
    library = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0]
    module = sys.modules[library]
    return module.TransportError, module.DecodingError, module.StreamError


_ANSWER_ERRORS = _transport_errors()


def _run(task: Any, limit_s: float) -> Any:
    """Run a coroutine to its end, also where an event loop is running already (a web server's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(task)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, task).result(limit_s)


def _may_retry(error: openai.APIStatusError) -> bool:
    return (error.status_code in _RETRIED or error.status_code >= 500) and not _no_credit(error)


def _no_credit(error: openai.APIStatusError) -> bool:
    # A used-up quota is a 429 that no waiting mends.
    return error.status_code == 402 or "insufficient_quota" in f"{error.code} {error.body}"


def _wait_s(error: openai.APIStatusError, retries: int) -> float:
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return _backoff_s(retries)


def _backoff_s(retries: int) -> float:
    return min(_LONGEST_WAIT_S, 0.25 * 2**retries)
