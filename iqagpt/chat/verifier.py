"""Checks of a report that a language model wrote: it must state the four scores, and no other number."""

import re
from collections.abc import Mapping

from iqagpt.chat.templates import NOT_APPLICABLE, UNKNOWN
from iqagpt.criteria import CRITERIA

#: Longest report accepted, characters; the prompt asks for 150 words.
LONGEST = 3000


def find_problems(report: str, scores: Mapping[str, int | None]) -> list[str]:
    """Say what is wrong with a report.

    Parameters
    ----------
    report : str
        The language model's text.
    scores : mapping
        The scores it was asked to report, as for `template_report`.

    Returns
    -------
    list of str
        One entry per problem; empty if the report may be used.
    """
    if not report.strip():
        return ["the report is empty"]
    if len(report) > LONGEST:
        return [f"the report has {len(report)} characters, more than {LONGEST}"]
    problems = []
    if any(not char.isprintable() and char not in "\n\t" for char in report):
        problems.append("the report holds control characters")
    problems += _wrong_numbers(report, scores)
    for criterion in CRITERIA:
        problems += _criterion_problems(report, criterion.key, criterion.title, scores)
    return problems


def _wrong_numbers(report: str, scores: Mapping[str, int | None]) -> list[str]:
    allowed = {str(score) for score in scores.values() if score is not None}
    numbers = set(re.findall(r"[-+]?\d+(?:[.,/]\d+)*", report)) - allowed
    return [f"the number {number} is not one of the scores" for number in sorted(numbers)]


def _criterion_problems(report: str, key: str, title: str, scores: Mapping[str, int | None]) -> list[str]:
    text = " ".join(report.split()).lower()
    others = "|".join(re.escape(c.title.lower()) for c in CRITERIA)
    # What is said of a criterion runs from its name to the next criterion's name.
    said = re.findall(rf"{re.escape(title.lower())}(.*?)(?={others}|impression|$)", text)
    if not said:
        return [f"'{title}' is not mentioned"]
    stated = {int(number) for part in said for number in re.findall(r"\d+", part)}
    score = scores.get(key)
    if score is not None:
        return [] if stated == {score} else [f"'{title}': expected the score {score}, got {_listed(stated)}"]
    words = NOT_APPLICABLE if key in scores else UNKNOWN
    problems = [f"'{title}': expected no score, got {_listed(stated)}"] if stated else []
    if words not in text:
        problems.append(f"'{title}': expected the words '{words}'")
    return problems


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
