"""The list of input files that could not be used, which `ingest` stores as ``rejected.csv``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from iqagpt.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(slots=True)
class Rejections:
    """Files that could not be used: they never stop a run, but are counted and listed.

    Attributes
    ----------
    root : Path
        Files are listed relative to it, so that the list tells nothing about the machine.
    scratch : Path or None
        Where archives are unpacked, each into a folder of its own name.
    patients : set of str
        Patients that lost a file.
    unknown : bool
        Whether an archive or a folder was lost of which nobody knows whose it was.
    """

    root: Path
    scratch: Path | None = None
    patients: set[str] = field(default_factory=set)
    unknown: bool = False
    _rows: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, path: Path) -> str:
        """Return the name of a file below the root, or below the archive that it was in."""
        if self.scratch is not None and path.is_relative_to(self.scratch):
            return path.relative_to(self.scratch).as_posix()
        return path.relative_to(self.root).as_posix()

    def add(self, path: Path, reason: str, remedy: str, patient_id: str | None = None, *, part: str = "") -> None:
        """List a file, or a part of it, once, with the first reason found."""
        if patient_id:
            self.patients.add(patient_id)
        name = f"{self.name(path)}{'#' * bool(part)}{part}"
        self._rows.setdefault(name, (printable(reason), remedy))

    def may_have_lost(self, patient_id: str) -> bool:
        """Tell whether files of a patient may be among those that could not be used."""
        return self.unknown or patient_id in self.patients

    def table(self) -> "pd.DataFrame":
        """Return the list as a table: file, reason, remedy, sorted by file."""
        import pandas as pd  # here: what only reads images does without

        rows = [(printable(file), *self._rows[file]) for file in sorted(self._rows)]
        return pd.DataFrame(rows, columns=["file", "reason", "remedy"])

    def summary(self, most: int = 3) -> str:
        """Return the first reasons in one line; empty when nothing was rejected."""
        rows = [f"{printable(file)}: {self._rows[file][0]}" for file in sorted(self._rows)[:most]]
        more = [f"and {len(self) - most} more"] if len(self) > most else []
        return "; ".join(rows + more)

    def no_pairs(self) -> str:
        """Return the message for an input of which nothing is left."""
        reasons = f"{len(self)} file(s) rejected: {self.summary()}" if len(self) else "none was rejected"
        return f"ingest.root: no usable pair below {self.root}; {reasons}; mend the files or correct section ingest"

    def check(self, strict: bool) -> None:
        """Refuse any rejected file in strict mode.

        Raises
        ------
        InputError
            If `strict` and a file was rejected.
        """
        if strict and len(self):
            raise InputError(
                f"ingest.strict: {len(self)} rejected file(s) below {self.root}: {self.summary()}; "
                "mend or remove them, or set ingest.strict: false to go on without them"
            )


def printable(text: str) -> str:
    """Return a name safe to print and to encode: control characters and undecodable bytes become "?"."""
    return "".join(character if character.isprintable() else "?" for character in text)
