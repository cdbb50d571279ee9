"""Five hundred damaged and hostile files: each is read or refused with a reason, quickly, in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_SECONDS, MOST_MIB = 2.0, 512


def test_every_mutant_is_read_or_refused(tmp_path):
    folder, elsewhere = tmp_path / "files", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    environment = {**os.environ, "HOME": str(elsewhere), "TMPDIR": str(elsewhere), "PYTHONPATH": str(REPOSITORY),
                   "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    command = [sys.executable, "-m", "tests.data.dicom_mutations", "--count", "500", "--folder", str(folder)]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["escaped"] == []
    assert sum(report["outcomes"].values()) == 500
    assert report["outcomes"]["read"] > 20
    assert report["outcomes"]["refused"] > 300
    assert report["slowest_s"] < MOST_SECONDS, report["slowest"]
    assert report["peak_mib"] < MOST_MIB
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "enhanced.dcm",
        "j2k.dcm",
        "mutant.dcm",
        "plain.dcm",
        "rle.dcm",
    ]
