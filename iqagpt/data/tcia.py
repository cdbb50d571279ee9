"""Names of TCIA's ``LDCT-and-Projection-data``: which patient and dose a series is.

Descriptive layout ``L241/12-23-2021-NA-NA-50920/1.000000-Low Dose Images-31092/1-001.dcm`` beside ``Full dose images``;
classic layout ``L241/<study UID>/<series UID>/*.dcm``. Folders are looked at first, then ``metadata.csv`` of the NBIA
retriever where there is one, then the header. Low dose is 25 % for abdomen (L) and head (N) and 10 % for chest (C); half of
the patients, those scanned on GE machines, have no low-dose images.

Used by `iqagpt.data.finding`, beside `iqagpt.data.aapm`.

References
----------
doi 10.7937/9NPB-2637
"""

import contextlib
import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from iqagpt.data.aapm import FULL, LOW, PROJECTIONS
from iqagpt.data.ct_header import Identity
from iqagpt.data.rejections import Rejections

METADATA_FILE = "metadata.csv"
MAX_METADATA_BYTES = 16 * 2**20
#: Percent of the normal dose, by the first letter of the patient's code.
LOW_DOSE_PERCENT = {"L": 25, "N": 25, "C": 10}

_CODE = re.compile(r"[LCN]\d{3}")
_DOSE = re.compile(r"(full|low)[ _]dose[ _]images", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Series:
    """What ``metadata.csv`` says of one series.

    Attributes
    ----------
    subject : str
        Such as ``L241``.
    description : str
        Such as ``Low Dose Images``.
    folder : str
        Last part of its location.
    """

    subject: str
    description: str
    folder: str


def read_metadata(files: Iterable[Path], rejected: Rejections) -> dict[str, Series]:
    """Read the retriever's lists; what is none is passed over, and what cannot be read is rejected.

    Returns
    -------
    dict
        Series by series UID.
    """
    found: dict[str, Series] = {}
    for file in files:
        if file.name != METADATA_FILE:
            continue
        try:
            if file.stat().st_size <= MAX_METADATA_BYTES:
                found |= _read_list(file)
        except OSError as error:
            rejected.add(file, f"cannot be read ({error.strerror})", "check name and rights")
    found.pop("", None)
    return found


def _read_list(file: Path) -> dict[str, Series]:
    found: dict[str, Series] = {}
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines, contextlib.suppress(csv.Error):
        for row in csv.DictReader(lines):
            values = [row.get(name) or "" for name in ("Subject ID", "Series Description", "File Location")]
            folder = re.split(r"[\\/]", values[2].rstrip("\\/"))[-1]
            found[row.get("Series UID") or ""] = Series(values[0], values[1], folder)
    return found


def projection_folders(metadata: dict[str, Series]) -> set[str]:
    """Return the names of the folders that hold raw projections, which the classic layout does not tell."""
    return {series.folder for series in metadata.values() if PROJECTIONS.search(series.description)} - {""}


def identify(
    relative: Path, metadata: dict[str, Series], identity: Identity | None = None
) -> tuple[str | None, str | None]:
    """Tell patient and dose of a file of this collection.

    Parameters
    ----------
    relative : Path
        The file, relative to the folder searched.
    metadata : dict
        Series by UID, from `read_metadata`.
    identity : Identity, optional
        Of the header, once it is read.

    Returns
    -------
    patient_id : str or None
        Code such as ``L241``.
    dose : str or None
        ``full`` or ``low``; None for any other data.
    """
    folders = relative.parts[-2::-1]
    codes = [name for name in folders if _CODE.fullmatch(name)]
    texts = list(folders[:1])
    if identity is not None:
        listed = metadata.get(identity.series_uid)
        codes += [name for name in (listed.subject if listed else "", identity.patient_id) if _CODE.fullmatch(name)]
        texts += [listed.description if listed else "", identity.series_description]
    doses = [match.group(1).lower() for text in texts if (match := _DOSE.search(text))]
    if not codes or not doses:
        return None, None
    return codes[0], {"full": FULL, "low": LOW}[doses[0]]
