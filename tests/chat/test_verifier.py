"""Reports that contradict their scores are found; faithful ones pass."""

import pytest

from iqagpt.chat.templates import DIRECTION, template_report
from iqagpt.chat.verifier import LONGEST, find_problems
from iqagpt.criteria import KEYS, all_scores

SCORES = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}
REPORT = template_report(SCORES).replace(DIRECTION, "")


def test_all_faithful_reports_pass() -> None:
    for scores in all_scores():
        assert find_problems(template_report(scores).replace(DIRECTION, ""), scores) == []


def test_unparsed_criteria_pass_when_said() -> None:
    scores = {key: SCORES[key] for key in KEYS[1:]}
    assert find_problems(template_report(scores).replace(DIRECTION, ""), scores) == []


def test_each_change_of_a_score_is_found() -> None:
    """A report of other scores never passes: every single change, in both directions."""
    for scores in all_scores():
        report = template_report(scores).replace(DIRECTION, "")
        for key in KEYS:
            for other in (1, 2, 3, 4, *([None] if key == "lesion_conspicuity" else [])):
                if other != scores[key]:
                    assert find_problems(report, scores | {key: other}), (scores, key, other)


@pytest.mark.parametrize(
    ("report", "problem"),
    [
        ("", "the report is empty"),
        (" \n", "the report is empty"),
        (REPORT + "x" * LONGEST, "more than 3000"),
        (REPORT + "\x1b[31m", "control characters"),
        (
            REPORT.replace("Visibility of small structures", "Small structures"),
            "'Visibility of small structures' is not",
        ),
        (
            REPORT.replace("(score 3)", "(score 2)"),
            "'Image noise and structural fidelity': expected the score 3, got 2",
        ),
        (REPORT.replace("(score 3)", ""), "'Image noise and structural fidelity': expected the score 3, got none"),
        (REPORT.replace("was not scored", "was scored 1"), "expected no score, got 1"),
        (REPORT.replace("lesion conspicuity not applicable", "no lesion"), "expected the words"),
        (REPORT + "\nNoise is 12.5 HU.", "the number 12.5 is not one of the scores"),
        (REPORT + "\nAn 8 mm nodule.", "the number 8 is not one of the scores"),
        (REPORT + "\nDose 1.2.", "the number 1.2 is not one of the scores"),
    ],
)
def test_each_defect_is_named(report: str, problem: str) -> None:
    assert any(problem in found for found in find_problems(report, SCORES))
