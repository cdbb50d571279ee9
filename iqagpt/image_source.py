"""Where a run's images come from, in words that tables and pages share."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Where stage ``phantom`` writes, as dvc.yaml says.
PHANTOM = Path("data/phantom")


def source_of_images(params: Mapping[str, Any]) -> str:
    """Say in words where the images come from, of a params file's content."""
    ingest = params.get("ingest") or {}
    root = ingest.get("root")
    if root is None:
        return "not stated"
    if Path(root) == PHANTOM:
        return "built-in CT phantom: SYNTHETIC patients, no real CT"
    low = "low dose simulated" if ingest.get("low_dose") == "simulated" else "low dose as given"
    return f"data of the user ({shown_path(str(root))}), {low}"


def shown_path(text: str) -> str:
    """Shorten an absolute path to its last part: a page may be passed on, and a path may name a person."""
    if not re.match(r"[/~]|[A-Za-z]:[\\/]|\\\\", text):
        return text
    return ".../" + re.split(r"[\\/]", text.rstrip("/\\"))[-1]
