"""What crosses the wire: four scores in words, and nothing else."""

import json

from iqagpt.chat.prompts import (
    payload,
    rating_messages,
    rating_schema,
    repair_messages,
    report_messages,
    report_schema,
)
from iqagpt.criteria import CRITERIA, all_scores, scores_to_caption

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
            "description": "not applicable",
        },
        {"criterion": "Diagnostic confidence", "score": 2, "description": "probably confident"},
    ]


def test_messages_ask_for_a_radiology_report_and_give_the_payload() -> None:
    system, user = report_messages(SCORES)
    assert (system["role"], user["role"]) == ("system", "user")
    assert "radiology report" in system["content"]
    assert user["content"].startswith("Please write a quality assessment report for this image.")
    assert json.loads(user["content"].split("\n", 1)[1]) == payload(SCORES)


def test_a_repair_shows_the_answer_and_what_was_wrong_with_it() -> None:
    messages = report_messages(SCORES)
    repaired = repair_messages(messages, "the answer", ["the number 8 was not given"])
    assert repaired[:2] == messages
    assert repaired[2] == {"role": "assistant", "content": "the answer"}
    assert "- the number 8 was not given" in repaired[3]["content"]


def test_a_rating_is_asked_for_with_the_caption_and_the_scales() -> None:
    caption = scores_to_caption({**SCORES, "small_structures": 1})
    system, user = rating_messages(caption)
    assert user["content"] == f"Please rate the quality of this image.\n{caption}"
    assert all(text in system["content"] for c in CRITERIA for text in (c.key, *c.descriptions))


def test_schemas_close_every_object() -> None:
    for schema in (report_schema(), report_schema()["properties"]["sentences"]["items"], rating_schema()):
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])


def test_all_messages_say_only_what_the_scales_say() -> None:
    words = {text for c in CRITERIA for text in (c.title, *c.descriptions)}
    words |= {"could not be determined", "not applicable"}
    for scores in all_scores():
        assert {e["criterion"] for e in payload(scores)} | {e["description"] for e in payload(scores)} <= words
