"""Stage outputs on disk: a folder with ``artifact.json``, ``manifest.csv`` and row-aligned ``.npy`` arrays.

A folder is written under ``.<name>.partial`` beside its final place and renamed when complete, so a killed stage never
leaves half an artifact, and a failed one leaves the previous artifact as it was. Equal content gives equal bytes (no
times, hosts or absolute paths), which lets DVC skip what follows.
"""

import contextlib
import json
import math
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from iqagpt.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
FLOAT_FORMAT = "%.6g"

#: NumPy parses an array's header with `ast`, which in Python 3.11 fails now and then where several threads do so at once.
_opening = threading.Lock()


class ArtifactWriter:
    """Collect the files of one artifact; obtained from `create_artifact`.

    Attributes
    ----------
    path : Path
        The partial folder. Files of other formats (weights, DICOM series, text) may be written into it directly.
    info : dict
        JSON-ready facts that later stages read, such as ``window_hu``.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.info: dict[str, Any] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a memory-mapped array to fill; stored as ``<name>.npy``.

        Raises
        ------
        OSError
            If the disk has no room for it.
        """
        file = self.path / f"{name}.npy"
        array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
        _reserve(file)
        return array

    def manifest(self, table: "pd.DataFrame") -> None:
        """Write ``manifest.csv``, one row per item."""
        self.table("manifest", table)

    def table(self, name: str, table: "pd.DataFrame") -> None:
        """Write ``<name>.csv``; see `write_table`."""
        write_table(self.path / f"{name}.csv", table)

    def json(self, name: str, content: Any) -> None:
        """Write ``<name>.json`` with sorted keys."""
        _write_text(self.path / f"{name}.json", dump_json(content))


@contextlib.contextmanager
def create_artifact(path: str | Path, kind: str) -> Iterator[ArtifactWriter]:
    """Create a stage's output folder, complete or not at all.

    Parameters
    ----------
    path : path
        Final place of the folder; replaced if it exists.
    kind : str
        What the folder holds (``pairs``, ``variants``, ...), checked again by `open_artifact`.

    Yields
    ------
    ArtifactWriter
        On a normal exit the folder appears at `path`; on an exception nothing does.
    """
    with replaced_folder(path) as partial:
        writer = ArtifactWriter(partial, kind)
        yield writer
        head = {"kind": kind, "schema_version": SCHEMA_VERSION, **writer.info}
        _write_text(partial / "artifact.json", dump_json(head))


@contextlib.contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder beside its final place and rename it when complete.

    Parameters
    ----------
    path : path
        Final place of the folder; replaced if it exists.

    Yields
    ------
    Path
        The partial folder, empty. On an exception it goes, and what was at `path` stays.
    """
    final = Path(path)
    partial = final.with_name(f".{final.name}.partial")
    old = final.with_name(f".{final.name}.old.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for leftover in (partial, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir()
    except OSError as error:
        raise ArtifactError(f"{final}: cannot be written: {error.strerror}; check rights and space") from error
    try:
        yield partial
        if final.exists():
            os.replace(final, old)
        os.replace(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


class Artifact:
    """A stage's output folder, opened for reading; arrays are memory-mapped.

    Attributes
    ----------
    path : Path
        The folder.
    info : dict
        Content of ``artifact.json``; asking for a key that is not there raises `ArtifactError`.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info: dict[str, Any] = _Info(path, info)

    @property
    def manifest(self) -> "pd.DataFrame":
        """The manifest, one row per item; see `read_table` for types."""
        return self.table("manifest")

    def table(self, name: str) -> "pd.DataFrame":
        """Read ``<name>.csv``."""
        return read_table(self.path / f"{name}.csv")

    def array(self, name: str) -> np.ndarray:
        """Open ``<name>.npy`` read-only without loading it."""
        file = self.path / f"{name}.npy"
        try:
            with _opening:
                return np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{file}: cannot be read as an array ({error}); run dvc repro") from error


class _Info(dict):
    """What an artifact says of itself."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise ArtifactError(f"{self._path}/artifact.json: says nothing of '{key}' (an older version's); run dvc repro")


def open_artifact(path: str | Path, kind: str) -> Artifact:
    """Open a stage's output folder.

    Raises
    ------
    ArtifactError
        If the folder is missing, was left incomplete, or is of another kind or schema version.
    """
    folder = Path(path)
    file = folder / "artifact.json"
    if not file.is_file():
        raise ArtifactError(f"{folder}: no '{kind}' artifact here (artifact.json is missing); run dvc repro")
    info = read_json(file)
    if info.get("kind") != kind:
        raise ArtifactError(f"{folder}: expected a '{kind}' artifact, found '{info.get('kind')}'")
    if info.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactError(
            f"{folder}: schema version {info.get('schema_version')}, expected {SCHEMA_VERSION}; run dvc repro"
        )
    return Artifact(folder, info)


def read_json(file: Path) -> dict[str, Any]:
    """Read an object that `ArtifactWriter.json` wrote.

    Raises
    ------
    ArtifactError
        If the file is missing or no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read ({error.strerror}); run dvc repro") from error
    except ValueError as error:
        raise ArtifactError(f"{file}: not valid JSON ({error}); delete the folder and run dvc repro") from error
    return content


def write_table(path: Path, table: "pd.DataFrame") -> None:
    r"""Write a CSV table: columns in the order given, ``\n`` line ends, six digits, empty for missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_text(path, table.to_csv(index=False, lineterminator="\n", float_format=FLOAT_FORMAT))


def read_table(path: str | Path) -> "pd.DataFrame":
    """Read a CSV table that `write_table` wrote.

    Identifiers stay text (``001`` is not 1), an empty cell is the only missing value (``N/A`` is text), and columns of whole
    numbers with gaps become ``Int64``.

    Raises
    ------
    ArtifactError
        If the file is missing or not a table.
    """
    import pandas as pd  # here: assessing images reads no table, and is to start soon

    file = Path(path)
    if not file.is_file():
        raise ArtifactError(f"{file}: no such table; run dvc repro")
    try:
        table = pd.read_csv(file, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXT_COLUMNS, str))
    except (ValueError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file}: not a readable CSV table: {error}") from error
    for column in table.columns:
        values = table[column]
        if column not in TEXT_COLUMNS and values.dtype == float and values.isna().any():
            known = values.dropna()
            # inf equals its own rounding, and no integer column can hold it.
            if column in INTEGER_COLUMNS and np.isfinite(known).all() and (known == known.round()).all():
                table[column] = values.astype("Int64")
    return table


#: Columns that stay text whatever they look like.
TEXT_COLUMNS = (
    "image_id", "slice_id", "patient_id", "split", "variant", "method", "reader", "score_source", "caption", "kernel",
)  # fmt: skip
#: Columns of whole numbers that may have gaps: a score is absent where there is no lesion.
INTEGER_COLUMNS = (
    "noise", "small_structures", "lesion_conspicuity", "diagnostic_confidence", "row", "instance_number",
)  # fmt: skip


def write_metrics(path: str | Path, metrics: dict[str, Any]) -> None:
    """Write a metrics JSON: sorted keys, six decimals, finite numbers only.

    Raises
    ------
    ValueError
        If a number is NaN or infinite: an undefined metric is left out by the caller, never written as 0 or NaN.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    _write_text(file, dump_json(_round(metrics, file.name)))


def dump_json(content: Any) -> str:
    """Serialise with sorted keys and a final newline; NaN is refused."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def dump_yaml(content: Any) -> str:
    """Serialise plain types as block-style YAML in the order given."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _round(node: Any, where: str) -> Any:
    if isinstance(node, dict):
        return {str(key): _round(value, f"{where}: {key}") for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_round(value, where) for value in node]
    if isinstance(node, np.generic):
        node = node.item()
    if isinstance(node, float):
        if not math.isfinite(node):
            raise ValueError(f"{where} is {node}; leave undefined metrics out")
        return round(node, 6)
    return node


def _reserve(file: Path) -> None:
    """Give a sparse file its blocks: on a full disk, writing into the map of a sparse file would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with file.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno), str(file)) from error


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
