"""Names of the 2016 NIH-AAPM-Mayo challenge data: which patient and dose a file is, by where it lies and what it is called.

Old layout ``L067/full_3mm/*.IMA`` beside ``L067/quarter_3mm/*.IMA``; the 2021 release unpacks to
``3mm B30/FD_3mm/full_3mm/L067/full_3mm/*.IMA``. Patient and dose come from the folders, then from the file name
(``L067_FD_3_1.CT.0001...``), then from PatientName: PatientID is "Anonymous" for all, UIDs differ between the
doses, and series numbers vary. Thickness and kernel come from the header, never from names.

Used by `iqagpt.data.finding`, beside `iqagpt.data.tcia`.

Notes
-----
Not stated in the paper; which layout its authors had: any of these is found, in any mixture.
"""

import re
from pathlib import Path

FULL, LOW = "full", "low"
#: Folder, anywhere above a patient's, of patients that only pre-training is to see; nothing of the challenge's.
PRETRAIN_FOLDER = "pretrain"

_CODE = re.compile(r"[LCN]\d{3}(?![A-Za-z0-9])")
_DOSE_FOLDER = re.compile(r"(full|quarter|FD|QD)(?![A-Za-z0-9])", re.IGNORECASE)
_DOSE_TAG = re.compile(r"[LCN]\d{3}_(FD|QD)(?![A-Za-z0-9])")
_DOSES = {"full": FULL, "fd": FULL, "quarter": LOW, "qd": LOW}
#: Raw projections of the same patients, tens of thousands of files each, which are not images.
PROJECTIONS = re.compile(r"DICOM-CT-PD|Projections", re.IGNORECASE)


def identify(relative: Path, patient_name: str = "") -> tuple[str | None, str | None]:
    """Tell patient and dose from folders, else from the file name, else from PatientName.

    Parameters
    ----------
    relative : Path
        The file, relative to the folder searched.
    patient_name : str
        Content of PatientName such as ``L506_FD_1``.

    Returns
    -------
    patient_id : str or None
        Code such as ``L506``: L abdomen, C chest, N head.
    dose : str or None
        ``full`` or ``low``; None also where folder and file name contradict each other.
    """
    folders = relative.parts[-2::-1]  # nearest first
    names = (relative.name, patient_name)
    codes = [name for name in folders if _CODE.fullmatch(name)]
    codes += [match.group() for name in names if (match := _CODE.match(name))]
    doses = [match.group(1) for name in folders if (match := _DOSE_FOLDER.match(name))]
    tags = [match.group(1) for name in names if (match := _DOSE_TAG.match(name))]
    said = [_DOSES[word.lower()] for word in doses[:1] + tags[:1]]
    return (codes[0] if codes else None), (said[0] if len(set(said)) == 1 else None)
