"""Read one sentence of a report: which criteria it rates, how, and whether every word of it is known.

A sentence is read without knowing the scores, so equal sentences are read once. The grammar is small and errs on the side of
refusing: a grade belongs to the cue that follows it directly ("low noise"), else to the cues before it ("noise is low"), a
negation to the grade that follows it within its clause, and what cannot be placed is a problem.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from iqagpt.chat.lexicon import ENTRIES, FACETS, LONGEST_PHRASE, MEANING

#: What a criterion can be: a score, not applicable, could not be determined.
VALUES = frozenset("1234nu")
_SCORES = frozenset("1234")
_TOKEN = re.compile(r"n/a\b|\d[\d.,:/%-]*(?<![.,:-])|[a-z]+|[(),;:]|\S")
#: The only place where numbers of a scale, not of a score, may stand.
_SCALE = re.compile(r"\b(?:from )?1 \((?:the )?best\) (?:to|through) 4 \((?:the )?worst\)")
_DISCLAIMER = re.compile(
    r"(?:for )?research use only(?:[;,] not for diagnosis)?|not (?:intended )?for (?:diagnosis|clinical use)"
)
_SCORE_WORDS = frozenset({"score", "scored", "scores", "grade", "graded", "rated", "rating"})
_LICENCES = frozenset({"such as", "for", "to", "like", "as", "including", "example", "instance", "for example",
                       "for instance", "e g", "findings such as", "only for", "suitable only for", "only suitable for",
                       "sufficient only for", "adequate only for", "acceptable only for", "only sufficient for"})  # fmt: skip
#: The grade that stands before a list of criteria.
_LISTING = "limited by"
_PAIRED = ("usable", "confident")
_MAY_BE_ABSENT = ("conspicuity", "lesion", "margins")
_FILLERS = frozenset({"a", "an", "the", "and", "or", ",", "(", "gross", "obvious"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What some words say about one criterion.

    Attributes
    ----------
    criterion : str
        Criterion key, or ``overall``.
    allowed : frozenset of str
        The `VALUES` that they do not contradict.
    stated : frozenset of str
        The values that they say outright.
    words : str
        The words.
    """

    criterion: str
    allowed: frozenset[str]
    stated: frozenset[str]
    words: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence: evidence by criterion, criteria that are named, problems that need no score to be seen."""

    evidence: tuple[Evidence, ...]
    named: frozenset[str]
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Token:
    words: str
    kind: str
    facet: str = ""
    concept: str = ""
    negated: bool = False
    facets: list[str] = field(default_factory=list)


def normalise(text: str) -> str:
    """Return text in lower case and plain spelling: no hyphens, American endings, plain quotes and dashes."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = text.translate(
        str.maketrans({"‘": "'", "’": "'", "–": ",", "—": ",", "‐": "-", "‑": "-", "“": '"', "”": '"'})
    )
    text = re.sub(r"\b(sub|non)-(?=optimal|standard|diagnostic)", r"\1", text)
    text = (
        re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
        .replace("non diagnostic", "nondiagnostic")
        .replace("sub optimal", "suboptimal")
    )
    text = re.sub(r"(visual|recogn|character|summar|optim|minim)is(?=e|ing|ation|able|ably)", r"\1iz", text)
    text = re.sub(r"\be\.g\.,?", "for example", text)
    return text.replace("favour", "favor").replace("'s ", " ").replace('"', "").replace(" per cent", " %")


@lru_cache(maxsize=8192)
def read_sentence(sentence: str) -> Reading:
    """Read one sentence.

    Parameters
    ----------
    sentence : str
        Without its full stop.

    Returns
    -------
    Reading
        A sentence without any criterion has no evidence; one with an unknown word has a problem.
    """
    sentence = normalise(sentence)
    if _DISCLAIMER.fullmatch(sentence):
        return Reading((), frozenset(), ())
    tokens = _tokens(_SCALE.sub("", sentence))
    problems = [
        f"'{token.words}' is not among the words a report may use" for token in tokens if token.kind == "unknown"
    ]
    problems += _unplaced_numbers(tokens)
    problems += _attach_negations(tokens)
    _attach_grades(tokens)
    problems += _unlicensed_entities(tokens)
    evidence = [item for token in tokens for item in _evidence(token, problems)]
    named = {FACETS[token.facet] for token in tokens if token.kind == "cue"} - {"overall"}
    bare = named - {item.criterion for item in evidence}
    problems += [f"'{key}' is named but not rated in a sentence" for key in sorted(bare)]
    if any("n" in item.allowed for item in evidence) and any(t.facet in ("lesion", "margins") for t in tokens):
        problems.append("a lesion is mentioned though its conspicuity is not applicable")
    return Reading(tuple(evidence), frozenset(named), tuple(problems))


def _tokens(sentence: str) -> list[_Token]:
    raw = _TOKEN.findall(sentence)
    tokens = []
    position = 0
    while position < len(raw):
        for length in range(min(LONGEST_PHRASE, len(raw) - position), 0, -1):
            phrase = tuple(raw[position : position + length])
            if phrase in ENTRIES:
                kind, facet, concept = ENTRIES[phrase]
                tokens.append(_Token(" ".join(phrase), kind, facet, concept))
                break
        else:
            length = 1
            tokens.append(_Token(raw[position], "number" if raw[position][0].isdigit() else "unknown"))
        position += length
    return _without_adverbs(tokens)


def _without_adverbs(tokens: list[_Token]) -> list[_Token]:
    # In "poorly seen" and "poorly delineated" the first word grades; "seen" alone says that it can be seen. In "completely
    # obscured" the second does.
    for before, token in pairwise(tokens):
        if token.concept in ("seen", "usable") and before.kind == "grade" and before.concept not in ("seen", "usable"):
            token.kind, token.concept = "neutral", ""
        elif token.kind == "grade" and before.concept == "complete" and before.words.endswith("ly"):
            before.kind, before.concept = "neutral", ""
    return tokens


def _unplaced_numbers(tokens: list[_Token]) -> list[str]:
    problems = []
    for place, token in enumerate(tokens):
        if token.kind != "number":
            continue
        value = token.words.removesuffix("/4")
        before = [t.words for t in tokens[max(0, place - 3) : place]]
        after = tokens[place + 1].words if place + 1 < len(tokens) else ""
        if value in _SCORES and (_SCORE_WORDS & set(before) or (before[-1:] == ["("] and after == ")")):
            token.kind, token.concept = "grade", f"score {value}"
        else:
            problems.append(f"the number {token.words} was not given")
    return problems


def _attach_negations(tokens: list[_Token]) -> list[str]:
    problems = []
    waiting: _Token | None = None
    before: _Token | None = None  # "a confident diagnosis cannot be made" denies what stands before
    both = False  # "cannot be read with confidence" denies both
    for token in [*tokens, _Token("", "break")]:
        if token.kind == "negation":
            if waiting is not None:
                problems.append(f"'{waiting.words} ... {token.words}' cannot be read")
            waiting = token
        elif token.concept in _PAIRED and both:
            token.negated = True
        elif waiting is not None and token.concept and not token.concept.startswith("score"):
            token.negated, waiting, both = True, None, token.concept in _PAIRED
        elif waiting is not None and token.kind in ("break", "cue"):
            if before is None or token.kind == "cue":
                problems.append(f"'{waiting.words}' denies something that cannot be read")
            else:
                before.negated = True
            waiting = None
        if token.kind == "break":
            before, both = None, False
        elif token.concept:
            before = token if token.concept in _PAIRED and not token.negated else None
    return problems


def _attach_grades(tokens: list[_Token]) -> None:
    current: list[str] = []
    graded = False
    pending: list[_Token] = []
    premodified = False
    for place, token in enumerate(tokens):
        if token.kind == "cue":
            if graded or not current or current == ["overall"]:
                current, graded = [token.facet], bool(token.concept)
            elif token.facet not in current:
                current = [*current, token.facet]
            if token.concept:
                token.facets, graded = [token.facet], True
            for waiting in pending:
                waiting.facets = [token.facet]
            graded = graded or bool(pending) or premodified
            pending, premodified = [], False
        elif token.kind == "grade":
            following = _following_cues(tokens, place)
            if following:
                token.facets, premodified = following, token.words != _LISTING
            elif current:
                token.facets, graded = list(current), True
            else:
                pending.append(token)
    for waiting in pending:
        waiting.facets = ["overall"]


def _following_cues(tokens: list[_Token], place: int) -> list[str]:
    """Return the facet that a grade stands directly before; "limited by" stands before a whole list."""
    found: list[str] = []
    listing = tokens[place].words == _LISTING
    for token in tokens[place + 1 :]:
        if token.kind == "cue":
            found.append(token.facet)
            if not listing:
                break
        elif (
            token.kind == "verb"
            or (token.kind == "break" and not (listing and token.words in (",", "and")))
            or (token.kind == "grade" and listing)
        ):
            break
    return found


def _unlicensed_entities(tokens: list[_Token]) -> list[str]:
    problems = []
    licensed = False
    for token in tokens:
        if token.concept == "entity":
            if not licensed:
                problems.append(f"'{token.words}' reads as a finding")
        elif token.words not in _FILLERS:
            licensed = token.words in _LICENCES
    return problems


def _evidence(token: _Token, problems: list[str]) -> list[Evidence]:
    found = []
    for facet in dict.fromkeys(token.facets):
        allowed, stated = _meaning(token.concept, facet, token.negated)
        words = f"not {token.words}" if token.negated else token.words
        if not allowed:
            problems.append(f"'{words}' cannot be read as a rating of {FACETS[facet]}")
        elif allowed != _SCORES or facet in _MAY_BE_ABSENT:
            found.append(Evidence(FACETS[facet], allowed, stated, words))
    return found


def _meaning(concept: str, facet: str, negated: bool) -> tuple[frozenset[str], frozenset[str]]:
    if concept.startswith("score"):
        value = frozenset(concept[-1])
        return (frozenset(), frozenset()) if negated or facet == "overall" else (value, value)
    text = _BY_FACET.get((concept, facet), "")
    positive, marked, negative = text.partition("!")
    allowed, _, stated = positive.partition("/")
    if negated:
        allowed = negative if marked else "".join(sorted(_SCORES - set(allowed))) if allowed else ""
        stated = ""
    values = frozenset(allowed)
    return values, frozenset(stated) if stated else (values if len(values) == 1 else frozenset())


_BY_FACET = {
    (concept, facet): meaning
    for concept, facets in MEANING.items()
    for names, meaning in facets.items()
    for facet in names.split()
}
