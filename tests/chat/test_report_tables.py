"""Reports for a table of predictions, their metrics and files."""

import json
from pathlib import Path

import pandas as pd

from iqagpt.artifacts import open_artifact
from iqagpt.chat.report_tables import report_metrics, save_reports, write_reports
from iqagpt.chat.reports import Report, ReportWriter
from iqagpt.chat.templates import template_report
from iqagpt.criteria import KEYS


def predictions(*rows: tuple[float | None, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(KEYS), dtype=float)
    names = [f"L506_00{i}_ndct" for i in range(len(rows))]
    return table.assign(image_id=names, caption=[f"caption {i}" for i in range(len(rows))], unparsed="")


TABLE = predictions((1, 2, None, 1), (4, 4, 3, 4), (1, 2, None, 1), (1.4, 2.2, None, 0.7))


class Counting(ReportWriter):
    """Counts what is asked for; every second report falls back."""

    asked = 0

    def write(self, scores: dict[str, int | None]) -> Report:
        self.asked += 1
        return Report(template_report(scores), "model" if self.asked % 2 else "fallback")


def test_templates_need_no_model() -> None:
    reports = write_reports(TABLE, ReportWriter())
    assert reports["generator"].tolist() == ["template"] * 4
    assert reports["report"][1] == template_report(dict(zip(KEYS, (4, 4, 3, 4), strict=True)))
    assert reports["scores"][3] == dict(zip(KEYS, (1, 2, None, 1), strict=True))
    assert report_metrics(reports, "template") == {"generator": "template", "n": 4, "fallbacks": 0, "unparsed": 0}


def test_equal_scores_are_written_once_and_fallbacks_counted() -> None:
    writer = Counting()
    reports = write_reports(TABLE, writer)
    assert writer.asked == 2
    assert reports["generator"].tolist() == ["model", "fallback", "model", "model"]
    assert report_metrics(reports, "openai")["fallbacks"] == 1


def test_unparsed_criterion_shows_and_is_counted() -> None:
    reports = write_reports(TABLE.assign(unparsed=["noise", "", "", ""]), ReportWriter())
    assert "noise" not in reports["scores"][0]
    assert "could not be determined" in reports["report"][0]
    assert report_metrics(reports, "template")["unparsed"] == 1


def test_saved_files(tmp_path: Path) -> None:
    table = TABLE.assign(unparsed=["noise", "", "", ""], caption=["# no <b>heading</b>", "b", "c", ""])
    save_reports(tmp_path / "reports", write_reports(table, ReportWriter()))
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
