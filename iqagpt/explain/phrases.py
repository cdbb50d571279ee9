"""Which words of a caption decide a score, and which token belongs to which word and criterion.

A word decides where the scale's phrases part: "average," and "sub-optimal," but not "acceptable for diagnostic interpretation",
which follows from them, and no word of a title.
"""

import re
from dataclasses import dataclass

from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import CRITERIA, NO_LESION, SCORES, Criterion, caption_to_scores, describe


@dataclass(frozen=True, slots=True)
class CaptionWords:
    """The words of one caption, as ``caption.split()`` gives them.

    Attributes
    ----------
    words : tuple of str
    tokens : tuple of tuple of int
        For each word, the positions of its tokens, ``[CLS]`` being position 0; punctuation left out.
    criteria : tuple of (str or None)
        For each word, the key of the criterion whose part of the caption it stands in; None outside the template.
    decisions : dict of str to tuple of int
        By criterion, the words that decide its score; no entry where the caption does not state one readably.
    """

    words: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    criteria: tuple[str | None, ...]
    decisions: dict[str, tuple[int, ...]]


def read_words(tokenizer: CaptionTokenizer, caption: str) -> CaptionWords:
    """Take a caption apart.

    Parameters
    ----------
    tokenizer : CaptionTokenizer
    caption : str
        Any text.
    """
    spans = [match.span() for match in re.finditer(r"\S+", caption)]
    pieces = tokenizer.spans(caption)
    tokens = tuple(
        tuple(
            position
            for position, (begin, end) in enumerate(pieces)
            if first <= begin < end <= last and any(letter.isalnum() for letter in caption[begin:end])
        )
        for first, last in spans
    )
    parts = _parts(caption)
    criteria = tuple(
        next((key for key, (begin, _, end) in parts.items() if begin <= first < end), None) for first, _ in spans
    )
    scores, decisions = caption_to_scores(caption), {}
    for key, (_, colon, end) in parts.items():
        if key in scores:
            phrase = [index for index, (first, _) in enumerate(spans) if colon <= first < end]
            decisions[key] = tuple(phrase[place] for place in _deciding(key, scores[key]) if place < len(phrase))
    return CaptionWords(tuple(caption[a:b] for a, b in spans), tokens, criteria, decisions)


def score_words(key: str, score: int | None) -> str:
    """Return the words that decide a score, as ``well-seen ... poorly``, without punctuation."""
    words = describe(_criterion(key), score).split()
    return " ... ".join(words[place].strip(",") for place in _deciding(key, score))


def _criterion(key: str) -> Criterion:
    return next(criterion for criterion in CRITERIA if criterion.key == key)


def _parts(caption: str) -> dict[str, tuple[int, int, int]]:
    """Return by criterion where its part begins, where its phrase begins, and where it ends; of two equal titles the first."""
    titles = {re.sub(r"\W+", " ", criterion.title.lower()): criterion.key for criterion in CRITERIA}
    found: dict[str, tuple[int, int, int]] = {}
    for match in re.finditer(r"([^:;]*):([^;]*)", caption):
        key = titles.get(re.sub(r"\W+", " ", match.group(1).strip().lower()))
        if key is not None:
            found.setdefault(key, (match.start(), match.start(2), match.end()))
    return found


def _deciding(key: str, score: int | None) -> list[int]:
    criterion = _criterion(key)
    phrases = [describe(criterion, other).split() for other in SCORES]
    phrases += [NO_LESION.split()] if criterion.absent else []
    own = describe(criterion, score).split()
    return [
        place
        for place in range(len(own))
        if len({tuple(phrase[place : place + 1]) for phrase in phrases if phrase[:place] == own[:place]}) > 1
    ]
