"""Check a report against the four scores, sentence by sentence, without any language model.

Each criterion is rated in exactly one sentence outside the impression, and the words leave its score and no other; no sentence
contradicts a score; and nothing is said that was not given: the vocabulary is closed (`iqagpt.chat.lexicon`), so a number, organ,
finding, name, date or advice cannot pass. "No lesion" is "not applicable", never a statement that there is none.

Notes
-----
Not stated in the paper; there, ChatGPT's reports are used as they come.
"""

import re
from collections.abc import Iterator, Mapping

from iqagpt.chat.reading import Evidence, Reading, read_sentence
from iqagpt.criteria import CRITERIA

#: Longest report and sentence accepted, characters; the prompt asks for far less.
LONGEST = 3000
LONGEST_SENTENCE = 400

_HEADING = re.compile(r"(?im)^[ \t]*(technique|findings|image quality|impression|conclusion|summary)[ \t]*(?::|$)")
_CLOSING = frozenset({"impression", "conclusion", "summary"})
_CLOSING_WORDS = re.compile(r"^(?:overall|in summary|in conclusion|summary|impression|conclusion)\b", re.IGNORECASE)
_ENDS = re.compile(r"(?<!e\.g)(?<!i\.e)[.!](?=\s|$)|\n\s*\n|\n(?=\s*[-*•])")
_BULLET = re.compile(r"^[-*•] +")
_TITLES = {criterion.key: criterion.title for criterion in CRITERIA}


def find_contradictions(text: str, scores: Mapping[str, int | None], *, complete: bool = True) -> tuple[str, ...]:
    """Say what is wrong with a report, or with any text about one result.

    Parameters
    ----------
    text : str
        Plain text; headings such as ``IMPRESSION`` on a line of their own or with a colon.
    scores : mapping
        The four scores as for `iqagpt.chat.templates.template_report`: 1 (best) to 4 (worst), None for not applicable, no
        entry for a criterion that could not be determined.
    complete : bool
        Whether the text is a whole report, which rates every criterion exactly once and precisely; False for an answer that
        may speak of some.

    Returns
    -------
    tuple of str
        One entry per finding; empty if the text is verified.
    """
    if not text.strip():
        return ("the report is empty",)
    if len(text) > LONGEST:
        return (f"the report has {len(text)} characters, more than {LONGEST}",)
    if any(not char.isprintable() and char not in "\n\t" for char in text):
        return ("the report holds control characters",)
    findings: list[str] = []
    ratings: dict[str, tuple[list[list[Evidence]], list[list[Evidence]]]] = {key: ([], []) for key in _TITLES}
    for closing, sentence in _sentences(text):
        reading = _read(sentence)
        findings += reading.problems
        findings += _contradictions(reading, scores)
        for key, places in ratings.items():
            said = [item for item in reading.evidence if item.criterion == key]
            places[closing].extend([said] if said else [])
    if complete:
        # The impression may repeat a rating, or be the place where it is given.
        for key, (body, impression) in ratings.items():
            findings += _incomplete(key, body or impression, scores)
    return tuple(dict.fromkeys(findings))


def find_sentence_problems(text: str, key: str, scores: Mapping[str, int | None]) -> tuple[str, ...]:
    """Say what is wrong with the sentence on one criterion: it must rate this one, precisely enough, and no other."""
    sentences = [sentence for _, sentence in _sentences(text)]
    if len(sentences) != 1:
        return (f"{_TITLES[key]}: expected one sentence, got {len(sentences)}",)
    reading = _read(sentences[0])
    findings = [*reading.problems, *_contradictions(reading, scores)]
    others = {item.criterion for item in reading.evidence} - {key}
    findings += [f"{_TITLES[key]}: the sentence also rates {_title(other)}" for other in sorted(others)]
    if not any(item.criterion == key for item in reading.evidence):
        findings.append(f"{_TITLES[key]}: not rated")
    return tuple(dict.fromkeys(findings))


def _sentences(text: str) -> Iterator[tuple[bool, str]]:
    """Yield each sentence, and whether it belongs to the impression."""
    closing = False
    for place, part in enumerate(_HEADING.split(text)):
        if place % 2:
            closing = part.lower() in _CLOSING
            continue
        for sentence in _ENDS.split(part):
            sentence = _BULLET.sub("", " ".join(sentence.split()))
            if sentence:
                yield closing or bool(_CLOSING_WORDS.match(sentence)), sentence


def _read(sentence: str) -> Reading:
    if len(sentence) > LONGEST_SENTENCE:
        return Reading((), frozenset(), (f"a sentence has {len(sentence)} characters, more than {LONGEST_SENTENCE}",))
    return read_sentence(sentence)


def _value(scores: Mapping[str, int | None], key: str) -> str:
    if key not in scores:
        return "u"
    return "n" if scores[key] is None else str(scores[key])


def _contradictions(reading: Reading, scores: Mapping[str, int | None]) -> list[str]:
    findings = []
    for item in reading.evidence:
        if item.criterion == "overall":
            if not item.allowed & _overall(scores):
                findings.append(f"'{item.words}' fits none of the scores")
        elif item.criterion == "every":
            if not item.allowed >= {str(score) for score in scores.values() if score is not None}:
                findings.append(f"'{item.words}' does not fit every score")
        elif (value := _value(scores, item.criterion)) not in item.allowed:
            findings.append(f"{_TITLES[item.criterion]}: '{item.words}' contradicts {_shown(value)}")
    return findings


def _overall(scores: Mapping[str, int | None]) -> set[str]:
    """Return the scores that may be said of the image as a whole: those about the mean of its scores."""
    known = [score for score in scores.values() if score is not None]
    if not known:
        return set()
    mean = sum(known) / len(known)
    return {str(int(mean)), str(-int(-mean // 1))}


def _incomplete(key: str, said: list[list[Evidence]], scores: Mapping[str, int | None]) -> list[str]:
    if not said:
        return [f"{_TITLES[key]}: not rated"]
    if len(said) > 1:
        return [f"{_TITLES[key]}: rated in {len(said)} sentences"]
    value = _value(scores, key)
    left = frozenset.intersection(*(item.allowed for item in said[0]))
    if value in left and left != {value} and not any(item.stated == {value} for item in said[0]):
        return [f"{_TITLES[key]}: the wording fits other scores than {value} too; state the score"]
    return []


def _title(key: str) -> str:
    return _TITLES.get(key, "the image as a whole")


def _shown(value: str) -> str:
    return {"n": "'not applicable'", "u": "'could not be determined'"}.get(value, f"the score {value}")
