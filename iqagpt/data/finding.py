"""Finding CT slices below a folder or in an archive, by patient and dose.

Three kinds of input are told apart by names and headers, in any mixture: the AAPM challenge (`iqagpt.data.aapm`), TCIA's
collection (`iqagpt.data.tcia`) and, where the low dose is to be simulated, any NDCT series. There patients get numbers:
P001, P002, ... in the order of their files, since nothing that a header says about a person may go further.

The first step of `ingest`; `iqagpt.data.pairing` makes pairs of what is found here.
"""

import dataclasses
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from iqagpt.data import aapm, tcia
from iqagpt.data.aapm import FULL, LOW, PRETRAIN_FOLDER
from iqagpt.data.ct_header import Identity
from iqagpt.data.dicom import CTHeader, UnreadableCT, is_dicom, read_headers
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.rejections import Rejections
from iqagpt.data.sources import Source
from iqagpt.errors import InputError

__all__ = ["FULL", "LOW", "Found", "SliceFile", "find_slices"]

log = logging.getLogger(__name__)

ORGAN_FILE = "organs.npz"
MAX_PATIENTS = 999
_LAYOUT = "L067/full_3mm/*.IMA beside L067/quarter_3mm/*.IMA"


@dataclass(frozen=True, slots=True)
class SliceFile:
    """One usable slice: where it is, whose it is, and its checked header.

    Attributes
    ----------
    path : Path
    patient_id : str
        Code such as ``L067``.
    dose : str
        ``full`` (NDCT) or ``low`` (LDCT).
    header : CTHeader
        Its `frame` tells which slice of a multi-frame file it is.
    """

    path: Path
    patient_id: str
    dose: str
    header: CTHeader

    @property
    def part(self) -> str:
        """Which slice of its file this is; empty for a file of one."""
        return f"frame {self.header.frame + 1}" if self.header.frames > 1 else ""


@dataclass(frozen=True, slots=True)
class Found:
    """What `find_slices` found.

    Attributes
    ----------
    slices : list of SliceFile
        Sorted by path and frame.
    organ_files : dict
        Patient code to its ``organs.npz``, where there is one.
    rejected : Rejections
    tcia : set of str
        Patients of TCIA's collection, whose low dose is known and may be absent.
    gaps : dict
        Patient code to the number of gaps in z, where there are any.
    pretrain : set of str
        Patients that lie below a folder ``pretrain``.
    """

    slices: list[SliceFile]
    organ_files: dict[str, Path]
    rejected: Rejections
    tcia: set[str] = field(default_factory=set)
    gaps: dict[str, int] = field(default_factory=dict)
    pretrain: set[str] = field(default_factory=set)


def find_slices(params: IngestParams, source: Source) -> Found:
    """Read the headers of all CT slices of an input; pixels stay unread.

    Parameters
    ----------
    params : IngestParams
        Of which `root`, `low_dose`, `patients` and `exclude` matter here.
    source : Source
        The files.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        If there are no CT slices, or a listed patient is absent.
    """
    return _Search(params, source).run()


class _Search:
    def __init__(self, params: IngestParams, source: Source) -> None:
        self._params = params
        self._source = source
        self._rejected = source.rejected
        self._simulated = params.low_dose == "simulated"
        self._metadata = tcia.read_metadata(source.files, source.rejected)
        self._present: set[str] = set()
        self._tcia: set[str] = set()

    def run(self) -> Found:
        projections = tcia.projection_folders(self._metadata)
        files = [path for path in self._source.files if path.parent.name not in projections and _is_candidate(path)]
        if not files and not len(self._rejected):
            raise InputError(f"ingest.root: no CT slices below {self._params.root}; expected {_LAYOUT}")
        slices: list[SliceFile] = []
        for path in tqdm(files, desc="headers", unit="file", disable=None):
            slices += self._read(path)
        if self._simulated:
            slices = self._number_patients(slices)
        slices = [item for item in slices if not self._is_excluded(item)]
        self._check_patients()
        log.info("%d slices in %d files are usable", len(slices), len(files))
        return Found(slices, self._organ_files(), self._rejected, self._tcia, pretrain=self._pretrain(slices))

    def _read(self, path: Path) -> Iterator[SliceFile]:
        relative = self._source.relative(path)
        patient_id = aapm.identify(relative)[0]
        if patient_id:
            self._present.add(patient_id)
            if self._params.patients and patient_id not in self._params.patients:
                return
        try:
            headers = read_headers(path)
        except UnreadableCT as error:
            self._rejected.add(path, error.reason, error.remedy, patient_id)
            return
        for header in headers:
            item = self._slice(path, relative, header)
            if item is not None:
                yield item

    def _slice(self, path: Path, relative: Path, header: CTHeader) -> SliceFile | None:
        patient_id, dose = self._identify(relative, header.identity)
        reason = remedy = ""
        if header.thickness_mm is None:
            reason, remedy = "SliceThickness is missing", "export it with that element"
        elif self._simulated:
            patient_id, dose = patient_id or "", dose or FULL
        elif not patient_id:
            reason = "no patient code such as L067 in folder, file name or PatientName"
            remedy = (
                "name the patient's folder by a code: L, C or N and three digits; or set ingest.low_dose: simulated, "
                "if this is NDCT"
            )
        elif not dose:
            reason = "folder, file name and PatientName do not agree on full or quarter dose"
            remedy = "put it into a folder full_3mm or quarter_3mm, as its file name says"
        if reason:
            self._rejected.add(path, reason, remedy, patient_id)
            return None
        if patient_id:
            self._present.add(patient_id)
            if self._params.patients and patient_id not in self._params.patients:
                return None
        if self._simulated and dose != FULL:
            return None
        return SliceFile(path, patient_id, dose, _rounded(header))

    def _identify(self, relative: Path, identity: Identity) -> tuple[str | None, str | None]:
        patient_id, dose = tcia.identify(relative, self._metadata, identity)
        if patient_id:
            self._tcia.add(patient_id)
            return patient_id, dose
        patient_id, dose = aapm.identify(relative)
        return (patient_id, dose) if patient_id and dose else aapm.identify(relative, identity.patient_name)

    def _number_patients(self, slices: list[SliceFile]) -> list[SliceFile]:
        """Give a number to each patient without a code: an equal patient ID and name, else study, else folder."""
        codes: dict[tuple[str, ...], str] = {}
        numbered = []
        for item in slices:
            if not item.patient_id:
                key = self._person(item)
                codes.setdefault(key, f"P{len(codes) + 1:03d}")
                item = dataclasses.replace(item, patient_id=codes[key])
                self._present.add(item.patient_id)
            if not self._params.patients or item.patient_id in self._params.patients:
                numbered.append(item)
        if len(codes) > MAX_PATIENTS:
            raise InputError(f"ingest.root: {len(codes)} patients, more than {MAX_PATIENTS}; ingest them in parts")
        return numbered

    def _person(self, item: SliceFile) -> tuple[str, ...]:
        identity = item.header.identity
        if identity.patient_id or identity.patient_name:
            return "person", identity.patient_id, identity.patient_name
        if identity.study_uid:
            return "study", identity.study_uid
        return "folder", self._source.relative(item.path).parent.as_posix()

    def _is_excluded(self, item: SliceFile) -> bool:
        number = item.header.instance_number
        return number is not None and any(
            item.patient_id == code and first <= number <= last for code, first, last in self._params.excluded
        )

    def _check_patients(self) -> None:
        unused = sorted({code for code, _, _ in self._params.excluded} - self._present)
        if unused:
            log.warning("ingest.exclude names %s, not found below %s", ", ".join(unused), self._params.root)
        absent = sorted(set(self._params.patients) - self._present)
        if absent:
            raise InputError(
                f"ingest.patients: {', '.join(absent)} not found below {self._params.root}; there are "
                f"{', '.join(sorted(self._present)) or 'none'}: correct ingest.patients, or [] for all"
            )

    def _pretrain(self, slices: list[SliceFile]) -> set[str]:
        folders: dict[bool, set[str]] = {True: set(), False: set()}
        for item in slices:
            folders[PRETRAIN_FOLDER in self._source.relative(item.path).parts[:-1]].add(item.patient_id)
        both = sorted(folders[True] & folders[False])
        if both:
            raise InputError(
                f"ingest.root: {', '.join(both)} both below a folder '{PRETRAIN_FOLDER}' and elsewhere below "
                f"{self._params.root}; what pre-training sees must not be tested: keep each patient in one place"
            )
        return folders[True]

    def _organ_files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self._source.files:
            patient_id, _ = aapm.identify(self._source.relative(path))
            if path.name != ORGAN_FILE or patient_id is None:
                continue
            if patient_id in found:
                raise InputError(
                    f"{path}: a second {ORGAN_FILE} for {patient_id}, beside {found[patient_id]}; keep one"
                )
            found[patient_id] = path
        return found


def _is_candidate(path: Path) -> bool:
    # A damaged image keeps its suffix and is reported; a README is neither an image nor a damaged one. What may not be read
    # may be one.
    if path.suffix.lower() in (".ima", ".dcm"):
        return True
    return path.name != "DICOMDIR" and (is_dicom(path) or not os.access(path, os.R_OK))


def _rounded(header: CTHeader) -> CTHeader:
    return dataclasses.replace(header, thickness_mm=round(header.thickness_mm, 3))
