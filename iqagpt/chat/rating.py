"""Captions rated by a language model, as the paper has it (2.3, Fig. 4), and how often that agrees with the parser.

Measured, never used: scores always come from `iqagpt.criteria.caption_to_scores`.
"""

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from iqagpt.chat.answers import AnswerError, read_rating
from iqagpt.chat.client import ChatClient, ChatFailedError, ChatUnavailableError
from iqagpt.chat.prompts import rating_messages, rating_schema
from iqagpt.chat.reports import GIVE_UP_AFTER
from iqagpt.criteria import KEYS, caption_to_scores, scores_to_caption

logger = logging.getLogger(__name__)

#: Misses that are listed.
_SHOWN = 20


def rate_captions(captions: Iterable[str], client: ChatClient) -> dict[str, Any]:
    """Let a language model rate each distinct caption that the parser understands, and compare.

    Parameters
    ----------
    captions : iterable of str
        Predicted captions; what is sent is the template caption of the scores that were read, never free text.
    client : ChatClient

    Returns
    -------
    dict
        ``captions``, distinct ones; ``rated``, those with a usable answer; ``agreement``, the part of these with all four
        scores as the parser's, and by criterion; ``misses``, up to 20 of the others as caption's scores and answer.
        ``agreement`` is left out if nothing was rated.
    """
    scores = [caption_to_scores(caption) for caption in captions]
    parsed = sorted({scores_to_caption(each) for each in scores if len(each) == len(KEYS)})
    answers: dict[str, dict[str, int | None]] = {}
    failures = 0
    for caption in tqdm(parsed, desc="ratings", unit="caption", disable=None):
        try:
            answers[caption] = read_rating(client.complete(rating_messages(caption), rating_schema()))
            failures = 0
        except AnswerError as error:
            logger.warning("a rating cannot be used: %s", error)
        except (ChatFailedError, ChatUnavailableError) as error:
            logger.warning("a rating failed: %s", error)
            failures += 1
            if failures == GIVE_UP_AFTER:
                logger.warning("%d failures in a row: no further captions are rated", failures)
                break
    return _compare(parsed, answers)


def _compare(parsed: list[str], answers: dict[str, dict[str, int | None]]) -> dict[str, Any]:
    found: dict[str, Any] = {"captions": len(parsed), "rated": len(answers), "misses": []}
    if not answers:
        return found
    truths = {caption: caption_to_scores(caption) for caption in answers}
    shares = {key: _share(answers[c][key] == truths[c][key] for c in answers) for key in KEYS}
    found["agreement"] = {"all": _share(answers[c] == truths[c] for c in answers), **shares}
    wrong = [caption for caption in answers if answers[caption] != truths[caption]]
    found["misses"] = [{"parser": _shown(truths[c]), "model": _shown(answers[c])} for c in wrong[:_SHOWN]]
    return found


def _share(agreed: Iterable[bool]) -> float:
    values = list(agreed)
    return sum(values) / len(values)


def _shown(scores: dict[str, int | None]) -> str:
    return ", ".join("N/A" if scores[key] is None else str(scores[key]) for key in KEYS)
