"""Reports for a table of predictions: templates, a language model, its failures; params."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iqagpt.artifacts import open_artifact
from iqagpt.chat.client import ChatFailedError, ChatUnavailableError
from iqagpt.chat.reports import ReportParams, report_metrics, save_reports, write_reports
from iqagpt.chat.templates import DISCLAIMER, template_report
from iqagpt.criteria import KEYS
from tests.chat.endpoint import good_report


def predictions(*rows: tuple[float | None, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(KEYS), dtype=float)
    names = [f"L506_00{i}_ndct" for i in range(len(rows))]
    return table.assign(image_id=names, caption=[f"caption {i}" for i in range(len(rows))], unparsed="")


TABLE = predictions((1, 2, None, 1), (4, 4, 3, 4), (1, 2, None, 1), (1.4, 2.2, None, 0.7))


class Model:
    """A language model that says what it is told to, or fails."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[Any] = []

    def complete(self, messages: list[dict[str, str]]) -> str:
        self.asked.append(messages)
        outcome = self.outcomes.pop(0) if self.outcomes else "good"
        if isinstance(outcome, Exception):
            raise outcome
        if outcome != "good":
            return outcome
        return json.loads(good_report({"messages": messages})[2])["choices"][0]["message"]["content"]


def test_templates_need_no_model() -> None:
    reports = write_reports(TABLE)
    assert reports["generator"].tolist() == ["template"] * 4
    assert reports["report"][1] == template_report(dict(zip(KEYS, (4, 4, 3, 4), strict=True)))
    assert reports["scores"][3] == dict(zip(KEYS, (1, 2, None, 1), strict=True))
    assert report_metrics(reports, "template") == {"generator": "template", "n": 4, "fallbacks": 0, "unparsed": 0}


def test_equal_scores_are_asked_once_and_nothing_else_is_told() -> None:
    model = Model()
    reports = write_reports(TABLE, model)
    assert len(model.asked) == 2
    assert reports["generator"].tolist() == ["openai"] * 4
    assert reports["report"][0] == reports["report"][2] == reports["report"][3] != reports["report"][1]
    sent = json.dumps(model.asked)
    assert "L506" not in sent
    assert "caption 0" not in sent
    assert reports["report"].str.endswith(DISCLAIMER).all()


@pytest.mark.parametrize("outcome", ["", "All is well.", ChatFailedError("late")])
def test_a_bad_answer_falls_back_to_the_template_and_is_counted(
    outcome: str | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        reports = write_reports(TABLE, Model(outcome))
    assert reports["generator"].tolist() == ["template", "openai", "template", "template"]
    assert reports["report"][0] == template_report(dict(zip(KEYS, (1, 2, None, 1), strict=True)))
    assert report_metrics(reports, "openai")["fallbacks"] == 3
    assert "falls back to the template" in caplog.text


def test_a_report_with_other_scores_is_not_used() -> None:
    wrong = template_report(dict(zip(KEYS, (2, 2, None, 1), strict=True)))
    assert write_reports(TABLE, Model(wrong))["generator"][0] == "template"


def test_unavailable_at_first_fails_and_later_falls_back() -> None:
    with pytest.raises(ChatUnavailableError):
        write_reports(TABLE, Model(ChatUnavailableError("refused")))
    reports = write_reports(TABLE, Model("good", ChatUnavailableError("refused")))
    assert reports["generator"].tolist() == ["openai", "template", "openai", "openai"]


def test_an_endpoint_that_keeps_failing_is_left_alone() -> None:
    table = predictions(*((1, 1, None, score) for score in (1, 2, 3, 4)), (2, 1, None, 1))
    model = Model(*[ChatFailedError("500")] * 5)
    reports = write_reports(table, model)
    assert len(model.asked) == 3
    assert set(reports["generator"]) == {"template"}


def test_unparsed_criterion_shows_and_is_counted() -> None:
    table = TABLE.assign(unparsed=["noise", "", "", ""])
    reports = write_reports(table)
    assert "noise" not in reports["scores"][0]
    assert "could not be determined" in reports["report"][0]
    assert report_metrics(reports, "template")["unparsed"] == 1


def test_saved_files(tmp_path: Path) -> None:
    table = TABLE.assign(unparsed=["noise", "", "", ""], caption=["# no <b>heading</b>", "b", "c", ""])
    save_reports(tmp_path / "reports", write_reports(table))
    artifact = open_artifact(tmp_path / "reports", "reports")
    lines = [json.loads(line) for line in (artifact.path / "reports.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"image_id", "scores", "caption", "report", "generator"}] * 4
    assert lines[1]["scores"] == dict(zip(KEYS, (4, 4, 3, 4), strict=True))
    text = (artifact.path / "reports.md").read_text()
    assert text.count("\n## ") == 4
    assert "\n    # no <b>heading</b>\n" in text
    assert "not for diagnosis" in text
    assert "Image noise and structural fidelity: could not be determined" in text
    manifest = artifact.manifest
    assert manifest["image_id"].tolist() == table["image_id"].tolist()
    assert manifest["lesion_conspicuity"].isna().tolist() == [True, False, True, True]


GOOD_PARAMS: dict[str, Any] = {
    "generator": "openai", "endpoint": "http://127.0.0.1:8000/v1", "model": "m", "timeout_s": 1.0, "max_retries": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": "api.openai.com/v1"}, "endpoint: expected an http or https address"),
        ({"endpoint": "file:///etc/passwd"}, "endpoint: expected an http or https address"),
        ({"endpoint": "http://host:port/v1"}, "endpoint: expected an http or https address"),
        ({"endpoint": "https://me:key@host/v1"}, "endpoint: expected no user"),
        ({"endpoint": "https://host/v1?key=1"}, "endpoint: expected no user"),
        ({"model": " "}, "model: "),
        ({"timeout_s": 0.0}, "timeout_s: expected seconds > 0"),
        ({"max_retries": -1}, "max_retries: expected 0 to 10"),
    ],
)
def test_params_are_checked(changes: dict[str, Any], message: str) -> None:
    ReportParams(**GOOD_PARAMS)
    with pytest.raises(ValueError, match=message):
        ReportParams(**GOOD_PARAMS | changes)
