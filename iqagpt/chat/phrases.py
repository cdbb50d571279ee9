"""Cut one sentence of a report into the phrases of the closed vocabulary, each with its kind, facet and concept."""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from iqagpt.chat.lexicon import ENTRIES, LONGEST_PHRASE

_SCORES = frozenset("1234")
_TOKEN = re.compile(r"n/a\b|\d[\d.,:/%-]*(?<![.,:-])|[a-z]+|[(),;:]|\S")
_SCORE_WORDS = frozenset({"score", "scored", "scores", "grade", "graded", "rated", "rating"})
_INTENSE = ("complete", "severe", "high")
_CAPABLE = ("seen", "usable")
_WEAKER = ("fair", "moderate", "suboptimal", "poor", "indistinct", "faint")
_ENDS = ("", ",", ";", ")", "and")


@dataclass(slots=True)
class Token:
    """One phrase."""

    words: str
    kind: str
    facet: str = ""
    concept: str = ""
    negated: bool = False
    facets: list[str] = field(default_factory=list)


def cut(sentence: str) -> list[Token]:
    """Return the longest phrases known, in order; a word that is not known has the kind ``unknown``."""
    raw = _TOKEN.findall(sentence)
    tokens = []
    position = 0
    while position < len(raw):
        for length in range(min(LONGEST_PHRASE, len(raw) - position), 0, -1):
            phrase = tuple(raw[position : position + length])
            if phrase in ENTRIES:
                kind, facet, concept = ENTRIES[phrase]
                tokens.append(Token(" ".join(phrase), kind, facet, concept))
                break
        else:
            length = 1
            tokens.append(Token(raw[position], "number" if raw[position][0].isdigit() else "unknown"))
        position += length
    return _without_adverbs(tokens)


def _without_adverbs(tokens: list[Token]) -> list[Token]:
    # In "poorly seen", "poorly conspicuous" and "an excellent standard" the first word grades; "seen" alone says that it can be
    # seen. In "completely obscured" the second does, as in "severely indistinct".
    for before, token in pairwise(tokens):
        if before.kind == "grade" and (
            token.words == "standard"
            or (token.concept in _CAPABLE and before.concept not in _CAPABLE)
            or (token.concept == "good" and before.concept in _WEAKER and before.words.endswith("ly"))
        ):
            token.kind, token.concept = "neutral", ""
        elif token.kind == "grade" and before.concept in _INTENSE and before.words.endswith("ly"):
            before.kind, before.concept = "neutral", ""
    return tokens


def place_numbers(tokens: list[Token]) -> list[str]:
    """Turn the numbers that stand as scores into grades; return what is wrong with the others."""
    problems = []
    for place, token in enumerate(tokens):
        if token.kind != "number":
            continue
        value = token.words.removesuffix("/4")
        before = [word for t in tokens[max(0, place - 3) : place] for word in t.words.split()]
        after = tokens[place + 1].words if place + 1 < len(tokens) else ""
        # "rated 3", "(3)"; of a list "noise: 3, small structures 2".
        beside = place > 0 and tokens[place - 2 if before[-1:] == [":"] else place - 1].kind == "cue" and after in _ENDS
        if value in _SCORES and (_SCORE_WORDS & set(before) or (before[-1:] == ["("] and after == ")") or beside):
            token.kind, token.concept = "grade", f"score {value}"
        else:
            problems.append(f"the number {token.words} was not given")
    return problems
