"""A report in radiology form from four scores, without any language model; equal scores give equal text.

Default of the stage ``report`` and its fall-back, and the frame of a report whose sentences a language model wrote. Form and
content follow the reports of the paper's Figure 4, except that "no lesion" is never worded as a finding: it means that lesion
conspicuity was not scored.
"""

from collections.abc import Mapping

from iqagpt.criteria import CRITERIA

DIRECTION = "Scores run from 1 (best) to 4 (worst)."
DISCLAIMER = "Research use only; not for diagnosis."
UNKNOWN = "could not be determined"
NOT_APPLICABLE = "not applicable"

_WORST_ACCEPTABLE = 2
_TECHNIQUE = f"Automated assessment of the image quality of one axial CT slice by four criteria. {DIRECTION}"
_SMALL = "small structures (small blood vessels, adrenal glands, small lymph nodes)"
#: What is said for scores 1 to 4.
_SENTENCES = {
    "noise": (
        "Image noise and structural fidelity are better than usual, and the slice is acceptable for diagnostic interpretation",
        "Image noise and structural fidelity are average and acceptable for diagnostic interpretation",
        "Image noise and structural fidelity are sub-optimal and permit limited diagnostic information only",
        "Image noise and structural fidelity are unacceptable for diagnostic interpretation",
    ),
    "small_structures": (
        f"There is excellent visualization of {_SMALL}",
        f"There is acceptable visibility of {_SMALL}",
        f"Visibility of {_SMALL} is sub-optimal",
        f"Visualization of {_SMALL} is unacceptable",
    ),
    "lesion_conspicuity": (
        "The lesion is well seen and its margins are well visualized",
        "The lesion is well seen, but its margins are poorly visualized",
        "The lesion is poorly seen, and its margins are poorly visualized",
        "The lesion is blurred, with severe loss of its margins",
    ),
    "diagnostic_confidence": (
        "Diagnostic confidence is complete",
        "Diagnostic confidence is probable, not complete",
        "Diagnostic confidence is limited to a clinical entity such as a kidney stone, a calcified lesion or a large lesion",
        "Diagnostic confidence is poor",
    ),
}
_ABSENT = f"Lesion conspicuity is {NOT_APPLICABLE} to this slice and was not scored, which does not exclude a lesion"
_CONFIDENCE = (
    "The slice can be interpreted with complete confidence",
    "The slice can be interpreted with probable, not complete, confidence",
    "Confident interpretation is limited to a clinical entity such as a large lesion",
    "The slice cannot be interpreted with confidence",
)
_FACTORS = {
    "noise": "image noise",
    "small_structures": "visibility of small structures",
    "lesion_conspicuity": "lesion conspicuity",
}


def template_report(scores: Mapping[str, int | None]) -> str:
    """Write the report of one slice.

    Parameters
    ----------
    scores : mapping
        Scores 1 (best) to 4 (worst) by criterion key; None for a slice without a lesion, no entry for a criterion that
        could not be determined.

    Returns
    -------
    str
        Three sections and the disclaimer, without a final newline.
    """
    return lay_out([template_sentence(key, scores) for key in _SENTENCES], impression(scores))


def lay_out(sentences: list[str], summary: str) -> str:
    """Put four sentences and a summary, without full stops, into the form of a radiology report."""
    findings = " ".join(f"{sentence}." for sentence in sentences)
    return f"TECHNIQUE\n{_TECHNIQUE}\n\nIMAGE QUALITY\n{findings}\n\nIMPRESSION\n{summary}.\n\n{DISCLAIMER}"


def template_sentence(key: str, scores: Mapping[str, int | None]) -> str:
    """Return the sentence on one criterion with its score, without a full stop."""
    if key not in scores:
        title = next(criterion.title for criterion in CRITERIA if criterion.key == key)
        return f"{title} {UNKNOWN}"
    score = scores[key]
    return _ABSENT if score is None else f"{_SENTENCES[key][score - 1]} (score {score})"


def impression(scores: Mapping[str, int | None]) -> str:
    """Return one sentence on confidence and what limits it, without a full stop."""
    confidence = scores.get("diagnostic_confidence")
    rated = _CONFIDENCE[confidence - 1] if confidence else f"Diagnostic confidence {UNKNOWN}"
    known = [key for key in _FACTORS if scores.get(key) is not None]
    if not known:
        return rated
    limits = [key for key in known if scores[key] > _WORST_ACCEPTABLE]
    # "although" where confidence and the other criteria disagree.
    disagree = confidence is not None and (confidence > _WORST_ACCEPTABLE) != bool(limits)
    link = ", although" if disagree else ";"
    if limits:
        return f"{rated}{link} image quality is limited by {_join(limits)}"
    return f"{rated}{link} {_join(known)} {'is' if len(known) == 1 else 'are'} not limiting"


def _join(keys: list[str]) -> str:
    words = [_FACTORS[key] for key in keys]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
