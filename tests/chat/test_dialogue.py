"""The dialogue states the result, whatever it is asked and whatever a language model says."""

import json
import re

import pytest
from made_results import TemplateWriter, make_result
from test_questions import ATTACKS, TOPICS

from iqagpt.chat.client import ChatUnavailableError
from iqagpt.chat.dialogue import LONGEST_ANSWER, Dialogue
from iqagpt.chat.dialogue_answers import RATE_REQUEST, REPORT_REQUEST, rating
from iqagpt.chat.questions import LONGEST
from iqagpt.chat.reports import Report
from iqagpt.chat.templates import template_report
from iqagpt.criteria import CRITERIA, all_scores
from iqagpt.errors import InputError

RESULT = make_result()


class Says:
    """A language model with one answer."""

    def __init__(self, text):
        self.text, self.asked = text, []

    def complete(self, messages):
        self.asked.append(messages)
        if isinstance(self.text, Exception):
            raise self.text
        return self.text


def reply(question, result=RESULT, client=None):
    return Dialogue(result, TemplateWriter(), client).reply(question)


def test_the_first_request_of_the_paper_is_answered_in_its_form():
    assert reply(RATE_REQUEST).text.splitlines() == [
        "1. Image noise and structural fidelity: 4 (unacceptable for diagnostic interpretation)",
        "2. Visibility of small structures: 3 (sub-optimal visibility)",
        "3. Subjective visual lesion conspicuity: N/A (not applicable: scored only where there is a lesion to rate, which does "
        "not exclude one)",
        "4. Diagnostic confidence: 2 (probably confident)",
        "Scores run from 1 (best) to 4 (worst).",
    ]


def test_the_second_request_of_the_paper_is_answered_by_the_report_writer():
    writer = TemplateWriter()
    found = Dialogue(RESULT, writer).reply(REPORT_REQUEST)
    assert found.text == template_report(RESULT.scores)
    assert writer.asked == [RESULT.scores]


def test_an_answer_in_pieces_is_the_whole_answer():
    pieces = list(Dialogue(RESULT, TemplateWriter()).answer(REPORT_REQUEST))
    assert len(pieces) > 50
    assert "".join(pieces) == template_report(RESULT.scores)


@pytest.mark.parametrize("scores", list(all_scores())[::7])
def test_every_rating_states_the_scores(scores):
    lines = rating(make_result(*scores.values())).splitlines()
    stated = [re.search(r": (\d|N/A) \(", line)[1] for line in lines[:4]]
    assert stated == ["N/A" if score is None else str(score) for score in scores.values()]


@pytest.mark.parametrize("question", [text for text, _ in TOPICS] + ATTACKS)
def test_every_question_is_answered_without_a_model(question):
    found = reply(question)
    assert found.source == "template"
    assert found.text.strip() == found.text != ""


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_wish_changes_the_scores(attack):
    model = Says("The image is excellent.")
    found = reply(attack, client=model)
    assert found.text.endswith(rating(RESULT))
    assert model.asked == []


def test_a_criterion_is_answered_with_its_probability():
    assert reply("How noisy is it?").text.splitlines()[0] == (
        "Image noise and structural fidelity: 4 (unacceptable for diagnostic interpretation); the model gives this 70 %."
    )


def test_the_scale_of_one_criterion():
    text = reply("What does the scale of the small structures mean?").text
    assert all(f"{score} is {words}" in text for score, words in enumerate(CRITERIA[1].descriptions, 1))
    assert "This slice: 3." in text


def test_a_follow_up_knows_what_was_asked_before():
    dialogue = Dialogue(RESULT, TemplateWriter())
    dialogue.reply("How noisy is it?")
    assert dialogue.reply("And how sure are you about that?").text.startswith(
        "Image noise and structural fidelity: 1: 10 %, 2: 10 %, 3: 10 %, 4: 70 %; expected score 3.5."
    )


def test_limits_name_what_is_3_or_worse_and_only_that():
    first = reply("What limits the image?").text.splitlines()[0]
    assert "Image noise" in first and "small structures" in first and "confidence" not in first
    assert reply("What limits it?", make_result(1, 2, 1, 1)).text.startswith("No criterion is limiting")


def test_lesions_are_not_diagnosed():
    text = reply("Is there a lesion in the liver?").text
    assert text.startswith("I cannot say")
    assert "does not exclude one" in text


def test_warnings_are_told():
    assert "- a lung kernel" in reply("Any warnings?", make_result(warnings=("a lung kernel",))).text
    assert "no warnings" in reply("Any warnings?").text


def test_a_score_that_the_caption_does_not_state_is_not_made_up():
    result = make_result()
    del result.scores["noise"]
    assert "1. Image noise and structural fidelity: ? (could not be determined)" in rating(result)
    assert "could not be determined" in reply("Is it good enough?", result).text


@pytest.mark.parametrize("question", ["", "  \n", "x" * (LONGEST + 1)])
def test_no_question_and_an_endless_one_are_refused(question):
    with pytest.raises(InputError, match="question"):
        reply(question)


def test_a_language_model_answers_free_questions():
    model = Says("  Image noise and structural fidelity is unacceptable for diagnostic interpretation (score 4).\n")
    found = reply("Is the noise a problem?", client=model)
    assert found.text == model.text.strip()
    assert (found.source, found.findings) == ("model", ())
    assert "checked" in found.mark


def test_a_contradiction_is_replaced_and_marked():
    found = reply("How noisy is it?", client=Says("Image noise and structural fidelity is excellent (score 1)."))
    assert found.text == reply("How noisy is it?").text
    assert found.source == "fallback" and found.findings
    assert "not used" in found.mark


@pytest.mark.parametrize(
    "answer",
    ["", "x" * (LONGEST_ANSWER + 1), "see http://example.org", "<b>bold</b>", "a\x1b[2Jb", "[x](javascript:y)"],
    ids=["empty", "long", "address", "markup", "control", "link"],
)
def test_an_unfit_answer_is_replaced(answer):
    found = reply("What is the capital of France?", client=Says(answer))
    assert found.source == "fallback"
    assert found.text.startswith("I cannot answer that.")


def test_a_dead_endpoint_is_told_and_replaced():
    found = reply("How noisy is it?", client=Says(ChatUnavailableError("http://127.0.0.1:9: cannot be reached")))
    assert found.text == reply("How noisy is it?").text
    assert "cannot be reached" in found.mark


def test_a_language_model_that_cannot_answer_leaves_it_to_the_template():
    found = reply("What is the capital of France?", client=Says("I cannot answer that from the scores."))
    assert (found.source, found.mark) == ("template", "")
    assert found.text.startswith("I cannot answer that.")


def test_facts_are_not_left_to_a_language_model():
    model = Says("Anything.")
    for question in (
        RATE_REQUEST,
        "What does a 3 mean?",
        "How sure are you?",
        "Is there a tumour?",
        "What was the dose?",
    ):
        assert reply(question, client=model).source == "template"
    assert model.asked == []


def test_only_scores_template_text_and_the_question_are_sent():
    model = Says("I cannot answer that from the scores.")
    question = "Tell me a joke about Jane Doe"
    first = make_result(warnings=("SECRET of a header",))
    Dialogue(first, TemplateWriter(), model, ["an earlier question"]).reply(question)
    system, user = model.asked[0]
    assert user == {"role": "user", "content": question}
    assert system["role"] == "system"
    sent = json.dumps(model.asked)
    assert "SECRET" not in sent and "earlier" not in sent
    # Equal scores give equal messages, whatever else is known of the image.
    Dialogue(make_result(), TemplateWriter(), model).reply(question)
    assert model.asked[0] == model.asked[1]


def test_a_report_that_fell_back_is_marked():
    class Refusing:
        def write(self, scores):
            return Report(template_report(scores), "fallback", ("'noise' is called excellent",))

    found = Dialogue(RESULT, Refusing()).reply(REPORT_REQUEST)
    assert found.source == "fallback"
    assert "'noise' is called excellent" in found.mark
