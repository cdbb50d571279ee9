"""Captions and scores: an exact inverse pair that never guesses."""

import pytest

from iqagpt.criteria import (
    ALWAYS_SCORED,
    CRITERIA,
    KEYS,
    all_scores,
    caption_to_scores,
    describe,
    scores_to_caption,
)

#: The example of Figure 3: a radiologist's scores [4, 4, 2, 4].
EXAMPLE = (
    "Image noise and structural fidelity: unacceptable for diagnostic interpretation; "
    "Visibility of small structures: unacceptable visualization; "
    "Subjective visual lesion conspicuity: well-seen lesion with poorly visualized margins; "
    "Diagnostic confidence: poor confidence"
)
#: Figure 4, ground truths of the low-dose and the normal-dose slice, with its spaces before colons.
FIGURE_4_LOW = (
    "Image noise and structural fidelity : unacceptable for diagnostic interpretation; "
    "Visibility of small structures : unacceptable visualization; "
    "Subjective visual lesion conspicuity : no lesion; "
    "Diagnostic confidence : poor confidence"
)
FIGURE_4_NORMAL = (
    "Image noise and structural fidelity : better than usual, acceptable for diagnostic interpretation; "
    "Visibility of small structures : acceptable visibility; "
    "Subjective visual lesion conspicuity: no lesion; "
    "Diagnostic confidence : completely confident"
)


def scores(*values: int | None) -> dict[str, int | None]:
    return dict(zip(KEYS, values, strict=True))


def test_every_score_tuple_survives_the_round_trip() -> None:
    every = list(all_scores())
    captions = [scores_to_caption(one) for one in every]
    assert len(every) == 4 * 4 * 5 * 4
    assert len(set(captions)) == 320
    assert [caption_to_scores(caption) for caption in captions] == every


def test_example_of_the_paper() -> None:
    assert scores_to_caption(scores(4, 4, 2, 4)) == EXAMPLE
    assert caption_to_scores(EXAMPLE) == scores(4, 4, 2, 4)


def test_figure_4() -> None:
    assert caption_to_scores(FIGURE_4_LOW) == scores(4, 4, None, 4)
    assert caption_to_scores(FIGURE_4_NORMAL) == scores(1, 2, None, 1)
    assert scores_to_caption(scores(4, 4, None, 4)) == FIGURE_4_LOW.replace(" :", ":")
    assert scores_to_caption(scores(1, 2, None, 1)) == FIGURE_4_NORMAL.replace(" :", ":")


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace("; ", ";"),
        lambda text: text.replace("; ", " ;\n"),
        lambda text: text.replace(":", " :"),
        lambda text: text.replace("-", " - "),
        lambda text: f"\n {text} ",
        lambda text: f"{text};",
    ],
)
def test_case_and_spacing_do_not_matter(change) -> None:
    for one in all_scores():
        assert caption_to_scores(change(scores_to_caption(one))) == one


@pytest.mark.parametrize(
    "text",
    ["", ";", ":", " ; : ; ", "no lesion", "1", "nan", "poor confidence", "Diagnostic confidence",
     "Diagnostic confidence:", "Diagnostic confidence poor confidence", "[4, 4, 2, 4]",
     "diagnostic confidence: 4", "diagnostic confidence: no lesion", "\x00" * 100, "(" * 1000, "a; " * 5000],
)  # fmt: skip
def test_garbage_has_no_entry(text: str) -> None:
    assert caption_to_scores(text) == {}


def test_criteria_are_read_one_by_one_in_any_order() -> None:
    assert caption_to_scores("Diagnostic confidence: poor confidence") == {"diagnostic_confidence": 4}
    assert caption_to_scores("; ".join(reversed(EXAMPLE.split("; ")))) == scores(4, 4, 2, 4)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.key)
def test_missing_or_unknown_phrase_drops_that_criterion_only(criterion) -> None:
    parts = dict(zip(KEYS, EXAMPLE.split("; "), strict=True))
    for part in (None, f"{criterion.title}: quite nice", f"{criterion.title}:", f"{criterion.title}: 4"):
        text = "; ".join(p for p in (parts | {criterion.key: part}).values() if p is not None)
        expected = scores(4, 4, 2, 4)
        del expected[criterion.key]
        assert caption_to_scores(text) == expected


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.key)
@pytest.mark.parametrize("second", ["same", "other", "unknown", "empty", "colon"])
def test_criterion_given_twice_has_no_entry(criterion, second: str) -> None:
    phrase = {
        "same": describe(criterion, {**scores(4, 4, 2, 4)}[criterion.key]),
        "other": describe(criterion, 1),
        "unknown": "quite nice",
        "empty": "",
        "colon": f"{describe(criterion, 1)}: {describe(criterion, 1)}",
    }[second]
    expected = scores(4, 4, 2, 4)
    del expected[criterion.key]
    again = f"{criterion.title}: {phrase}"
    assert caption_to_scores(f"{EXAMPLE}; {again}") == expected
    assert caption_to_scores(f"{again}; {EXAMPLE}") == expected


def test_a_changed_word_never_reads_as_another_score() -> None:
    """Drop, double or replace each word of each phrase: no entry, unless it is another phrase."""
    vocabulary = sorted({word for c in CRITERIA for d in c.descriptions for word in d.split()} | {"no", "lesion"})
    for criterion in CRITERIA:
        scale = [1, 2, 3, 4] + ([None] if criterion.absent else [])
        phrases = {describe(criterion, score): score for score in scale}
        for phrase, score in phrases.items():
            words = phrase.split()
            for i in range(len(words)):
                mutants = [words[:i] + new + words[i + 1 :] for new in ([], [words[i]] * 2, ["quite"])]
                mutants += [[*words[:i], word, *words[i + 1 :]] for word in vocabulary]
                for mutant in map(" ".join, mutants):
                    expected = {criterion.key: phrases[mutant]} if mutant in phrases else {}
                    assert caption_to_scores(f"{criterion.title}: {mutant}") == expected, (
                        phrase,
                        score,
                        mutant,
                    )


def test_phrases_of_one_scale_differ() -> None:
    for criterion in CRITERIA:
        assert len(set(criterion.descriptions) | {criterion.absent}) == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"noise": 0}, "noise: expected a score 1"),
        ({"noise": 5}, "noise: expected a score 1"),
        ({"noise": None}, "noise: expected a score 1"),
        ({"diagnostic_confidence": 2.5}, "got 2.5"),
    ],
)
def test_scores_outside_the_scale_are_refused(change: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        scores_to_caption(scores(1, 1, 1, 1) | change)


def test_missing_criterion_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'lesion_conspicuity'"):
        scores_to_caption({key: 1 for key in ALWAYS_SCORED})


def test_only_lesion_conspicuity_can_be_absent() -> None:
    assert set(KEYS) - set(ALWAYS_SCORED) == {"lesion_conspicuity"}
