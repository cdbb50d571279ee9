"""What crosses the wire: four scores in words, and nothing else."""

import json

from iqagpt.chat.prompts import payload, report_messages
from iqagpt.criteria import CRITERIA, all_scores

SCORES = {"noise": 4, "lesion_conspicuity": None, "diagnostic_confidence": 2}


def test_payload_is_an_allow_list() -> None:
    extra = {**SCORES, "patient_id": "L506", "path": "/data/secret.dcm"}
    assert payload(extra) == payload(SCORES)
    assert payload(SCORES) == [
        {
            "criterion": "Image noise and structural fidelity",
            "score": 4,
            "description": "unacceptable for diagnostic interpretation",
        },
        {"criterion": "Visibility of small structures", "score": None, "description": "could not be determined"},
        {
            "criterion": "Subjective visual lesion conspicuity",
            "score": None,
            "description": "lesion conspicuity not applicable",
        },
        {"criterion": "Diagnostic confidence", "score": 2, "description": "probably confident"},
    ]


def test_messages_ask_for_a_radiology_report_and_give_the_payload() -> None:
    system, user = report_messages(SCORES)
    assert (system["role"], user["role"]) == ("system", "user")
    assert all(
        heading in system["content"] for heading in ("TECHNIQUE", "IMAGE QUALITY", "IMPRESSION", "radiology report")
    )
    assert json.loads(user["content"].split("\n", 1)[1]) == payload(SCORES)


def test_all_messages_say_only_what_the_scales_say() -> None:
    words = {text for c in CRITERIA for text in (c.title, *c.descriptions)}
    words |= {"could not be determined", "lesion conspicuity not applicable"}
    for scores in all_scores():
        assert {e["criterion"] for e in payload(scores)} | {e["description"] for e in payload(scores)} <= words
