"""The set-up on a disk that is too small: one message, before anything is created."""

import shutil
import subprocess
from pathlib import Path

import pytest
from workspace import REPOSITORY


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one disk", "temporary files in memory"])
def test_setup_says_that_the_disk_is_too_small(elsewhere: bool, tmp_path: Path) -> None:
    if elsewhere and (not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev):
        pytest.skip("no second file system here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    temporary = "/dev/shm" if elsewhere else str(tmp_path)
    command = ["env", f"TMPDIR={temporary}", "make", "setup", "ROOM=1000000"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert lines[0].startswith(f"The disk of {tmp_path} has ")
    assert f"needs about {1000000 if elsewhere else 1000003} there" in lines[0]
    assert lines[1].startswith(f"temporary files in {temporary}. Make room")
    assert len(lines) == 2
    assert not (tmp_path / ".venv").exists()
