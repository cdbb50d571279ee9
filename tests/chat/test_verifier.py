"""Reports that contradict their scores are found, by the ten thousand; true ones pass, in other words too."""

import random
from pathlib import Path

import pytest

from iqagpt.chat.lexicon import ENTRIES
from iqagpt.chat.templates import template_report
from iqagpt.chat.verifier import LONGEST, find_contradictions, find_sentence_problems
from iqagpt.criteria import KEYS, Scores, all_scores
from tests.chat.mutations import mutations
from tests.chat.paraphrases import BLIND, DEVELOPED, FINAL, HELD_OUT, UNSEEN, Half, written_by_grammar, written_by_hand

SCORES: Scores = {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}
REPORT = template_report(SCORES)


def test_all_true_template_reports_pass() -> None:
    for scores in all_scores():
        assert find_contradictions(template_report(scores), scores) == ()


def test_every_report_of_other_scores_is_refused() -> None:
    tuples = list(all_scores())
    for scores in tuples[::7]:
        report = template_report(scores)
        for other in tuples[::5]:
            assert bool(find_contradictions(report, other)) == (other != scores), (scores, other)


@pytest.mark.parametrize("key", KEYS)
def test_unparsed_criterion_passes_when_said_and_not_when_rated(key: str) -> None:
    scores = {name: score for name, score in SCORES.items() if name != key}
    assert find_contradictions(template_report(scores), scores) == ()
    assert find_contradictions(REPORT, scores)


def test_every_single_fact_change_is_refused() -> None:
    """Over all 320 score tuples; every third change, so that it takes seconds: the first, second or third in turn."""
    changed = 0
    for place, scores in enumerate(all_scores()):
        for number, (kind, text) in enumerate(mutations(scores)):
            if number % 3 == place % 3:
                changed += 1
                assert find_contradictions(text, scores), (kind, scores, text)
    assert changed >= 10_000


@pytest.mark.parametrize(
    ("half", "least"), [(DEVELOPED, 1.0), (HELD_OUT, 0.97), (UNSEEN, 0.9), (FINAL, 0.97), (BLIND, 0.97)], ids=range(5)
)
def test_true_reports_in_other_words_pass(half: Half, least: float) -> None:
    reports = [*written_by_grammar(half), *written_by_hand(half)]
    assert len(reports) >= 320
    passed = [not find_contradictions(text, scores) for scores, text in reports]
    assert sum(passed) / len(passed) >= least


@pytest.mark.parametrize("half", [DEVELOPED, HELD_OUT, UNSEEN, FINAL, BLIND], ids=range(5))
def test_other_words_of_other_scores_are_refused(half: Half) -> None:
    """A sentence of one score is never taken for another's, whatever its wording."""
    for key, by_score in half.sentences.items():
        for score, sentences in by_score.items():
            for other in (1, 2, 3, 4, *([None] if key == "lesion_conspicuity" else [])):
                scores = {**dict.fromkeys(KEYS, 1), key: other}
                for sentence in sentences if other != score else ():
                    report = REPORT_OF_ONES[key].replace("@", sentence)
                    assert find_contradictions(report, scores), (sentence, other)


def _dictated(name: str) -> list[tuple[Scores, str]]:
    """Return whole reports in the manner of dictated ones: scores, a tab, the text in one line."""
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    given = (line.split("\t") for line in lines)
    return [
        (
            {key: None if part == "n" else int(part) for key, part in zip(KEYS, scores.split(","), strict=True)},
            text.replace("\\n", "\n"),
        )
        for scores, text in given
    ]


def test_true_dictated_reports_pass() -> None:
    reports = _dictated("dictated_true.tsv")
    passed = [not find_contradictions(text, scores) for scores, text in reports]
    assert len(passed) >= 145
    assert sum(passed) >= 0.9 * len(passed)


def test_false_dictated_reports_are_refused() -> None:
    """Double negation, hedges, swapped criteria, comparisons, implied findings, numbers in words, partial truths."""
    reports = _dictated("dictated_false.tsv")
    assert len(reports) >= 120
    assert [text for scores, text in reports if not find_contradictions(text, scores)] == []


def test_words_that_rate_nothing_let_no_false_report_pass() -> None:
    """One such word put in beside a change of a true report."""
    random_ = random.Random(0)
    harmless = [" ".join(phrase) for phrase, (kind, *_) in ENTRIES.items() if kind in ("neutral", "verb", "break")]
    harmless = [words for words in harmless if words[0].isalpha()]
    for scores in random_.sample(list(all_scores()), 60):
        true = template_report(scores).split(" ")
        for kind, text in random_.sample(list(mutations(scores)), 12):
            words = text.split(" ")
            changed = next(place for place, pair in enumerate(zip(words, true, strict=False)) if pair[0] != pair[1])
            place = min(len(words), max(0, changed + random_.randint(-3, 3)))
            mixed = " ".join([*words[:place], random_.choice(harmless), *words[place:]])
            assert find_contradictions(mixed, scores), (kind, scores, mixed)


def _report_with_gap(key: str) -> str:
    ones = dict.fromkeys(KEYS, 1)
    body = template_report(ones).split("IMAGE QUALITY\n")[1].split("\n\n")[0]
    sentences = [sentence for sentence in body.split(". ") if sentence]
    sentences[KEYS.index(key)] = "@"
    return ". ".join(sentence.removesuffix(".") for sentence in sentences) + "."


REPORT_OF_ONES = {key: _report_with_gap(key) for key in KEYS}


@pytest.mark.parametrize(
    ("report", "finding"),
    [
        ("", "the report is empty"),
        (" \n", "the report is empty"),
        (REPORT + "x" * LONGEST, "more than 3000"),
        (REPORT + "\x1b[31m", "control characters"),
        (REPORT + " and" * 150, "a sentence has"),
        (REPORT.replace("(score 3)", "(score 2)"), "Image noise and structural fidelity: '2' contradicts the score 3"),
        (REPORT.replace("sub-optimal", "excellent"), "'excellent' contradicts the score 3"),
        (REPORT.replace("acceptable visibility", "no acceptable visibility"), "'not acceptable' contradicts the score 2"),
        (REPORT.replace("There is acceptable", "There isn't acceptable"), "'not acceptable' contradicts the score 2"),
        (REPORT.replace("not applicable to this slice and was not scored", "excellent"), "contradicts 'not applicable'"),
        (REPORT + "\nThe liver is normal.", "'liver' is not among the words"),
        (REPORT + "\nNoise is 12.5 HU.", "the number 12.5 was not given"),
        (REPORT + "\nThere is a kidney stone.", "'kidney stone' reads as a finding"),
        (REPORT + "\nThe reader is confident that there is a kidney stone.", "'kidney stone' reads as a finding"),
        (REPORT + "\nNo lesion is seen.", "Subjective visual lesion conspicuity"),
        (REPORT + "\nThe ехcellent noise.", "is not among the words"),
    ],
)  # fmt: skip
def test_each_defect_is_named(report: str, finding: str) -> None:
    assert any(finding in found for found in find_contradictions(report, SCORES)), find_contradictions(report, SCORES)


def test_vague_wording_needs_the_number() -> None:
    scores = {**SCORES, "small_structures": 1}
    vague = template_report(scores).replace("excellent visualization", "good visualization")
    assert find_contradictions(vague, scores) == ()
    found = find_contradictions(vague.replace("nodes) (score 1)", "nodes)"), scores)
    assert found == ("Visibility of small structures: the wording fits other scores than 1 too; state the score",)


def test_an_answer_may_speak_of_some_criteria_only() -> None:
    answer = "Image noise is sub-optimal."
    assert find_contradictions(answer, SCORES, complete=False) == ()
    assert find_contradictions("Image noise is excellent.", SCORES, complete=False)
    assert find_contradictions(answer, SCORES)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("Noise isn't average", "Noise isn't sub-optimal"),
        (
            "Small structures are not excellent, and noise is sub-optimal",
            "Small structures are acceptable, and confidence is not",
        ),
        (
            "Small structures are acceptable, the noise is not average",
            "Noise is suboptimal, small structures are not acceptable",
        ),
        ("Compared with the usual level, noise is higher", "Compared with the usual level, noise is lower"),
        ("Noise is more than what is usually seen", "Noise is no more than what is usually seen"),
        ("Noise is sub-optimal, confidence is complete", "Noise is complete, as is confidence"),
        ("Confidence is excellent", "Confidence is excellent, as are small structures"),
        ("The slice is sub-optimal owing to noise", "The slice is excellent owing to noise"),
        ("Noise: 3, small structures: 2", "Noise: 2, small structures: 3"),
        ("Noise is rated three out of four", "Noise is rated two out of four"),
        ("Confidence is complete", "Confidence is more than probable"),
        ("Small structures are acceptable", "All criteria are acceptable"),
        ("Noise is suboptimal", "No criterion is suboptimal"),
        ("The reader is confident", "The reader lacks confidence"),
        ("Noise is suboptimal, i.e. it limits interpretation", "Noise does not suffer from limits"),
    ],
)
def test_grammar_tells_true_from_false(true: str, false: str) -> None:
    assert find_contradictions(true, SCORES, complete=False) == ()
    assert find_contradictions(false, SCORES, complete=False)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("The noise is sub-optimal, and small structures are acceptable", "also rates Visibility of small structures"),
        ("The slice was reviewed", "not rated"),
        ("Noise is sub-optimal. Noise is sub-optimal", "expected one sentence, got 2"),
        ("Noise is average", "contradicts the score 3"),
    ],
)
def test_a_sentence_rates_its_criterion_alone(text: str, finding: str) -> None:
    assert any(finding in found for found in find_sentence_problems(text, "noise", SCORES))


def test_negation_reaches_its_grade_and_no_further() -> None:
    scores = {**SCORES, "diagnostic_confidence": 2}
    assert find_contradictions("Diagnostic confidence is not complete, but reasonable", scores, complete=False) == ()
    assert find_contradictions("Diagnostic confidence is not reasonable, but complete", scores, complete=False)
    assert find_contradictions("Noise is never not sub-optimal", scores, complete=False)
