"""What a language model is told when it is asked for a report: four scores in words, and nothing else.

The payload is built from an allow-list, so that no identifier, path, pixel or DICOM text can get into it.
"""

import json
from collections.abc import Mapping
from typing import Any

from iqagpt.chat.templates import NOT_APPLICABLE, UNKNOWN
from iqagpt.criteria import CRITERIA, describe

_SYSTEM = """\
You write a report on the image quality of one axial CT slice, in the form of a radiology report with the headings \
TECHNIQUE, IMAGE QUALITY and IMPRESSION, in plain text.
You are given four criteria, each with a score and its description. State them, interpret nothing else.
Rules:
- Under IMAGE QUALITY write one sentence per criterion. It contains the criterion's full name as given, then its \
description in your words, then the score as "(score N)". Leave the score out where it is null.
- Use no other digits anywhere: no measurements, dates, lists or scales.
- Where the description is "{not_applicable}", say exactly that; do not say that there is no lesion.
- Where the description is "{unknown}", say exactly that.
- Beyond the descriptions name no organ, disease, patient, scanner or treatment. Recommend nothing.
- Write at most 150 words.
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
