"""Copies of the repository: as it is, and after a run of the smoke preset."""

import os
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from smoke_run import Finished, run_from_nothing
from workspace import Workspace, copy_repository


@pytest.fixture(scope="session")
def plain_copy(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a copy of the repository without git, data and outputs; tests leave it as they found it."""
    path: Path = copy_repository(tmp_path_factory.mktemp("plain") / "iqagpt")
    (path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return Workspace(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run the smoke preset from nothing, once for all processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with FileLock(shared / "smoke.lock"):
        return run_from_nothing(shared / "smoke" / "iqagpt")


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Workspace:
    """Return a copy of the finished state that a test may change."""
    target = tmp_path / "iqagpt"
    subprocess.run(["cp", "-r", str(finished.workspace.path), str(target)], check=True)
    return Workspace(target)
