"""Ask any OpenAI-compatible endpoint for text, within a deadline.

Endpoint and model are params; the key alone comes from the environment (`KEY_VARIABLE`).
"""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import openai

from iqagpt.errors import InputError

KEY_VARIABLE = "OPENAI_API_KEY"

_REFUSED = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class ChatUnavailableError(InputError):
    """The endpoint cannot be reached, or refuses the key, the model or the address."""


class ChatFailedError(Exception):
    """The endpoint answered late, with an error, or with something that is not a chat completion."""


def read_api_key() -> str:
    """Return the key of the endpoint from the environment.

    Raises
    ------
    InputError
        If the variable is not set, or holds what no HTTP header can carry.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(
            f"{KEY_VARIABLE} is not set; report.generator is 'openai', which needs a key in this environment variable "
            "(any text for a local server that asks for none), or set report.generator to 'template'"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(f"{KEY_VARIABLE} holds characters that are not plain ASCII; set it to the key alone")
    return key


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
        Seconds that one question may take, retries included.
    max_retries : int
        Further attempts after a connection error, a time-out or the statuses 408, 409, 429 and 500 and above.
    api_key : str
        Never shown.
    """

    endpoint: str
    model: str
    timeout_s: float
    max_retries: int
    api_key: str = field(repr=False)

    def complete(self, messages: list[dict[str, str]]) -> str:
        """Return the model's answer to a conversation.

        Only model and messages are sent, since servers differ in which other options they accept.

        Raises
        ------
        ChatUnavailableError
            If the endpoint cannot be reached or refuses (401, 403, 404).
        ChatFailedError
            If there is no usable answer within the deadline.
        """
        try:
            completion = asyncio.run(self._ask(messages))
        except _REFUSED as error:
            raise ChatUnavailableError(
                f"{self.endpoint}: refused ({self._reason(error)}); check {KEY_VARIABLE}, report.endpoint and "
                "report.model"
            ) from None
        except openai.APIConnectionError as error:
            if isinstance(error, openai.APITimeoutError) and "Connect" not in type(error.__cause__).__name__:
                raise ChatFailedError(f"no answer within {self.timeout_s:g} s") from None
            raise ChatUnavailableError(
                f"{self.endpoint}: cannot be reached ({self._reason(error.__cause__ or error)}); check report.endpoint "
                "and the network, or set report.generator to 'template'"
            ) from None
        except TimeoutError:
            raise ChatFailedError(f"no answer within {self.timeout_s:g} s") from None
        except (openai.OpenAIError, ValueError) as error:
            raise ChatFailedError(self._reason(error)) from None
        return self._text(completion)

    async def _ask(self, messages: list[dict[str, str]]) -> Any:
        # The SDK's time-out counts from one received byte to the next, so it alone would not bound a slow answer; and
        # each attempt to connect gets its share, so that an address that never answers is told from a slow model.
        connect = self.timeout_s / (2 * (self.max_retries + 1))
        async with (
            asyncio.timeout(self.timeout_s),
            openai.AsyncOpenAI(
                base_url=self.endpoint,
                api_key=self.api_key,
                timeout=openai.Timeout(self.timeout_s, connect=connect),
                max_retries=self.max_retries,
            ) as client,
        ):
            return await client.chat.completions.create(model=self.model, messages=messages)

    def _text(self, completion: Any) -> str:
        # A server that answers with something else yields text, or an object without these parts.
        try:
            choice = completion.choices[0]
            text, finished = choice.message.content, choice.finish_reason
        except (AttributeError, IndexError, TypeError):
            raise ChatFailedError("the answer is not a chat completion") from None
        if finished not in ("stop", None):
            raise ChatFailedError(f"the answer is incomplete (finish_reason '{finished}')")
        if not isinstance(text, str):
            raise ChatFailedError("the answer holds no text")
        return text

    def _reason(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        # Some servers repeat the key that they refuse. A word such as "none", for servers without keys, is no secret.
        return (text.replace(self.api_key, "***") if len(self.api_key) > 4 else text)[:200]
