"""One copy of the repository, and its stages as DVC resolves them."""

from pathlib import Path

import pytest
from workspace import Workspace, copy_repository


@pytest.fixture(scope="session")
def plain_copy(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a copy of the repository without git, data and outputs; tests leave it as they found it."""
    path: Path = copy_repository(tmp_path_factory.mktemp("plain") / "iqagpt")
    (path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return Workspace(path)
