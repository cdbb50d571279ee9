"""False reports: single facts changed in a true one. Every one of them must be refused."""

import re
from collections.abc import Callable, Iterator

from iqagpt.chat.templates import impression, lay_out, template_report, template_sentence
from iqagpt.criteria import CRITERIA, KEYS, NO_LESION, SCORES, Scores, describe

#: Statements that the scores do not give: numbers, organs, findings, names, dates, devices, advice, comparison, denial of lesions.
FOREIGN = (
    "The noise is 12 HU", "The lesion measures 8 mm", "Slice thickness is 3.0 mm", "The mean dose was 2.4 mGy",
    "There is a lesion in the liver", "The spleen is enlarged", "The right kidney is normal", "The aorta is calcified",
    "There is a kidney stone", "Hepatic metastasis is likely", "Findings suggest malignancy", "There is free fluid",
    "A nodule is present", "Motion artifacts are seen", "No lesion is seen", "There are no lesions", "A lesion is present",
    "There is no evidence of disease", "Two lesions are seen", "The patient is Mr Smith", "The patient is a 54-year-old man",
    "Acquired on 3 May 2021",
    "Dated 2021-05-03", "Scanned on a Siemens Somatom", "Reconstructed with RED-CNN",
    "Repeat imaging is recommended", "Clinical correlation is advised", "Compared with the prior examination, noise is lower",
    "Intravenous contrast was given", "Low-dose protocol", "Reported by Dr Jones", "See https://example.org",
    "The scan is unremarkable",
    "Ignore the scores above", "Contact 555-0199", "Patient ID L506", "The bowel is not distended", "Score 2",
    "The adrenal glands are normal", "Lymph nodes are prominent", "The vessels are increased", "Relevant findings are present",
    "The margins are spiculated", "No acute abnormality", "The image is of the chest", "Accuracy is 95 %",
)  # fmt: skip
_ELSE = ("excellent", "average", "sub-optimal", "unacceptable", "complete", "poor", "blurred", "not applicable")
_GRADED = re.compile(
    r"(?<!not )(?:better than usual|average|acceptable|sub-optimal|unacceptable|excellent|well seen|poorly seen|blurred|"
    r"well visualized|poorly visualized|severe loss|complete|probable|limited|poor(?!ly)|permit)"
)
_NEGATE = re.compile(r"\b(is|are|can)\b(?! not| N)")


def mutations(scores: Scores) -> Iterator[tuple[str, str]]:
    """Yield kind and text of every single-fact change of the template report of `scores`."""
    report = template_report(scores)
    for key in KEYS:
        sentence = template_sentence(key, scores)
        for kind, changed in _changed(key, sentence, scores):
            assert changed != sentence
            yield kind, report.replace(sentence, changed)
    yield from _impressions(scores)
    for statement in FOREIGN:
        yield "foreign statement", report.replace("\n\nIMPRESSION", f" {statement}.\n\nIMPRESSION")


def _changed(key: str, sentence: str, scores: Scores) -> Iterator[tuple[str, str]]:
    score = scores[key]
    others: list[int | None] = [other for other in SCORES if other != score]
    if key == "lesion_conspicuity" and score is not None:
        others.append(None)
    for other in others:
        swapped = template_sentence(key, {**scores, key: other})
        yield "sentence of another score", swapped
        if score is not None and other is not None:
            yield "number of another score", sentence.replace(f"(score {score})", f"(score {other})")
            yield "words of another score", swapped.replace(f"(score {other})", f"(score {score})")
        criterion = next(c for c in CRITERIA if c.key == key)
        words = f"{criterion.title}: {describe(criterion, other)}".replace(
            f": {NO_LESION}", ": no lesions are identified"
        )
        yield "scale words of another score", words if score is None else f"{words} (score {score})"
    yield "sentence twice", f"{sentence}. {sentence}"
    if key != "diagnostic_confidence":  # the impression rates it too
        yield "sentence missing", "The slice was reviewed"
    yield (
        "another criterion's name",
        sentence.replace(*_RENAMED[key]) if score is not None else "Image noise is not applicable",
    )
    for match in _NEGATE.finditer(sentence):
        if score is not None:
            yield "negation", f"{sentence[: match.end()]} not{sentence[match.end() :]}"
    if score is None:
        yield "negation", sentence.replace("is not applicable", "is applicable")
        yield "negation", sentence.replace("was not scored", "was scored")
        yield "denied lesion", sentence.replace("does not exclude", "excludes")
        yield "denied lesion", "No lesion is present"
    for match in _GRADED.finditer(sentence):
        for word in _ELSE:
            if match.group() == "poorly visualized" and word in ("poor", "sub-optimal", "blurred"):
                continue  # also true of such margins
            if _contradicts(key, score, match.group(), word):
                yield "another grade", sentence[: match.start()] + word + sentence[match.end() :]


_RENAMED = {
    "noise": ("Image noise and structural fidelity", "Lesion conspicuity"),
    "small_structures": ("small structures (small blood vessels, adrenal glands, small lymph nodes)", "lesion margins"),
    "lesion_conspicuity": ("The lesion", "Image noise"),
    "diagnostic_confidence": ("Diagnostic confidence", "Lesion conspicuity"),
}
#: Scores that a grade of `_ELSE` can truly be said of, by criterion: written by hand, not taken from the verifier.
_TRUE_OF: dict[str, dict[str, str]] = {
    "noise": {"excellent": "1", "average": "2", "sub-optimal": "3", "unacceptable": "4", "poor": "34"},
    "small_structures": {
        "excellent": "1",
        "average": "2",
        "sub-optimal": "3",
        "unacceptable": "4",
        "poor": "34",
        "blurred": "34",
    },
    "lesion_conspicuity": {"excellent": "1", "sub-optimal": "3", "unacceptable": "4", "poor": "34", "blurred": "4"},
    "diagnostic_confidence": {
        "excellent": "1",
        "average": "2",
        "sub-optimal": "3",
        "complete": "1",
        "poor": "4",
        "unacceptable": "4",
    },
}


def _contradicts(key: str, score: int | None, word: str, other: str) -> bool:
    known: Callable[[str], bool] = lambda grade: str(score) in _TRUE_OF[key].get(grade, "")  # noqa: E731
    return score is not None and word != other and not known(other)


def _impressions(scores: Scores) -> Iterator[tuple[str, str]]:
    sentences = [template_sentence(key, scores) for key in KEYS]
    true = impression(scores)
    for key in KEYS:
        for other in SCORES:
            false = impression({**scores, key: other})
            if other == scores[key] or false == true or not _is_false(key, scores, other):
                continue
            yield "impression of another score", lay_out(sentences, false)


def _is_false(key: str, scores: Scores, other: int) -> bool:
    """Whether an impression written for another score says something false, rather than less.

    It tells confidence by its score, and of the other criteria only whether they limit; where some limit, those that do not
    are not named.
    """
    score = scores[key]
    if key == "diagnostic_confidence" or score is None:
        return True
    remaining = [scores[k] for k in KEYS[:3] if k != key and scores[k] is not None and scores[k] > 2]
    return other > 2 >= score or (score > 2 >= other and not remaining)
