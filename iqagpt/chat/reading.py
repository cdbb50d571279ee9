"""Read one sentence of a report: which criteria it rates, how, and whether every word of it is known.

A sentence is read without knowing the scores, so equal sentences are read once. The grammar is small and errs on the side of
refusing: a grade belongs to the cue that follows it directly ("low noise"), else to the cues before it ("noise is low"), a
negation to the grade that follows it within its clause, and what cannot be placed is a problem.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from iqagpt.chat.lexicon import FACETS, MEANING
from iqagpt.chat.phrases import Token, cut, place_numbers
from iqagpt.chat.spelling import normalise

#: What a criterion can be: a score, not applicable, could not be determined.
VALUES = frozenset("1234nu")
_SCORES = frozenset("1234")
#: The only place where numbers of a scale, not of a score, may stand.
_SCALE = re.compile(r"\b(?:from )?1 \((?:the )?best\) (?:to|through) 4 \((?:the )?worst\)")
_DISCLAIMER = re.compile(
    r"(?:for )?research use only(?:[;,] not for diagnosis)?|not (?:intended )?for (?:diagnosis|clinical use)"
)
_LICENCES = frozenset({"such as", "for", "to", "like", "as", "including", "example", "instance", "for example",
                       "for instance", "e g", "findings such as", "only for", "suitable only for", "only suitable for",
                       "sufficient only for", "adequate only for", "acceptable only for", "only sufficient for"})  # fmt: skip
#: The grade that stands before a list of criteria.
_LISTING = "limited by"
_CAUSAL = ("owing to", "due to", "because of", "on account of", "by reason of")
_PAIRED = ("usable", "confident")
_WHOLE = frozenset({"overall", "every", "none"})
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
    tokens = cut(_SCALE.sub("", sentence))
    problems = [
        f"'{token.words}' is not among the words a report may use" for token in tokens if token.kind == "unknown"
    ]
    problems += place_numbers(tokens)
    problems += _attach_negations(tokens)
    _attach_grades(tokens)
    _share_grades(tokens)
    problems += _unlicensed_entities(tokens)
    evidence = [item for token in tokens for item in _evidence(token, problems)]
    named = {FACETS[token.facet] for token in tokens if token.kind == "cue"} - _WHOLE
    bare = named - {item.criterion for item in evidence}
    problems += [f"'{key}' is named but not rated in a sentence" for key in sorted(bare)]
    if any("n" in item.allowed for item in evidence) and any(t.facet in ("lesion", "margins") for t in tokens):
        problems.append("a lesion is mentioned though its conspicuity is not applicable")
    return Reading(tuple(evidence), frozenset(named), tuple(problems))


def _attach_negations(tokens: list[Token]) -> list[str]:
    problems = []
    waiting: Token | None = None
    last: Token | None = None  # of the clause before: "the lesion is clearly seen, its margins are not"
    cued = False
    before: Token | None = None  # "a confident diagnosis cannot be made" denies what stands before
    both = False  # "cannot be read with confidence" denies both
    for token in [*tokens, Token("", "break")]:
        if token.kind == "negation":
            if waiting is not None:
                problems.append(f"'{waiting.words} ... {token.words}' cannot be read")
            waiting = token
        elif token.concept in _PAIRED and both:
            token.negated = True
        elif waiting is not None and token.concept and not token.concept.startswith("score"):
            token.negated, waiting, both = True, None, token.concept in _PAIRED
        elif waiting is not None and (token.kind == "break" or (token.kind == "cue" and not _passes(waiting, token))):
            if token.kind == "break" and waiting.words == "not" and cued and last is not None and before is None:
                waiting.kind, waiting.concept, waiting.words, waiting.negated = "grade", last.concept, last.words, True
            elif before is None or token.kind == "cue":
                problems.append(f"'{waiting.words}' denies something that cannot be read")
            else:
                before.negated = True
            waiting = None
        if token.kind == "break":
            before, both, cued = None, False, False
        elif token.concept:
            last = None if token.negated or token.concept.startswith("score") else token
            cued = False
            before = token if token.concept in _PAIRED and not token.negated else None
        elif token.kind == "cue":
            cued = True
    return problems


def _passes(negation: Token, cue: Token) -> bool:
    # "No small structures are visible"; but "no lesion is seen" would be a finding.
    return negation.words == "no" and cue.facet not in ("lesion", "conspicuity")


def _attach_grades(tokens: list[Token]) -> None:
    current: list[str] = []
    graded = False
    pending: list[Token] = []
    premodified = False
    for place, token in enumerate(tokens):
        if token.kind == "cue":
            if graded or not current or current[0] in _WHOLE:
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


def _share_grades(tokens: list[Token]) -> None:
    """Give a criterion without a grade the one before: "noise is excellent, as is ...", "nondiagnostic owing to noise"."""
    graded = {facet for token in tokens for facet in token.facets}
    last: Token | None = None
    joined: Token | None = None
    verb = False
    for token in tokens:
        if token.kind == "grade":
            last, joined = token, None
        elif token.kind == "break":
            joined, verb = token, False
        elif token.kind == "verb":
            verb = True
        elif token.kind == "cue" and token.facet not in graded and joined is not None and last is not None:
            alike = joined.words == "as" and verb and not last.negated
            if alike or (joined.words in _CAUSAL and last.facets == ["overall"]):
                last.facets = [*last.facets, token.facet]


def _following_cues(tokens: list[Token], place: int) -> list[str]:
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


def _unlicensed_entities(tokens: list[Token]) -> list[str]:
    problems = []
    licensed = False
    for token in tokens:
        if token.concept == "entity":
            if not licensed:
                problems.append(f"'{token.words}' reads as a finding")
        elif token.words not in _FILLERS:
            licensed = token.words in _LICENCES
    return problems


def _evidence(token: Token, problems: list[str]) -> list[Evidence]:
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
        return (frozenset(), frozenset()) if negated or facet in _WHOLE else (value, value)
    text = _BY_FACET.get((concept, "overall" if facet == "every" else facet), "")
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
