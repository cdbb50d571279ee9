"""Scores and a report for every image of a table of predictions (paper 2.3), by templates or by a language model.

The scores are those of the table, read from the caption by its parser. A language model that fails, or whose text does
not state those scores, is replaced by the template for that report, and the report says so (``generator``).
"""

import json
import logging
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import create_artifact
from iqagpt.chat.client import ChatFailedError, ChatUnavailableError
from iqagpt.chat.prompts import report_messages
from iqagpt.chat.templates import DIRECTION, DISCLAIMER, UNKNOWN, template_report
from iqagpt.chat.verifier import find_problems
from iqagpt.criteria import CRITERIA, KEYS
from iqagpt.predictions import labels, row_scores

logger = logging.getLogger(__name__)

TEMPLATE, OPENAI = "template", "openai"
#: Failures in a row after which the endpoint is no longer asked.
_GIVE_UP_AFTER = 3
_WRAP = 100

_Scores = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class ReportParams:
    """Section ``report``.

    Attributes
    ----------
    generator : str
        ``template``: no network at all. ``openai``: any OpenAI-compatible endpoint.
    endpoint : str
        Base URL of the endpoint.
    model : str
        Name of the model there.
    timeout_s : float
        Seconds that one report may take, retries included.
    max_retries : int
        Further attempts after a failed one.
    """

    generator: Literal["template", "openai"]
    endpoint: str
    model: str
    timeout_s: float
    max_retries: int

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.endpoint)
            valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
            credentials = url.username is not None or url.query != ""
        except ValueError:
            valid = credentials = False
        if not valid:
            raise ValueError(f"endpoint: expected an http or https address, got {self.endpoint!r}")
        if credentials:
            raise ValueError("endpoint: expected no user, password or query; the key goes into OPENAI_API_KEY")
        if not self.model.strip():
            raise ValueError("model: expected a model's name, got nothing")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s: expected seconds > 0, got {self.timeout_s}")
        if not 0 <= self.max_retries <= 10:
            raise ValueError(f"max_retries: expected 0 to 10, got {self.max_retries}")


class Writer(Protocol):
    """A language model; see `iqagpt.chat.client.ChatClient`."""

    def complete(self, messages: list[dict[str, str]]) -> str:
        """Return the answer to a conversation."""


def write_reports(predictions: pd.DataFrame, writer: Writer | None = None) -> pd.DataFrame:
    """Write a report for every row.

    Parameters
    ----------
    predictions : DataFrame
        From `iqagpt.predictions.read_predictions`.
    writer : Writer, optional
        A language model; without one, templates only. It is asked once for each combination of scores.

    Returns
    -------
    DataFrame
        ``image_id, scores`` (dict), ``caption, report, generator``.

    Raises
    ------
    ChatUnavailableError
        If the endpoint cannot be reached, or refuses, when it is asked for the first time.
    """
    scores = [row_scores(row) for _, row in labels(predictions).iterrows()]
    distinct = {_key(given): given for given in scores}
    texts = {key: (template_report(given), TEMPLATE) for key, given in distinct.items()}
    if writer is not None:
        texts |= _ask_all(distinct, writer)
    return pd.DataFrame(
        {
            "image_id": predictions["image_id"].to_numpy(),
            "scores": scores,
            "caption": predictions["caption"].to_numpy(),
            "report": [texts[_key(given)][0] for given in scores],
            "generator": [texts[_key(given)][1] for given in scores],
        }
    )


def report_metrics(reports: pd.DataFrame, generator: str) -> dict[str, Any]:
    """Return the content of ``metrics/report.json``.

    ``n`` reports; ``fallbacks``, those that the template wrote in place of `generator`; ``unparsed``, those with a
    criterion that could not be determined.
    """
    return {
        "generator": generator,
        "n": len(reports),
        "fallbacks": int((reports["generator"] != generator).sum()),
        "unparsed": int(sum(len(scores) < len(KEYS) for scores in reports["scores"])),
    }


def save_reports(path: Path, reports: pd.DataFrame) -> None:
    """Write the folder ``reports``: ``reports.jsonl`` for programs, ``reports.md`` for people, ``manifest.csv``."""
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in reports.to_dict("records")]
    manifest = pd.DataFrame({"image_id": reports["image_id"], "generator": reports["generator"]})
    for key in KEYS:
        manifest[key] = pd.array([scores.get(key) for scores in reports["scores"]], dtype="Int64")
    manifest["unparsed"] = [";".join(k for k in KEYS if k not in scores) for scores in reports["scores"]]
    with create_artifact(path, "reports") as writer:
        writer.manifest(manifest)
        (writer.path / "reports.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (writer.path / "reports.md").write_text(_markdown(reports), encoding="utf-8", newline="\n")


def _ask_all(distinct: dict[tuple, _Scores], writer: Writer) -> dict[tuple, tuple[str, str]]:
    texts = {}
    failures = 0
    for number, (key, scores) in enumerate(tqdm(distinct.items(), desc="reports", unit="report", disable=None)):
        try:
            text = writer.complete(report_messages(scores)).strip()
        except ChatUnavailableError as error:
            if number == 0:
                raise
            text, problems = "", [str(error)]
            failures += 1
        except ChatFailedError as error:
            text, problems = "", [str(error)]
            failures += 1
        else:
            problems = find_problems(text, scores)
            failures = 0
        if problems:
            logger.warning("report for scores %s falls back to the template: %s", list(key), "; ".join(problems))
        else:
            texts[key] = (f"{text}\n\n{DIRECTION} {DISCLAIMER}", OPENAI)
        if failures == _GIVE_UP_AFTER:
            logger.warning("%d failures in a row: the remaining reports come from the template", failures)
            break
    return texts


def _key(scores: _Scores) -> tuple:
    return tuple(scores.get(key, UNKNOWN) for key in KEYS)


def _markdown(reports: pd.DataFrame) -> str:
    parts = [
        "# CT image quality reports\n",
        f"{len(reports)} images. Scores are read from the captioner's captions, never from a language model. "
        f"{DIRECTION}\n",
        f"**{DISCLAIMER}**\n",
    ]
    for row in reports.itertuples():
        values = "; ".join(f"{c.title}: {_shown(row.scores, c.key)}" for c in CRITERIA)
        # As indented blocks, so that no text of a model is taken for Markdown or HTML.
        parts += [f"## {row.image_id}\n", f"Scores: {values}. Written by: {row.generator}.\n"]
        parts += ["Caption:\n", _block(row.caption), "Report:\n", _block(row.report)]
    return "\n".join(parts)


def _shown(scores: _Scores, key: str) -> str:
    if key not in scores:
        return UNKNOWN
    return "N/A" if scores[key] is None else str(scores[key])


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, _WRAP, break_on_hyphens=False)


def _block(text: str) -> str:
    lines = [part for line in text.splitlines() for part in (_wrap(line) or [""])]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)
