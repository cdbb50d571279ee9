"""One module reads DICOM and nothing else does: which modules may import what of pydicom, all in one place."""

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
READER = "iqagpt/data/dicom.py"
#: Parts of pydicom that open or decode files; ``pydicom`` itself holds ``dcmread``.
READING = {"pydicom", "pydicom.filereader", "pydicom.filebase", "pydicom.fileset", "pydicom.dicomdir", "pydicom.pixels"}
IMPORTS = {
    READER: {"pydicom", "pydicom.config", "pydicom.dataset", "pydicom.uid"},
    # Names of the standard.
    "iqagpt/data/ct_header.py": {"pydicom.datadict", "pydicom.uid"},
    "iqagpt/data/source_series.py": {"pydicom.uid"},
    # They write: the phantom, and `iqagpt dose`.
    "iqagpt/data/dicom_writer.py": {"pydicom.dataset", "pydicom.uid"},
    "iqagpt/data/derived.py": {"pydicom.config", "pydicom.dataset", "pydicom.uid"},
    "iqagpt/data/dose_series.py": {"pydicom.config", "pydicom.uid"},
}


def imported(file: Path) -> set[str]:
    """Return the parts of pydicom that a module imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] == "pydicom"}


def test_pydicom_is_imported_where_it_may_be_and_nowhere_else() -> None:
    files = [file for package in ("iqagpt", "stages") for file in (REPOSITORY / package).rglob("*.py")]
    found = {file.relative_to(REPOSITORY).as_posix(): imported(file) for file in files}
    assert {name: parts for name, parts in found.items() if parts} == IMPORTS


def test_only_the_reader_may_open_files() -> None:
    assert [name for name, parts in IMPORTS.items() if parts & READING] == [READER]
