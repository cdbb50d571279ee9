"""Template reports: all 320 combinations of scores, missing ones, and what must never be said."""

import re

import pytest

from iqagpt.chat.templates import DIRECTION, DISCLAIMER, template_report
from iqagpt.criteria import CRITERIA, KEYS, all_scores

GOOD = {"noise": 1, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}


def test_example() -> None:
    assert template_report({**GOOD, "noise": 3}) == (
        "TECHNIQUE\n"
        "Automated assessment of the image quality of one axial CT slice by four criteria. "
        "Scores run from 1 (best) to 4 (worst).\n\n"
        "IMAGE QUALITY\n"
        "Image noise and structural fidelity are sub-optimal and permit limited diagnostic information only (score 3). "
        "There is acceptable visibility of small structures (small blood vessels, adrenal glands, small lymph nodes) "
        "(score 2). Lesion conspicuity is not applicable to this slice and was not scored, which does not exclude a "
        "lesion. Diagnostic confidence is complete (score 1).\n\n"
        "IMPRESSION\n"
        "The slice can be interpreted with complete confidence, although image quality is limited by image noise.\n\n"
        "Research use only; not for diagnosis."
    )


def test_all_reports_differ_and_state_their_scores() -> None:
    reports = {}
    for scores in all_scores():
        report = template_report(scores)
        reports[report] = scores
        assert re.findall(r"\(score (\d)\)", report) == [str(s) for s in scores.values() if s is not None]
        assert DIRECTION in report
        assert report.endswith(DISCLAIMER)
        assert all(word in report for word in ("noise", "small structures", "esion", "onfidence"))
    assert len(reports) == 320


def test_all_reports_are_clean_sentences() -> None:
    for scores in all_scores():
        for line in template_report(scores).splitlines():
            assert line == line.strip()
            assert "  " not in line
            assert line == "" or line.isupper() or (line[0].isupper() and line.endswith("."))
            assert not re.search(r"None|\bnan\b|\.\.|, \.|and \.", line)


def test_no_lesion_is_not_a_diagnosis() -> None:
    for scores in all_scores():
        report = template_report(scores).lower()
        absent = scores["lesion_conspicuity"] is None
        assert ("lesion conspicuity is not applicable" in report) == absent
        assert not re.search(
            r"\bno (?:evidence of |visible )?lesions?\b|lesions? (?:are|is) (?:not (?:seen|present)|absent)", report
        )


@pytest.mark.parametrize(
    ("changes", "impression"),
    [
        ({}, "with complete confidence; image noise and visibility of small structures are not limiting."),
        (
            {"diagnostic_confidence": 4},
            "cannot be interpreted with confidence, although image noise and visibility of small structures are not limiting.",
        ),
        (
            {"noise": 4, "small_structures": 3, "lesion_conspicuity": 4, "diagnostic_confidence": 3},
            "such as a large lesion; image quality is limited by image noise, visibility of small structures and lesion "
            "conspicuity.",
        ),
    ],
)
def test_impression_names_what_limits(changes: dict[str, int], impression: str) -> None:
    assert impression in template_report(GOOD | changes)


@pytest.mark.parametrize("key", KEYS)
def test_unparsed_criterion_could_not_be_determined(key: str) -> None:
    title = next(criterion.title for criterion in CRITERIA if criterion.key == key)
    scores = {name: score for name, score in GOOD.items() if name != key}
    assert f"{title} could not be determined." in template_report(scores)


def test_nothing_parsed_still_gives_a_report() -> None:
    report = template_report({})
    assert report.count("could not be determined") == 5
    assert "score " not in report.replace(DIRECTION, "")
    assert "IMPRESSION\nDiagnostic confidence could not be determined.\n" in report
