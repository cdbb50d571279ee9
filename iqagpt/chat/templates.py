"""A report in radiology form from four scores, without any language model; equal scores give equal text.

Default of the stage ``report`` and its fall-back. Form and content follow the reports of the paper's Figure 4, except
that "no lesion" is never worded as a finding: it means that lesion conspicuity was not scored.
"""

from collections.abc import Mapping

from iqagpt.criteria import CRITERIA, Criterion

DIRECTION = "Scores run from 1 (best) to 4 (worst)."
DISCLAIMER = "Research use only; not for diagnosis."
UNKNOWN = "could not be determined"
NOT_APPLICABLE = "lesion conspicuity not applicable"

_WORST_ACCEPTABLE = 2
_SMALL = "(small blood vessels, adrenal glands, small lymph nodes)"
#: What follows the criterion's name for scores 1 to 4.
_PREDICATES = {
    "noise": (
        "are better than usual and acceptable for diagnostic interpretation",
        "are average and acceptable for diagnostic interpretation",
        "are sub-optimal and allow limited diagnostic information only",
        "are unacceptable for diagnostic interpretation",
    ),
    "small_structures": (
        f"{_SMALL} is excellent",
        f"{_SMALL} is acceptable",
        f"{_SMALL} is sub-optimal",
        f"{_SMALL} is unacceptable",
    ),
    "lesion_conspicuity": (
        "is that of a well-seen lesion with well-visualized margins",
        "is that of a well-seen lesion with poorly visualized margins",
        "is that of a poorly seen lesion with poorly visualized margins",
        "is that of a blurred lesion with severe loss of margins",
    ),
    "diagnostic_confidence": (
        "is complete",
        "is probable, not complete",
        "is limited to clinical entities such as a kidney stone, a calcified lesion, or a large lesion",
        "is poor",
    ),
}
_CONFIDENCE = ("complete", "probable", "limited", "poor")
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
    findings = "\n".join(_sentence(criterion, scores) for criterion in CRITERIA)
    return (
        "TECHNIQUE\n"
        "Automated assessment of the image quality of one axial CT slice by four criteria. "
        f"{DIRECTION}\n\n"
        f"IMAGE QUALITY\n{findings}\n\n"
        f"IMPRESSION\n{_impression(scores)}\n\n"
        f"{DISCLAIMER}"
    )


def _sentence(criterion: Criterion, scores: Mapping[str, int | None]) -> str:
    if criterion.key not in scores:
        return f"{criterion.title} {UNKNOWN}."
    score = scores[criterion.key]
    if score is None:
        return f"{criterion.title} was not scored: {NOT_APPLICABLE} to this slice, which does not exclude a lesion."
    return f"{criterion.title} {_PREDICATES[criterion.key][score - 1]} (score {score})."


def _impression(scores: Mapping[str, int | None]) -> str:
    confidence = scores.get("diagnostic_confidence")
    rated = f"is rated {_CONFIDENCE[confidence - 1]}" if confidence else UNKNOWN
    known = [key for key in _FACTORS if scores.get(key) is not None]
    if not known:
        return f"Diagnostic confidence {rated}."
    limits = [key for key in known if scores[key] > _WORST_ACCEPTABLE]
    # "although" where confidence and the other criteria disagree.
    disagree = confidence is not None and (confidence > _WORST_ACCEPTABLE) != bool(limits)
    link = ", although" if disagree else ";"
    if limits:
        return f"Diagnostic confidence {rated}{link} image quality is limited by {_join(limits)}."
    return f"Diagnostic confidence {rated}{link} {_join(known)} {'is' if len(known) == 1 else 'are'} not limiting."


def _join(keys: list[str]) -> str:
    words = [_FACTORS[key] for key in keys]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
