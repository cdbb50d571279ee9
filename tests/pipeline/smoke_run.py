"""What the tests of the whole pipeline share: a workspace in which the smoke preset has run, and how to look at it."""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace import Workspace, copy_repository, read_yaml

OUTPUTS = ("data", "models", "predictions", "results", "reports", "figures", "page", "metrics")


@dataclass(frozen=True)
class Finished:
    """A workspace in which ``dvc repro`` has run everything, and what it said."""

    workspace: Workspace
    output: str


def run_from_nothing(path: Path) -> Finished:
    """Run the smoke preset in a copy of the repository at `path`, a git repository of its own; or take what lies there."""
    said = path.with_suffix(".log")
    workspace = Workspace(path)
    if not said.exists():
        shutil.rmtree(path, ignore_errors=True)
        copy_repository(path)
        (path / "dvc.lock").unlink(missing_ok=True)
        for file in (path / "metrics").glob("*.json"):
            file.unlink()
        shutil.copy(path / "presets/smoke.yaml", path / "params.yaml")
        workspace.commit()
        output = workspace.check("dvc", "repro")
        workspace.check("git", "add", "--all")
        workspace.check("git", "commit", "--quiet", "--message", "Run the smoke preset")
        said.write_text(output, encoding="utf-8")
    return Finished(workspace, said.read_text(encoding="utf-8"))


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '([^']+)'", output, re.MULTILINE)


def skipped(output: str) -> list[str]:
    return re.findall(r"^Stage '([^']+)' didn't change, skipping", output, re.MULTILINE)


def digest(folder: Path, *names: str) -> dict[str, str]:
    """Hash every file below some paths of a workspace."""
    files = [file for name in names for file in [folder / name, *(folder / name).rglob("*")] if file.is_file()]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)
    }


def lock(workspace: Workspace) -> dict[str, Any]:
    return read_yaml(workspace.path / "dvc.lock")["stages"]
