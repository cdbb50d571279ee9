"""Scores and a report for every image of a table of predictions: the folder ``reports`` and ``metrics/report.json``.

The scores are those of the table, read from the caption by its parser.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import create_artifact
from iqagpt.chat.reports import ReportWriter, space_key
from iqagpt.chat.templates import DIRECTION, DISCLAIMER, UNKNOWN
from iqagpt.criteria import CRITERIA, KEYS
from iqagpt.predictions import labels, row_scores

_WRAP = 100

_Scores = dict[str, int | None]


def write_reports(predictions: pd.DataFrame, writer: ReportWriter) -> pd.DataFrame:
    """Write a report for every row, once for each combination of scores.

    Parameters
    ----------
    predictions : DataFrame
        From `iqagpt.predictions.read_predictions`.
    writer : ReportWriter

    Returns
    -------
    DataFrame
        ``image_id, scores`` (dict), ``caption, report, generator``.
    """
    scores = [row_scores(row) for _, row in labels(predictions).iterrows()]
    distinct = {space_key(given): given for given in scores}
    written = {
        key: writer.write(given) for key, given in tqdm(distinct.items(), desc="reports", unit="report", disable=None)
    }
    return pd.DataFrame(
        {
            "image_id": predictions["image_id"].to_numpy(),
            "scores": scores,
            "caption": predictions["caption"].to_numpy(),
            "report": [written[space_key(given)].text for given in scores],
            "generator": [written[space_key(given)].generator for given in scores],
        }
    )


def report_metrics(reports: pd.DataFrame, generator: str) -> dict[str, Any]:
    """Return the content of ``metrics/report.json``.

    ``n`` reports; ``fallbacks``, those that the template wrote in place of a language model; ``unparsed``, those with a
    criterion that could not be determined.
    """
    return {
        "generator": generator,
        "n": len(reports),
        "fallbacks": int((reports["generator"] == "fallback").sum()),
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
