"""Matching NDCT and LDCT slices by patient and z, thickness and kernel equal within a pair.

The second step of `ingest`, after `iqagpt.data.aapm` has found the slices; `iqagpt.data.selection` then takes some of
the pairs.

Notes
-----
Not stated in the paper; how its authors paired the series: their UIDs differ, so that z within 0.1 mm decides here.
"""

import logging
import math
from collections import Counter, defaultdict
from dataclasses import dataclass

from iqagpt.data.aapm import FULL, QUARTER, Found, IngestParams, SliceFile
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

#: Slices closer than this are at one place; the least slice spacing in the data is 0.5 mm.
Z_TOLERANCE_MM = 0.1
#: Least share of the longer series that must find a partner.
MIN_OVERLAP = 0.5

#: Thickness in mm and kernel: equal within a pair.
Kind = tuple[float, str]


@dataclass(frozen=True, slots=True)
class SlicePair:
    """One NDCT slice and the LDCT slice at the same place.

    Attributes
    ----------
    slice_id : str
        Patient code and index along z within the patient's matched slices, as ``L067_012``.
    ndct, ldct : SliceFile
    """

    slice_id: str
    ndct: SliceFile
    ldct: SliceFile

    @property
    def patient_id(self) -> str:
        """Code such as ``L067``."""
        return self.ndct.patient_id


def pair_slices(found: Found, params: IngestParams) -> list[SlicePair]:
    """Match the two doses of every patient by z, thickness and kernel equal.

    Parameters
    ----------
    found : Found
        A second slice at the same z, a pair of unequal geometry and a matrix size unlike that of most are added to
        its list of rejected files.
    params : IngestParams
        Of which `thickness_mm` and `kernel` matter here.

    Returns
    -------
    list of SlicePair
        Sorted by patient, then z; never empty.

    Raises
    ------
    InputError
        If several kinds of series qualify, if a patient has series of one dose only or series that hardly overlap
        although none of its files was rejected, or if no pair remains.
    """
    by_patient: dict[str, list[SliceFile]] = defaultdict(list)
    for item in found.slices:
        by_patient[item.patient_id].append(item)
    pairs: list[SlicePair] = []
    for patient_id in sorted(by_patient):
        pairs += _pair_patient(patient_id, by_patient[patient_id], params, found.rejected)
    pairs = _keep_one_matrix(pairs, found.rejected)
    if not pairs:
        raise InputError(found.rejected.no_pairs())
    log.info("%d pairs of %d patients", len(pairs), len({pair.patient_id for pair in pairs}))
    return pairs


def _pair_patient(
    patient_id: str, slices: list[SliceFile], params: IngestParams, rejected: Rejections
) -> list[SlicePair]:
    groups: dict[tuple[str, Kind], list[SliceFile]] = defaultdict(list)
    for item in slices:
        groups[item.dose, _kind(item)].append(item)
    kind = _choose_kind(patient_id, groups, params)
    if kind is None:
        problem = _unpaired(groups, params)
        pairs = []
    else:
        full = _one_at_each_z(groups[FULL, kind], rejected)
        quarter = _one_at_each_z(groups[QUARTER, kind], rejected)
        matched = _match(full, quarter)
        longer = max(len(full), len(quarter))
        problem = (
            f"only {len(matched)} of {longer} slices are at the same z in both doses, expected at least half"
            if len(matched) < MIN_OVERLAP * longer
            else ""
        )
        pairs = [SlicePair(f"{patient_id}_{k:03d}", *both) for k, both in enumerate(matched)]
    if not problem:
        return [pair for pair in pairs if _same_geometry(pair, rejected)]
    if patient_id not in rejected.patients:
        raise InputError(
            f"{patient_id} below {rejected.root}: {problem}; complete the series, or leave the patient out by listing "
            "the others in ingest.patients"
        )
    log.warning("%s is left out, since files of it were rejected: %s", patient_id, problem)
    return []


def _kind(item: SliceFile) -> Kind:
    return item.header.thickness_mm, item.header.kernel


def _choose_kind(patient_id: str, groups: dict[tuple[str, Kind], list[SliceFile]], params: IngestParams) -> Kind | None:
    kinds = sorted(
        kind
        for kind in {kind for _, kind in groups}
        if (FULL, kind) in groups and (QUARTER, kind) in groups and _is_wanted(kind, params)
    )
    if len(kinds) > 1:
        raise InputError(
            f"{patient_id}: {len(kinds)} pairs of series qualify: {', '.join(map(_name, kinds))}; "
            "set ingest.thickness_mm and ingest.kernel so that one does"
        )
    return kinds[0] if kinds else None


def _is_wanted(kind: Kind, params: IngestParams) -> bool:
    thickness, kernel = kind
    return (params.thickness_mm is None or math.isclose(thickness, params.thickness_mm, abs_tol=0.01)) and (
        params.kernel is None or kernel == params.kernel
    )


def _unpaired(groups: dict[tuple[str, Kind], list[SliceFile]], params: IngestParams) -> str:
    there = []
    for dose in (FULL, QUARTER):
        kinds = sorted(kind for d, kind in groups if d == dose)
        there.append(f"{dose}: " + (", ".join(map(_name, kinds)) or "none"))
    thickness = "any" if params.thickness_mm is None else f"{params.thickness_mm:g} mm"
    return (
        f"no full and quarter series of the same thickness and kernel ({'; '.join(there)}) for ingest.thickness_mm: "
        f"{thickness}, ingest.kernel: {params.kernel or 'any'}"
    )


def _name(kind: Kind) -> str:
    return f"{kind[0]:g} mm {kind[1] or 'without a kernel name'}"


def _one_at_each_z(slices: list[SliceFile], rejected: Rejections) -> list[SliceFile]:
    # Sorted by position: names sort as 1, 10, 100, 2, and Slice Location has the opposite sign in this data.
    ordered = sorted(slices, key=lambda item: (item.header.z_mm, _number(item), item.path.as_posix()))
    places: list[list[SliceFile]] = []
    for item in ordered:
        if places and item.header.z_mm - places[-1][0].header.z_mm <= Z_TOLERANCE_MM:
            places[-1].append(item)
        else:
            places.append([item])
    kept = []
    for place in places:
        first, *others = sorted(place, key=_number)
        kept.append(first)
        for item in others:
            reason = f"a second slice at z = {item.header.z_mm:g} mm, where {first.path.name} is already"
            rejected.add(item.path, reason, "keep one reconstruction a folder", item.patient_id)
    return kept


def _number(item: SliceFile) -> float:
    number = item.header.instance_number
    return math.inf if number is None else number


def _match(full: list[SliceFile], quarter: list[SliceFile]) -> list[tuple[SliceFile, SliceFile]]:
    matched = []
    i = j = 0
    while i < len(full) and j < len(quarter):
        gap = full[i].header.z_mm - quarter[j].header.z_mm
        if abs(gap) <= Z_TOLERANCE_MM:
            matched.append((full[i], quarter[j]))
        i, j = i + (gap <= Z_TOLERANCE_MM), j + (gap >= -Z_TOLERANCE_MM)
    return matched


def _same_geometry(pair: SlicePair, rejected: Rejections) -> bool:
    ndct, ldct = pair.ndct.header, pair.ldct.header
    facts = [
        ("matrix", (ndct.rows, ndct.columns), (ldct.rows, ldct.columns), 0.0),
        ("pixel spacing in mm", (ndct.pixel_spacing_mm,), (ldct.pixel_spacing_mm,), 1e-3 * ndct.pixel_spacing_mm),
        ("position in mm", ndct.position_mm[:2], ldct.position_mm[:2], 0.5 * ndct.pixel_spacing_mm),
    ]
    for name, ours, theirs, tolerance in facts:
        if any(abs(a - b) > tolerance for a, b in zip(ours, theirs, strict=True)):
            text = [" x ".join(f"{value:g}" for value in side) for side in (theirs, ours)]
            reason = f"{name} is {text[0]}, but {text[1]} in its partner {pair.ndct.path.name}"
            rejected.add(pair.ldct.path, reason, "reconstruct both doses alike", pair.patient_id)
            return False
    return True


def _keep_one_matrix(pairs: list[SlicePair], rejected: Rejections) -> list[SlicePair]:
    sizes = Counter((pair.ndct.header.rows, pair.ndct.header.columns) for pair in pairs)
    if len(sizes) < 2:
        return pairs
    common = max(sizes, key=lambda size: (sizes[size], size))
    kept = []
    for pair in pairs:
        size = pair.ndct.header.rows, pair.ndct.header.columns
        if size == common:
            kept.append(pair)
            continue
        reason = f"matrix is {size[0]} x {size[1]}, but {common[0]} x {common[1]} in most slices"
        for item in (pair.ndct, pair.ldct):
            rejected.add(item.path, reason, "ingest one matrix size at a time", pair.patient_id)
    return kept
