"""Results of assessments for tests of the dialogue and the server."""

from collections.abc import Mapping

from iqagpt.assessment.assessor import SliceAssessment
from iqagpt.chat.reports import Report
from iqagpt.chat.templates import template_report
from iqagpt.criteria import CRITERIA, SCORES, scores_to_caption


def make_result(
    noise: int = 4, small: int = 3, lesion: int | None = None, confidence: int = 2, warnings: tuple[str, ...] = ()
) -> SliceAssessment:
    """A result whose stated scores have a probability of 0.7, the others share the rest."""
    keys = [criterion.key for criterion in CRITERIA]
    scores = dict(zip(keys, (noise, small, lesion, confidence), strict=True))
    probabilities, expected = {}, {}
    for criterion in CRITERIA:
        names = [str(score) for score in SCORES] + (["n/a"] if criterion.absent else [])
        score = scores[criterion.key]
        stated = "n/a" if score is None else str(score)
        shares = {name: 0.7 if name == stated else 0.3 / (len(names) - 1) for name in names}
        probabilities[criterion.key] = shares
        expected[criterion.key] = None if score is None else 0.7 * score + 0.3 * 2.5
    return SliceAssessment(scores, expected, probabilities, scores_to_caption(scores), warnings)


class TemplateWriter:
    """The template, without any model; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, int | None]] = []

    def write(self, scores: Mapping[str, int | None]) -> Report:
        self.asked.append(dict(scores))
        return Report(template_report(scores), "template", ())
