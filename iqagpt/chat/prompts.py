"""What a language model is told when it is asked for a report: four scores in words, and nothing else.

The payload is built from an allow-list, so that no identifier, path, pixel or DICOM text can get into it. The schemas of the
answers are sent along; `iqagpt.chat.answers` checks them again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from iqagpt.chat.templates import NOT_APPLICABLE, UNKNOWN
from iqagpt.criteria import CRITERIA, KEYS, SCORES, describe

#: Changes whenever the same scores would be asked for in other words: part of the key of stored answers.
PROMPT_VERSION = 2
#: Scores in the JSON that is exchanged.
NA, UNDETERMINED = "N/A", "undetermined"

_SYSTEM = """\
You write the prose of a report on the image quality of one axial CT slice, in the style of a radiology report.
You are given four criteria, each with a score and its description. State them, interpret nothing else.
Answer with JSON: {{"sentences": [{{"criterion", "score", "text"}}, ...], "summary": "..."}}.
Rules:
- One sentence per criterion, in the order given. Copy criterion and score; "text" is the description in your words.
- Name the criterion in its sentence (image noise, small structures, lesion, diagnostic confidence), and no other criterion.
- "summary" is one sentence on diagnostic confidence.
- Use no digits in "text" and "summary": no measurements, dates, lists or scales.
- Where the description is "{not_applicable}", say that lesion conspicuity is not applicable; never that there is no lesion.
- Where the description is "{unknown}", say exactly that.
- Name no organ, disease, patient, scanner or treatment beyond the descriptions. Recommend nothing.
"""
_RATE = """\
You convert the description of a CT slice's image quality to scores. For each of the four criteria the scale is:
{scales}
Answer with JSON: the four scores, "N/A" for "no lesion".
"""


def payload(scores: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Return all that a language model is told about a slice.

    Parameters
    ----------
    scores : mapping
        As for `template_report`.

    Returns
    -------
    list of dict
        ``criterion``, ``score`` (None if there is none) and ``description`` for each of the four criteria.
    """
    entries = []
    for criterion in CRITERIA:
        score = scores.get(criterion.key)
        if criterion.key not in scores:
            words = UNKNOWN
        elif score is None:
            words = NOT_APPLICABLE
        else:
            words = describe(criterion, score)
        entries.append({"criterion": criterion.title, "score": score, "description": words})
    return entries


def report_messages(scores: Mapping[str, int | None]) -> list[dict[str, str]]:
    """Return the chat messages that ask for a report of one slice."""
    system = _SYSTEM.format(not_applicable=NOT_APPLICABLE, unknown=UNKNOWN)
    user = "Please write a quality assessment report for this image.\n" + json.dumps(payload(scores), indent=1)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def repair_messages(messages: list[dict[str, str]], answer: str, findings: Sequence[str]) -> list[dict[str, str]]:
    """Return the conversation that asks once more, with what was wrong with the first answer."""
    listed = "\n".join(f"- {finding}" for finding in findings[:12])
    ask = f"This answer cannot be used:\n{listed}\nPlease write it again, as JSON, by the same rules."
    return [*messages, {"role": "assistant", "content": answer[:6000]}, {"role": "user", "content": ask}]


def report_schema() -> dict[str, Any]:
    """Return the JSON schema of a report's answer."""
    sentence = {
        "type": "object",
        "properties": {
            "criterion": {"type": "string", "enum": [criterion.title for criterion in CRITERIA]},
            "score": {"enum": [*SCORES, NA, UNDETERMINED]},
            "text": {"type": "string"},
        },
        "required": ["criterion", "score", "text"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "sentences": {"type": "array", "items": sentence, "minItems": len(KEYS), "maxItems": len(KEYS)},
            "summary": {"type": "string"},
        },
        "required": ["sentences", "summary"],
        "additionalProperties": False,
    }


def rating_messages(caption: str) -> list[dict[str, str]]:
    """Return the chat messages that ask for the scores of a caption (paper 2.3: "converts the predicted caption to the score").

    Parameters
    ----------
    caption : str
        A caption of the template, which is all that is sent.
    """
    scales = "\n".join(
        f"{criterion.key} ({criterion.title}): "
        + "; ".join(f"{score} = {describe(criterion, score)}" for score in SCORES)
        + (f"; N/A = {criterion.absent}" if criterion.absent else "")
        for criterion in CRITERIA
    )
    user = f"Please rate the quality of this image.\n{caption}"
    return [{"role": "system", "content": _RATE.format(scales=scales)}, {"role": "user", "content": user}]


def rating_schema() -> dict[str, Any]:
    """Return the JSON schema of a rating's answer."""
    scores = {c.key: {"enum": [*SCORES, NA] if c.absent else list(SCORES)} for c in CRITERIA}
    return {"type": "object", "properties": scores, "required": list(KEYS), "additionalProperties": False}
