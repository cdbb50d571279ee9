"""All 320 reports that can ever be needed, written once by a language model, verified, and kept in one JSON file.

Since only 4 x 4 x 5 x 4 score tuples exist, a file of 320 reports is complete: from then on reports need no network, cost nothing
and never vary.

Notes
-----
Not stated in the paper, which asks ChatGPT for every image.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from iqagpt.chat.prompts import PROMPT_VERSION
from iqagpt.chat.reports import Report, ReportWriter, space_key
from iqagpt.chat.verifier import find_contradictions
from iqagpt.criteria import Scores, all_scores
from iqagpt.errors import InputError

SCHEMA_VERSION = 1
KIND = "report_space"
FILE = "reports.json"
#: Reports after which an interrupted build loses nothing.
_SAVE_EVERY = 8


def build_space(folder: Path, writer: ReportWriter, *, retry: bool = False) -> dict[str, int]:
    """Write and verify the report of every score tuple; go on where an earlier call ended.

    Parameters
    ----------
    folder : Path
        `FILE` is written there, every few reports.
    writer : ReportWriter
        With a language model, or without one for the templates.
    retry : bool
        Whether reports that fell back to the template earlier are asked for again.

    Returns
    -------
    dict of str to int
        Reports by generator.

    Raises
    ------
    InputError
        If the folder holds the reports of another model, or cannot be written.
    """
    file = folder / FILE
    head = {"kind": KIND, "schema_version": SCHEMA_VERSION, "prompt_version": PROMPT_VERSION, "model": _model(writer)}
    reports = _resumed(file, head, retry=retry) if file.exists() else {}
    save: Callable[[], None] = lambda: _save(file, head, reports)  # noqa: E731
    try:
        for number, scores in enumerate(tqdm(list(all_scores()), desc="reports", unit="report", disable=None), start=1):
            key = space_key(scores)
            if key in reports:
                continue
            report = writer.write(scores)
            reports[key] = {"text": report.text, "generator": report.generator, "findings": list(report.findings)}
            if number % _SAVE_EVERY == 0:
                save()
    finally:
        save()
    return dict(sorted(Counter(entry["generator"] for entry in reports.values()).items()))


def read_space(file: Path) -> dict[str, Report]:
    """Read finished reports, and verify each again.

    Parameters
    ----------
    file : Path
        `FILE` of `build_space`, or its folder.

    Returns
    -------
    dict of str to Report
        By `space_key`; ``space`` for a language model's text, ``fallback`` or ``template`` for the template's.

    Raises
    ------
    InputError
        If it is not such a file, is incomplete, or holds a report that contradicts its scores.
    """
    path = file / FILE if file.is_dir() else file
    entries = _read(path)["reports"]
    known = {space_key(scores): scores for scores in all_scores()}
    missing = known.keys() - entries.keys()
    if missing:
        raise InputError(f"{path}: {len(missing)} of {len(known)} reports are missing; run iqagpt reports build again")
    reports = {}
    for key, scores in known.items():
        text, generator = entries[key]["text"], entries[key]["generator"]
        findings = find_contradictions(text, scores)
        if findings:
            raise InputError(f"{path}: the report for {key} is not true of its scores ({findings[0]}); build it again")
        reports[key] = Report(text, "space" if generator == "model" else generator, tuple(entries[key]["findings"]))
    return reports


def _model(writer: ReportWriter) -> str:
    return writer.client.model if writer.client else "template"


def _resumed(file: Path, head: dict[str, Any], *, retry: bool) -> dict[str, Any]:
    content = _read(file)
    if any(content.get(name) != value for name, value in head.items()):
        raise InputError(
            f"{file}: holds reports of model '{content.get('model')}', prompt version {content.get('prompt_version')}; "
            "give another folder"
        )
    known: dict[str, Scores] = {space_key(scores): scores for scores in all_scores()}
    return {
        key: entry
        for key, entry in content["reports"].items()
        if key in known
        and not find_contradictions(entry["text"], known[key])
        and not (retry and entry["generator"] == "fallback")
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run iqagpt reports build") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run iqagpt reports build") from error
    if not isinstance(content, dict) or content.get("kind") != KIND or content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path}: not a file of iqagpt reports build")
    if not isinstance(content.get("reports"), dict) or not all(map(_is_entry, content["reports"].values())):
        raise InputError(f"{path}: damaged; delete it and run iqagpt reports build")
    return content


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("text"), str)
        and entry.get("generator") in ("model", "fallback", "template")
        and isinstance(entry.get("findings"), list)
        and all(isinstance(finding, str) for finding in entry["findings"])
    )


def _save(file: Path, head: dict[str, Any], reports: dict[str, Any]) -> None:
    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {**head, "reports": dict(sorted(reports.items()))}
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
        os.replace(partial, file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}); check rights and space") from error
