"""The paper's four image-quality criteria, and the caption that states their scores in words.

A score is 1 (best) to 4 (worst). Lesion conspicuity is absent (None) where the slice holds no lesion. Source: paper
sections 2.1 (scales) and 2.2 (template), Figure 4 (``no lesion``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

SCORES = (1, 2, 3, 4)
BEST, WORST = SCORES[0], SCORES[-1]
NO_LESION = "no lesion"

#: One value per criterion; None only for lesion conspicuity.
Scores = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One scale: its key in tables, its name in captions, and the words for scores 1 to 4."""

    key: str
    title: str
    descriptions: tuple[str, str, str, str]
    absent: str | None = None


CRITERIA = (
    Criterion(
        "noise",
        "Image noise and structural fidelity",
        (
            "better than usual, acceptable for diagnostic interpretation",
            "average, acceptable for diagnostic interpretation",
            "sub-optimal, for limited diagnostic information only",
            "unacceptable for diagnostic interpretation",
        ),
    ),
    Criterion(
        "small_structures",
        "Visibility of small structures",
        (
            "excellent visualization",
            "acceptable visibility",
            "sub-optimal visibility",
            "unacceptable visualization",
        ),
    ),
    Criterion(
        "lesion_conspicuity",
        "Subjective visual lesion conspicuity",
        (
            "well-seen lesion with well-visualized margins",
            "well-seen lesion with poorly visualized margins",
            "poorly seen lesion with poorly visualized margins",
            "lesion blurred with severe loss of margins",
        ),
        absent=NO_LESION,
    ),
    Criterion(
        "diagnostic_confidence",
        "Diagnostic confidence",
        (
            "completely confident",
            "probably confident",
            "confident only for a limited clinical entity such as a kidney stone, a calcified lesion, or a large lesion",
            "poor confidence",
        ),
    ),
)
KEYS = tuple(criterion.key for criterion in CRITERIA)
#: Criteria with a score on every slice: PLCC and SROCC are defined for these (paper, Table 3).
ALWAYS_SCORED = tuple(criterion.key for criterion in CRITERIA if criterion.absent is None)


def scores_to_caption(scores: Mapping[str, int | None]) -> str:
    """Write four scores as the paper's caption.

    Parameters
    ----------
    scores : mapping
        A score 1 (best) to 4 (worst) for each of `KEYS`; None for ``lesion_conspicuity`` where there is no lesion.

    Returns
    -------
    str
        The template of paper section 2.2 with the descriptions of section 2.1.

    Raises
    ------
    ValueError
        If a criterion is missing, or a score is outside its scale.
    """
    parts = []
    for criterion in CRITERIA:
        if criterion.key not in scores:
            raise ValueError(f"scores have no '{criterion.key}'; expected {', '.join(KEYS)}")
        parts.append(f"{criterion.title}: {describe(criterion, scores[criterion.key])}")
    return "; ".join(parts)


def describe(criterion: Criterion, score: int | None) -> str:
    """Return the words for one score of one criterion.

    Raises
    ------
    ValueError
        If the score is not 1 to 4, or absent where the scale has no such answer.
    """
    if score is None and criterion.absent is not None:
        return criterion.absent
    if score not in SCORES:
        raise ValueError(f"{criterion.key}: expected a score 1 (best) to 4 (worst), got {score!r}")
    return criterion.descriptions[SCORES.index(score)]


def caption_to_scores(caption: str) -> dict[str, int | None]:
    """Read scores back from a caption, criterion by criterion; the inverse of `scores_to_caption`.

    Letter case and spacing do not matter (Figure 4 of the paper writes ``fidelity : average``); wording does: a
    phrase that is not in the scale is not guessed at.

    Parameters
    ----------
    caption : str
        Any text.

    Returns
    -------
    dict
        Score by criterion key for each criterion whose phrase was understood, None for ``no lesion``. A criterion
        that is missing, given twice, or worded otherwise has no entry.
    """
    text = _normalise(caption)
    scores: dict[str, int | None] = {}
    for criterion in CRITERIA:
        found = re.findall(rf"(?:^|; ){re.escape(_normalise(criterion.title))}:([^;]*)", text)
        if len(found) == 1 and found[0].strip() in _PHRASES[criterion.key]:
            scores[criterion.key] = _PHRASES[criterion.key][found[0].strip()]
    return scores


def all_scores() -> Iterator[Scores]:
    """Yield all 4 x 4 x 5 x 4 = 320 score tuples that a slice can have."""
    scales = [(*SCORES, None) if criterion.absent else SCORES for criterion in CRITERIA]
    for values in product(*scales):
        yield dict(zip(KEYS, values, strict=True))


def _normalise(text: str) -> str:
    text = re.sub(r"\s+", " ", text.lower()).strip()
    text = re.sub(r"\s*([:;,])\s*", r"\1 ", text)
    return re.sub(r"\s*-\s*", "-", text).strip()


_PHRASES: dict[str, dict[str, int | None]] = {
    c.key: {_normalise(d): s for d, s in zip(c.descriptions, SCORES, strict=True)}
    | ({_normalise(c.absent): None} if c.absent else {})
    for c in CRITERIA
}
