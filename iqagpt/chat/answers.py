"""Check what a language model answers before any word of it is used: the JSON's form first, then every sentence.

Our own validation: what the endpoint promises about its schema is not relied on.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from iqagpt.chat.prompts import NA, UNDETERMINED
from iqagpt.chat.templates import lay_out
from iqagpt.chat.verifier import LONGEST_SENTENCE, find_contradictions, find_sentence_problems
from iqagpt.criteria import CRITERIA, KEYS, SCORES

_KEYS = {name: criterion.key for criterion in CRITERIA for name in (criterion.title.lower(), criterion.key)}
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)


class AnswerError(ValueError):
    """An answer that cannot be used; `findings` says why.

    Attributes
    ----------
    findings : tuple of str
    """

    def __init__(self, *findings: str) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


def read_report(answer: str, scores: Mapping[str, int | None]) -> str:
    """Turn a language model's answer into a verified report.

    Parameters
    ----------
    answer : str
        JSON of `iqagpt.chat.prompts.report_schema`.
    scores : mapping
        The scores it was given.

    Returns
    -------
    str
        In the same form as `template_report`.

    Raises
    ------
    AnswerError
        If the form is wrong, a score differs, or the verifier finds anything.
    """
    content = _object(answer, ("sentences", "summary"))
    texts = _sentences(content["sentences"], scores)
    findings = [problem for key in KEYS for problem in find_sentence_problems(texts[key], key, scores)]
    summary = _plain(content["summary"], "summary")
    if findings:
        raise AnswerError(*findings)
    report = lay_out([texts[key] for key in KEYS], summary)
    findings = list(find_contradictions(report, scores))
    if findings:
        raise AnswerError(*findings)
    return report


def read_rating(answer: str) -> dict[str, int | None]:
    """Turn a language model's rating into scores.

    Raises
    ------
    AnswerError
        If it is not the JSON of `iqagpt.chat.prompts.rating_schema`.
    """
    content = _object(answer, KEYS)
    scores: dict[str, int | None] = {}
    for criterion in CRITERIA:
        value = content[criterion.key]
        if value == NA and criterion.absent:
            scores[criterion.key] = None
        elif type(value) is int and value in SCORES:
            scores[criterion.key] = value
        else:
            raise AnswerError(f"{criterion.key}: expected 1 to 4, got {str(value)[:30]!r}")
    return scores


def _object(answer: str, keys: tuple[str, ...]) -> dict[str, Any]:
    fenced = _FENCE.fullmatch(answer)
    try:
        content = json.loads(fenced.group(1) if fenced else answer)
    except (ValueError, RecursionError):
        raise AnswerError("the answer is not JSON") from None
    if not isinstance(content, dict) or set(content) != set(keys):
        raise AnswerError(f"expected a JSON object with the keys {', '.join(keys)} and no others")
    return content


def _sentences(items: Any, scores: Mapping[str, int | None]) -> dict[str, str]:
    if not isinstance(items, list) or len(items) != len(KEYS):
        raise AnswerError(f"sentences: expected a list of {len(KEYS)}")
    texts: dict[str, str] = {}
    for item in items:
        if not isinstance(item, dict) or set(item) != {"criterion", "score", "text"}:
            raise AnswerError("sentences: expected objects with criterion, score and text")
        key = _KEYS.get(str(item["criterion"]).strip().lower())
        if key is None or key in texts:
            raise AnswerError("sentences: expected each criterion exactly once")
        if not _same(item["score"], key, scores):
            raise AnswerError(f"{item['criterion']}: the score was changed")
        text = _plain(item["text"], "text")
        score = scores.get(key)
        texts[key] = text if score is None or re.search(r"\d", text) else f"{text} (score {score})"
    return texts


def _same(value: Any, key: str, scores: Mapping[str, int | None]) -> bool:
    if key not in scores:
        return value == UNDETERMINED or value is None
    score = scores[key]
    if score is None:
        return value == NA or value is None
    return (type(value) is int and value == score) or value == str(score)


def _plain(text: Any, where: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise AnswerError(f"{where}: expected text")
    text = " ".join(text.split()).removesuffix(".").strip()
    if len(text) > LONGEST_SENTENCE:
        raise AnswerError(f"{where}: expected at most {LONGEST_SENTENCE} characters")
    return text
