"""The dialogue about one slice (paper Figure 1 and 2.3): rate it, report on it, ask about the result.

Between `iqagpt.assessment`, which says what is known of the slice, and the terminal (`iqagpt chat`) or the browser
(`iqagpt.serve`).
What is known exactly is answered from templates. With a language model, free questions go to it, with nothing but the question,
the scores and template text; its answer is shown only as a whole, after the verifier found no contradiction to the scores, and is
otherwise replaced by the template's. No answer changes a score: they are not an output of this module.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from iqagpt.chat.client import ChatFailedError, ChatUnavailableError
from iqagpt.chat.dialogue_answers import template_answer
from iqagpt.chat.dialogue_prompts import CANNOT, question_messages
from iqagpt.chat.questions import LONGEST, Question, Topic, understand
from iqagpt.chat.verifier import find_contradictions
from iqagpt.errors import InputError

if TYPE_CHECKING:
    from iqagpt.assessment.assessor import SliceAssessment
    from iqagpt.chat.reports import Report

Source = Literal["template", "space", "model", "fallback"]

#: Questions that a language model may answer; the others are facts, or things that nobody here can know.
FREE_TOPICS = frozenset((Topic.CRITERION, Topic.LIMITS, Topic.USE, Topic.OTHER))
#: Longest answer of a language model that is accepted, characters; the prompt asks for 80 words.
LONGEST_ANSWER = 1500
#: Earlier questions that are looked back at.
REMEMBERED = 8


class ReportWriter(Protocol):
    """Writes reports; see `iqagpt.chat.reports.open_writer`."""

    def write(self, scores: Mapping[str, int | None]) -> "Report":
        """Return a verified report."""


class Client(Protocol):
    """A language model; see `iqagpt.chat.client.ChatClient`."""

    def complete(self, messages: list[dict[str, str]]) -> str:
        """Return the answer to a conversation."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes
    ----------
    text : str
    source : str
        ``template``; ``space``, a report from the space of finished ones; ``model``, a language model's, verified;
        ``fallback``, the template's in place of a language model's.
    findings : tuple of str
        For ``fallback``: why the language model's answer was not used.
    """

    text: str
    source: Source
    findings: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What the reader is told about where the answer comes from; empty for plain template answers."""
        if self.source == "model":
            return "Written by the language model; checked against the scores."
        if self.source == "fallback":
            return f"From the template: the language model's answer was not used ({'; '.join(self.findings[:3])})."
        return ""


@dataclass(slots=True)
class Dialogue:
    """Questions and answers about one slice.

    Attributes
    ----------
    assessment : SliceAssessment
    writer : ReportWriter
    client : Client or None
        A language model for free questions; without one, templates only.
    questions : list of str
        Those asked before, oldest first.
    """

    assessment: "SliceAssessment"
    writer: ReportWriter
    client: Client | None = None
    questions: list[str] = field(default_factory=list)

    def answer(self, question: str) -> Iterator[str]:
        """Answer a question piece by piece.

        Raises
        ------
        InputError
            If the question is empty or too long.
        """
        yield from pieces(self.reply(question).text)

    def reply(self, question: str) -> Reply:
        """Answer a question as a whole; see `answer`."""
        text = question.strip()
        if not text:
            raise InputError("the question is empty; ask something")
        if len(text) > LONGEST:
            raise InputError(f"the question has {len(text)} characters; at most {LONGEST}")
        understood = understand(text, self.questions)
        self.questions = [*self.questions, text][-REMEMBERED:]
        if understood.topic is Topic.REPORT:
            report = self.writer.write(self.assessment.scores)
            return Reply(report.text, report.generator, tuple(report.findings))
        return self._other(text, understood)

    def _other(self, text: str, understood: Question) -> Reply:
        known = template_answer(understood, self.assessment)
        if self.client is None or understood.topic not in FREE_TOPICS:
            return Reply(known, "template")
        try:
            answer = self.client.complete(question_messages(text, self.assessment.scores)).strip()
        except (ChatUnavailableError, ChatFailedError) as error:
            return Reply(known, "fallback", (str(error),))
        if answer.strip('."').lower() == CANNOT.strip(".").lower():
            return Reply(known, "template")
        findings = answer_findings(answer, self.assessment.scores)
        return Reply(known, "fallback", findings) if findings else Reply(answer, "model")


def answer_findings(answer: str, scores: Mapping[str, int | None]) -> tuple[str, ...]:
    """Say what is wrong with a language model's answer; empty if it may be shown."""
    if not answer:
        return ("it is empty",)
    if len(answer) > LONGEST_ANSWER:
        return (f"it has {len(answer)} characters, more than {LONGEST_ANSWER}",)
    if any(not char.isprintable() and char not in "\n\t" for char in answer):
        return ("it holds control characters",)
    if re.search(r"https?:|www\.|[<>]|\]\(", answer):
        return ("it holds an address or markup",)
    return tuple(find_contradictions(answer, scores, complete=False))


def pieces(text: str) -> Iterator[str]:
    """Yield a text word by word, with the spaces behind each."""
    yield from re.findall(r"\s*\S+\s*", text)


def as_previous(questions: Sequence[str]) -> list[str]:
    """Return earlier questions that came from outside as a dialogue keeps them."""
    return [question.strip()[:LONGEST] for question in questions[-REMEMBERED:] if question.strip()]
