"""Finding the slices of the 2016 NIH-AAPM-Mayo challenge data below a folder, by patient and dose.

Old layout ``L067/full_3mm/*.IMA`` beside ``L067/quarter_3mm/*.IMA``; the 2021 release unpacks to
``3mm B30/FD_3mm/full_3mm/L067/full_3mm/*.IMA``. Patient and dose come from the folders, then from the file name
(``L067_FD_3_1.CT.0001...``), then from PatientName: PatientID is "Anonymous" for all, UIDs differ between the
doses, and series numbers vary. Thickness and kernel come from the header, never from names.

The first step of `ingest`; `iqagpt.data.pairing` makes pairs of what is found here.

Notes
-----
Not stated in the paper; which layout its authors had: any of these is found, in any mixture.
"""

import dataclasses
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from iqagpt.data.dicom import CTHeader, UnreadableCT, is_dicom, read_header
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

FULL, QUARTER = "full", "quarter"
ORGAN_FILE = "organs.npz"

_CODE = re.compile(r"[LCN]\d{3}(?![A-Za-z0-9])")
_DOSE_FOLDER = re.compile(r"(full|quarter|FD|QD)(?![A-Za-z0-9])", re.IGNORECASE)
_DOSE_TAG = re.compile(r"[LCN]\d{3}_(FD|QD)(?![A-Za-z0-9])")
_DOSES = {"full": FULL, "fd": FULL, "quarter": QUARTER, "qd": QUARTER}
_EXCLUDE = re.compile(r"([LCN]\d{3}):(\d+)-(\d+)")
#: Raw projections of the same patients, tens of thousands of files each, which are not images.
_PROJECTIONS = re.compile(r"DICOM-CT-PD|Projections", re.IGNORECASE)
_LAYOUT = "L067/full_3mm/*.IMA beside L067/quarter_3mm/*.IMA"


@dataclass(frozen=True, slots=True)
class IngestParams:
    """Section ``ingest`` of the params file.

    Attributes
    ----------
    root : str
        Folder searched for series.
    pairs : int
        Slices to take in all, at least 1; in the paper 125.
    thickness_mm : float or None
        Slice thickness to take; None takes any that is equal within a pair.
    kernel : str or None
        Reconstruction kernel to take, as the header spells it; None takes any that is equal within a pair.
    patients : tuple of str
        Codes to take; empty takes all.
    exclude : tuple of str
        Bad slices as ``L185:50-135``, instance numbers, both ends included.
    window_hu : (lower, upper)
        Display window handed to all later stages.
    strict : bool
        Whether any rejected file fails the stage.
    """

    root: str
    pairs: int
    thickness_mm: float | None
    kernel: str | None
    patients: tuple[str, ...]
    exclude: tuple[str, ...]
    window_hu: tuple[float, float]
    strict: bool

    def __post_init__(self) -> None:
        if not self.root:
            raise ValueError("root: expected a folder, got ''")
        if self.pairs < 1:
            raise ValueError(f"pairs: expected at least 1, got {self.pairs}")
        if self.thickness_mm is not None and self.thickness_mm <= 0:
            raise ValueError(f"thickness_mm: expected more than 0 or null, got {self.thickness_mm:g}")
        if self.kernel is not None and not self.kernel:
            raise ValueError("kernel: expected a name such as B30f or null, got ''")
        for code in self.patients:
            if not _CODE.fullmatch(code):
                raise ValueError(f"patients: expected codes such as L067, got {code!r}")
        for item in self.exclude:
            _parse_exclude(item)
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu: expected lower < upper, got {list(self.window_hu)}")

    @property
    def excluded(self) -> list[tuple[str, int, int]]:
        """The excluded slices as patient code, first and last instance number."""
        return [_parse_exclude(item) for item in self.exclude]


@dataclass(frozen=True, slots=True)
class SliceFile:
    """One usable file: where it is, whose it is, and its checked header.

    Attributes
    ----------
    path : Path
    patient_id : str
        Code such as ``L067``.
    dose : str
        ``full`` (NDCT) or ``quarter`` (LDCT).
    header : CTHeader
    """

    path: Path
    patient_id: str
    dose: str
    header: CTHeader


@dataclass(frozen=True, slots=True)
class Found:
    """What `find_slices` found.

    Attributes
    ----------
    slices : list of SliceFile
        Sorted by path.
    organ_files : dict
        Patient code to its ``organs.npz``, where there is one.
    rejected : Rejections
    """

    slices: list[SliceFile]
    organ_files: dict[str, Path]
    rejected: Rejections


def find_slices(params: IngestParams) -> Found:
    """Read the headers of all CT slices below a folder; pixels stay unread.

    Parameters
    ----------
    params : IngestParams
        Of which `root`, `patients` and `exclude` matter here.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        If the folder is missing or holds no CT slices, or a listed patient is absent.
    """
    root = Path(params.root)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "no such folder"
        raise InputError(
            f"ingest.root: {state}: {root}; expected a folder with {_LAYOUT}. Outside the repository give an absolute "
            "path: queued and --temp runs see only such a one"
        )
    everything = list(_walk(root))
    files = [path for path in everything if _is_candidate(path)]
    if not files:
        raise InputError(_nothing_found(root, everything))
    rejected = Rejections(root)
    present: set[str] = set()
    slices = []
    for path in tqdm(files, desc="headers", unit="file", disable=None):
        item = _read_slice(path, params.patients, rejected, present)
        if item is not None and not _is_excluded(item, params.excluded):
            slices.append(item)
    _check_patients(params, present, root)
    log.info("%d of %d files below %s are usable CT slices", len(slices), len(files), root)
    return Found(slices, _organ_files(root, everything), rejected)


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
        ``full`` or ``quarter``; None also where folder and file name contradict each other.
    """
    folders = relative.parts[-2::-1]  # nearest first
    names = (relative.name, patient_name)
    codes = [name for name in folders if _CODE.fullmatch(name)]
    codes += [match.group() for name in names if (match := _CODE.match(name))]
    doses = [match.group(1) for name in folders if (match := _DOSE_FOLDER.match(name))]
    tags = [match.group(1) for name in names if (match := _DOSE_TAG.match(name))]
    said = [_DOSES[word.lower()] for word in doses[:1] + tags[:1]]
    return (codes[0] if codes else None), (said[0] if len(set(said)) == 1 else None)


def _parse_exclude(item: str) -> tuple[str, int, int]:
    match = _EXCLUDE.fullmatch(item)
    if not match or int(match[2]) > int(match[3]):
        raise ValueError(f"exclude: expected PATIENT:FIRST-LAST such as 'L185:50-135', got {item!r}")
    return match[1], int(match[2]), int(match[3])


def _walk(root: Path) -> Iterator[Path]:
    # Data folders are often links; a link back to a folder already seen ends there.
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        skipped = [name for name in names if _PROJECTIONS.search(name)]
        if skipped:
            log.info("skipped raw projections: %s", ", ".join(sorted(skipped)))
        names[:] = sorted(
            name
            for name in names
            if name not in skipped
            and not name.startswith((".", "__MACOSX"))
            and os.path.realpath(os.path.join(folder, name)) not in seen
        )
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _is_candidate(path: Path) -> bool:
    # A damaged image keeps its suffix and is reported; a README is neither an image nor a damaged one.
    return path.suffix.lower() in (".ima", ".dcm") or (path.name != "DICOMDIR" and is_dicom(path))


def _read_slice(path: Path, patients: tuple[str, ...], rejected: Rejections, present: set[str]) -> SliceFile | None:
    relative = path.relative_to(rejected.root)
    patient_id, dose = identify(relative)
    if patient_id:
        present.add(patient_id)
    if patients and patient_id and patient_id not in patients:
        return None
    try:
        header = read_header(path)
    except UnreadableCT as error:
        rejected.add(path, error.reason, error.remedy, patient_id)
        return None
    if not patient_id or not dose:
        patient_id, dose = identify(relative, header.patient_name)
    if not patient_id:
        reason = "no patient code such as L067 in folder, file name or PatientName"
        rejected.add(path, reason, "name the patient's folder by a code: L, C or N and three digits")
    elif not dose:
        reason = "folder, file name and PatientName do not agree on full or quarter dose"
        rejected.add(path, reason, "put it into a folder full_3mm or quarter_3mm, as its file name says", patient_id)
    elif header.thickness_mm is None:
        rejected.add(path, "SliceThickness is missing", "export it with that element", patient_id)
    else:
        present.add(patient_id)
        if not patients or patient_id in patients:
            thickness = round(header.thickness_mm, 3)
            return SliceFile(path, patient_id, dose, dataclasses.replace(header, thickness_mm=thickness))
    return None


def _is_excluded(item: SliceFile, excluded: list[tuple[str, int, int]]) -> bool:
    number = item.header.instance_number
    return number is not None and any(
        item.patient_id == code and first <= number <= last for code, first, last in excluded
    )


def _check_patients(params: IngestParams, present: set[str], root: Path) -> None:
    unused = sorted({code for code, _, _ in params.excluded} - present)
    if unused:
        log.warning("ingest.exclude names %s, not found below %s", ", ".join(unused), root)
    absent = sorted(set(params.patients) - present)
    if absent:
        raise InputError(
            f"ingest.patients: {', '.join(absent)} not found below {root}; there are "
            f"{', '.join(sorted(present)) or 'none'}: correct ingest.patients, or [] for all"
        )


def _organ_files(root: Path, everything: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in everything:
        patient_id, _ = identify(path.relative_to(root))
        if path.name != ORGAN_FILE or patient_id is None:
            continue
        if patient_id in found:
            raise InputError(f"{path}: a second {ORGAN_FILE} for {patient_id}, beside {found[patient_id]}; keep one")
        found[patient_id] = path
    return found


def _nothing_found(root: Path, everything: list[Path]) -> str:
    archives = sum(path.suffix.lower() == ".zip" for path in everything)
    hint = f"; {archives} zip archive(s) are there: unpack them first" if archives else ""
    return f"ingest.root: no CT slices below {root}; expected {_LAYOUT}{hint}"
