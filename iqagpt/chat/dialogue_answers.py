"""Answers of the dialogue without a language model: facts about the result, the scale and the criteria, and honest refusals.

Used by `iqagpt.chat.dialogue` for all that is known exactly, and as the fall-back for all else. The form of the rating follows
the paper's Figure 4.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from iqagpt.chat.questions import Question, Topic
from iqagpt.chat.templates import DIRECTION, DISCLAIMER
from iqagpt.criteria import CRITERIA, KEYS, SCORES, Criterion, describe

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment

RATE_REQUEST = "Please rate the quality of this image."
REPORT_REQUEST = "Please write a quality assessment report for this image."

UNKNOWN_SCORE = "could not be determined"
_ABSENT = "N/A"
_ABSENT_WORDS = "not applicable: scored only where there is a lesion to rate, which does not exclude one"
_LIMITING = 3
_HELP = (
    f'I can answer "{RATE_REQUEST}" and "{REPORT_REQUEST}", and questions about this result: a criterion ("How noisy is it?"), '
    'the scale ("What does a 3 mean?"), the criteria, how sure the model is, what limits the image, its caption and its warnings.'
)
_SHOWS = {
    "noise": "how much noise there is, and whether structures are rendered faithfully",
    "small_structures": "how well small blood vessels, adrenal glands and small lymph nodes can be seen",
    "lesion_conspicuity": "how well a lesion stands out and how clear its margins are, on slices that hold one",
    "diagnostic_confidence": "how confidently a radiologist could read the slice",
}


def template_answer(question: Question, result: "SliceAssessment") -> str:
    """Answer a question about one slice from what is known of it.

    Parameters
    ----------
    question : Question
        Of any topic but `Topic.REPORT`, which is for a report writer.
    result : SliceAssessment

    Returns
    -------
    str
        Plain text, lines separated by newlines; no answer depends on the wording of the question.
    """
    return _ANSWERS[question.topic](question, result)


def rating(result: "SliceAssessment") -> str:
    """Return the four scores as the paper's rating does: numbered, N/A where there is none."""
    lines = [f"{n}. {criterion.title}: {_stated(criterion, result)}" for n, criterion in enumerate(CRITERIA, 1)]
    return "\n".join([*lines, DIRECTION])


def score_words(criterion: Criterion, result: "SliceAssessment") -> str:
    """Return what a score means, in the words of the scale."""
    if criterion.key not in result.scores:
        return UNKNOWN_SCORE
    score = result.scores[criterion.key]
    return _ABSENT_WORDS if score is None else describe(criterion, score)


def score_text(criterion: Criterion, result: "SliceAssessment") -> str:
    """Return a score as it is printed: ``1`` to ``4``, ``N/A``, or ``?`` where the caption does not say."""
    if criterion.key not in result.scores:
        return "?"
    score = result.scores[criterion.key]
    return _ABSENT if score is None else str(score)


def _stated(criterion: Criterion, result: "SliceAssessment") -> str:
    return f"{score_text(criterion, result)} ({score_words(criterion, result)})"


def _chosen(question: Question) -> list[Criterion]:
    return [criterion for criterion in CRITERIA if criterion.key in question.keys] or list(CRITERIA)


def _rate(question: Question, result: "SliceAssessment") -> str:
    return rating(result)


def _criterion(question: Question, result: "SliceAssessment") -> str:
    lines = [
        f"{criterion.title}: {_stated(criterion, result)}{_share(criterion, result)}" for criterion in _chosen(question)
    ]
    return "\n".join([*lines, DIRECTION])


def _share(criterion: Criterion, result: "SliceAssessment") -> str:
    score = score_text(criterion, result)
    probability = result.probabilities.get(criterion.key, {}).get("n/a" if score == _ABSENT else score)
    return "." if probability is None else f"; the model gives this {_percent(probability)}."


def _percent(probability: float) -> str:
    if probability >= 0.995:
        return "more than 99 %"
    return "less than 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def _scale(question: Question, result: "SliceAssessment") -> str:
    if question.score is None and not question.keys:
        words = "Each criterion has four steps, from 1, better than usual, to 4, of no use for diagnosis."
        return f"{DIRECTION} {words} Lesion conspicuity is {_ABSENT} where there is no lesion to rate. Lower is better."
    lines = []
    for criterion in _chosen(question):
        steps = SCORES if question.score is None else (question.score,)
        meant = "; ".join(f"{step} is {describe(criterion, step)}" for step in steps)
        here = f" This slice: {score_text(criterion, result)}." if question.keys else ""
        lines.append(f"{criterion.title}: {meant}.{here}")
    return "\n".join([*lines, DIRECTION])


def _criteria(question: Question, result: "SliceAssessment") -> str:
    lines = [f"{n}. {criterion.title}: {_SHOWS[criterion.key]}." for n, criterion in enumerate(CRITERIA, 1)]
    return "\n".join(["Four criteria are rated:", *lines, DIRECTION])


def _certainty(question: Question, result: "SliceAssessment") -> str:
    lines = []
    for criterion in _chosen(question):
        shares = result.probabilities.get(criterion.key, {})
        if not shares:
            lines.append(f"{criterion.title}: the model gives no probabilities.")
            continue
        given = ", ".join(f"{_ABSENT if step == 'n/a' else step}: {_percent(p)}" for step, p in shares.items())
        expected = result.expected.get(criterion.key)
        mean = "" if expected is None else f"; expected score {expected:.1f}"
        lines.append(f"{criterion.title}: {given}{mean}.")
    closing = "These are the model's own probabilities; they say how sure it is, not how often it is right."
    return "\n".join([*lines, closing])


def _limits(question: Question, result: "SliceAssessment") -> str:
    scored = [c for c in CRITERIA if result.scores.get(c.key) is not None]
    limiting = [c for c in scored if result.scores[c.key] >= _LIMITING]
    if limiting:
        told = "; ".join(f"{c.title}: {_stated(c, result)}" for c in limiting)
        answer = f"Limiting, at {_LIMITING} or worse: {told}."
    elif scored:
        answer = f"No criterion is limiting: none is scored {_LIMITING} or worse."
    else:
        answer = "No score could be determined, so I cannot say."
    why = (
        "I know the scores, not their causes. The page (iqagpt serve) shows where the model looked: "
        "click a criterion or a word of the caption."
    )
    return f"{answer}\n{why}"


def _use(question: Question, result: "SliceAssessment") -> str:
    by_key = {criterion.key: criterion for criterion in CRITERIA}
    told = "\n".join(
        f"{by_key[key].title}: {_stated(by_key[key], result)}" for key in ("noise", "diagnostic_confidence")
    )
    return f"{told}\nThis is the model's opinion of the image quality, for a radiologist to judge. {DISCLAIMER}"


def _where(question: Question, result: "SliceAssessment") -> str:
    return (
        "Beside the image, choose a criterion or a word of the caption: the overlay (Grad-CAM) shows which places the choice of "
        "that score or word depended on. It tells where the model looked, not where something is wrong."
    )


def _caption(question: Question, result: "SliceAssessment") -> str:
    return f"The model's caption, from which all scores are read:\n{result.caption}"


def _warnings(question: Question, result: "SliceAssessment") -> str:
    if not result.warnings:
        return "There are no warnings: nothing about this image is known to be outside what the model has seen."
    return "\n".join(
        [
            "Outside what the model has seen, its scores mean less. Warnings:",
            *(f"- {warning}" for warning in result.warnings),
        ]
    )


def _diagnosis(question: Question, result: "SliceAssessment") -> str:
    answer = "I cannot say: I rate image quality and see no organs, lesions or diseases."
    if "lesion_conspicuity" in question.keys:
        criterion = CRITERIA[KEYS.index("lesion_conspicuity")]
        answer += f" {criterion.title} is {_stated(criterion, result)}; that is no finding."
    return f"{answer} {DISCLAIMER}"


def _fixed(text: str) -> Callable[[Question, "SliceAssessment"], str]:
    return lambda question, result: text


_ANSWERS: dict[Topic, Callable[[Question, "SliceAssessment"], str]] = {
    Topic.RATE: _rate,
    Topic.CRITERION: _criterion,
    Topic.SCALE: _scale,
    Topic.CRITERIA: _criteria,
    Topic.CERTAINTY: _certainty,
    Topic.LIMITS: _limits,
    Topic.USE: _use,
    Topic.WHERE: _where,
    Topic.CAPTION: _caption,
    Topic.WARNINGS: _warnings,
    Topic.DIAGNOSIS: _diagnosis,
    Topic.CHANGE: lambda question, result: (
        "I cannot change a score: scores are read from the caption that the model wrote for this image, and nothing said here "
        f"alters them. They are:\n{rating(result)}"
    ),
    Topic.HEADER: _fixed(
        "I cannot say: I am told the four scores and the caption only, nothing about the patient, the scanner, the dose or how "
        "the image was made."
    ),
    Topic.COMPARE: _fixed(
        "I cannot compare: I know this one slice. Open the other one and put the same question to it."
    ),
    Topic.IMPROVE: _fixed(
        "I cannot advise on acquisition or processing: I know how the image was scored, not how it was made. Ask what limits it "
        "for the criteria that are scored worst."
    ),
    Topic.ABOUT: _fixed(
        "I am IQAGPT: a captioner that looks at one axial CT slice and states four quality scores in words, and this dialogue, "
        f"which knows the scores and words only. {DISCLAIMER}"
    ),
    Topic.PRIVACY: _fixed(
        "The image is read and assessed on the machine that runs this program, kept in its memory, and sent nowhere. If a language "
        "model's endpoint was named at the start, your questions, the scores and their descriptions go there, and nothing else."
    ),
    Topic.HELP: _fixed(_HELP),
    Topic.GREETING: _fixed(f"Hello. {_HELP}"),
    Topic.OTHER: _fixed(f"I cannot answer that. {_HELP}"),
}
