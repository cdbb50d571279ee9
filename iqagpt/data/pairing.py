"""Matching NDCT and LDCT slices by patient and z, thickness and kernel equal within a pair.

Where only NDCT is given, a pair is one slice, whose partner is simulated later (`iqagpt.data.low_dose`).

The second step of `ingest`, after `iqagpt.data.finding` has found the slices; `iqagpt.data.selection` then takes some of
the pairs.

Notes
-----
Not stated in the paper; how its authors paired the series: their UIDs differ, so that z within 0.1 mm decides here.
"""

import logging
import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from iqagpt.data.finding import FULL, LOW, Found, SliceFile
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

#: Slices closer than this are at one place; the least slice spacing in the data is 0.5 mm.
Z_TOLERANCE_MM = 0.1
#: Least share of the longer series that must find a partner.
MIN_OVERLAP = 0.5
#: A step in z this much longer than most is a gap.
GAP_STEPS = 1.5
#: Largest difference of direction cosines within a pair: 0.06 degrees.
ORIENTATION_TOLERANCE = 1e-3

#: Thickness in mm and kernel: equal within a pair.
Kind = tuple[float, str]


@dataclass(frozen=True, slots=True)
class SlicePair:
    """One NDCT slice and the LDCT slice at the same place.

    Attributes
    ----------
    slice_id : str
        Patient code and index along z within the patient's matched slices, as ``L067_012``.
    ndct : SliceFile
    ldct : SliceFile or None
        None where it is to be simulated.
    """

    slice_id: str
    ndct: SliceFile
    ldct: SliceFile | None

    @property
    def files(self) -> tuple[SliceFile, ...]:
        """The slices to read."""
        return (self.ndct,) if self.ldct is None else (self.ndct, self.ldct)

    @property
    def patient_id(self) -> str:
        """Code such as ``L067``."""
        return self.ndct.patient_id


def pair_slices(found: Found, params: IngestParams) -> list[SlicePair]:
    """Match the two doses of every patient by z, thickness and kernel equal.

    Parameters
    ----------
    found : Found
        A second slice at the same z, a pair of unequal geometry and, without `matrix`, a size unlike that of most are
        added to its list of rejected files; gaps in z are counted in it.
    params : IngestParams
        Of which `low_dose`, `thickness_mm`, `kernel` and `matrix` matter here.

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
        if params.low_dose == "simulated":
            own = _single_patient(patient_id, by_patient[patient_id], params, found.rejected)
        else:
            own = _pair_patient(patient_id, by_patient[patient_id], params, found)
        _count_gaps(patient_id, own, found)
        pairs += own
    if params.matrix is None:
        pairs = _keep_one_matrix(pairs, found.rejected)
    if not pairs:
        raise InputError(found.rejected.no_pairs())
    log.info("%d pairs of %d patients", len(pairs), len({pair.patient_id for pair in pairs}))
    return pairs


def _single_patient(
    patient_id: str, slices: list[SliceFile], params: IngestParams, rejected: Rejections
) -> list[SlicePair]:
    kinds = sorted({_kind(item) for item in slices if _is_wanted(_kind(item), params)})
    if len(kinds) > 1:
        raise InputError(_ambiguous(patient_id, kinds))
    series: dict[str, list[SliceFile]] = defaultdict(list)
    for item in slices:
        if _is_wanted(_kind(item), params):
            series[item.header.identity.series_uid].append(item)
        else:
            rejected.add(
                item.path,
                f"is {_name(_kind(item))}, which section ingest does not ask for",
                "leave it out, or change ingest.thickness_mm and ingest.kernel",
                patient_id,
                part=item.part,
            )
    longest = max(
        series, key=lambda uid: (len(series[uid]), [item.path.as_posix() for item in series[uid]]), default=""
    )
    remedy = "ingest one series a patient; where patients share one ID, name their folders L001, L002, ..."
    for uid in sorted(set(series) - {longest}):
        for item in series[uid]:
            reason = "belongs to a second series of the same patient, thickness and kernel"
            rejected.add(item.path, reason, remedy, patient_id, part=item.part)
    kept = _one_at_each_z(series.get(longest, []), rejected)
    return [SlicePair(f"{patient_id}_{k:03d}", item, None) for k, item in enumerate(kept)]


def _pair_patient(patient_id: str, slices: list[SliceFile], params: IngestParams, found: Found) -> list[SlicePair]:
    rejected = found.rejected
    groups: dict[tuple[str, Kind], list[SliceFile]] = defaultdict(list)
    for item in slices:
        groups[item.dose, _kind(item)].append(item)
    kind = _choose_kind(patient_id, groups, params)
    if kind is None:
        problem = _unpaired(groups, params)
        pairs = []
    else:
        full = _one_at_each_z(groups[FULL, kind], rejected)
        low = _one_at_each_z(groups[LOW, kind], rejected)
        matched = _match(full, low)
        longer = max(len(full), len(low))
        problem = (
            f"only {len(matched)} of {longer} slices are at the same z in both doses, expected at least half"
            if len(matched) < MIN_OVERLAP * longer
            else ""
        )
        pairs = [SlicePair(f"{patient_id}_{k:03d}", *both) for k, both in enumerate(matched)]
    if not problem:
        return [pair for pair in pairs if _same_geometry(pair, rejected)]
    if patient_id in found.tcia and LOW not in {dose for dose, _ in groups}:
        # Half of that collection, and no mistake of the user's.
        folder = min(item.path for item in slices).parent
        rejected.add(
            folder, "its patient has no low-dose images, as all scanned on GE machines", "leave it out", patient_id
        )
        return []
    if not rejected.may_have_lost(patient_id):
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
        if (FULL, kind) in groups and (LOW, kind) in groups and _is_wanted(kind, params)
    )
    if len(kinds) > 1:
        raise InputError(_ambiguous(patient_id, kinds))
    return kinds[0] if kinds else None


def _ambiguous(patient_id: str, kinds: list[Kind]) -> str:
    return (
        f"{patient_id}: {len(kinds)} kinds of series qualify: {', '.join(map(_name, kinds))}; "
        "set ingest.thickness_mm and ingest.kernel so that one does"
    )


def _is_wanted(kind: Kind, params: IngestParams) -> bool:
    thickness, kernel = kind
    return (params.thickness_mm is None or math.isclose(thickness, params.thickness_mm, abs_tol=0.01)) and (
        params.kernel is None or kernel == params.kernel
    )


def _unpaired(groups: dict[tuple[str, Kind], list[SliceFile]], params: IngestParams) -> str:
    there = []
    for dose in (FULL, LOW):
        kinds = sorted(kind for d, kind in groups if d == dose)
        there.append(f"{dose}: " + (", ".join(map(_name, kinds)) or "none"))
    thickness = "any" if params.thickness_mm is None else f"{params.thickness_mm:g} mm"
    return (
        f"no full and low dose series of the same thickness and kernel ({'; '.join(there)}) for ingest.thickness_mm: "
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
            rejected.add(item.path, reason, "keep one reconstruction a folder", item.patient_id, part=item.part)
    return kept


def _number(item: SliceFile) -> float:
    number = item.header.instance_number
    return math.inf if number is None else number


def _match(full: list[SliceFile], low: list[SliceFile]) -> list[tuple[SliceFile, SliceFile]]:
    matched = []
    i = j = 0
    while i < len(full) and j < len(low):
        gap = full[i].header.z_mm - low[j].header.z_mm
        if abs(gap) <= Z_TOLERANCE_MM:
            matched.append((full[i], low[j]))
        i, j = i + (gap <= Z_TOLERANCE_MM), j + (gap >= -Z_TOLERANCE_MM)
    return matched


def _same_geometry(pair: SlicePair, rejected: Rejections) -> bool:
    ndct, ldct = pair.ndct.header, pair.ldct.header
    facts = [
        ("matrix", (ndct.rows, ndct.columns), (ldct.rows, ldct.columns), 0.0),
        ("pixel spacing in mm", (ndct.pixel_spacing_mm,), (ldct.pixel_spacing_mm,), 1e-3 * ndct.pixel_spacing_mm),
        ("orientation", ndct.orientation, ldct.orientation, ORIENTATION_TOLERANCE),
        ("position in mm", ndct.position_mm[:2], ldct.position_mm[:2], 0.5 * ndct.pixel_spacing_mm),
    ]
    for name, ours, theirs, tolerance in facts:
        if any(abs(a - b) > tolerance for a, b in zip(ours, theirs, strict=True)):
            text = [" x ".join(f"{value:g}" for value in side) for side in (theirs, ours)]
            reason = f"{name} is {text[0]}, but {text[1]} in its partner {pair.ndct.path.name}"
            remedy = "reconstruct both doses alike"
            rejected.add(pair.ldct.path, reason, remedy, pair.patient_id, part=pair.ldct.part)
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
        for item in pair.files:
            remedy = "set ingest.matrix to pad or crop, or ingest one size at a time"
            rejected.add(item.path, reason, remedy, pair.patient_id, part=item.part)
    return kept


def _count_gaps(patient_id: str, pairs: list[SlicePair], found: Found) -> None:
    steps = np.diff([pair.ndct.header.z_mm for pair in pairs])
    # Slices are judged one by one, so that a gap spoils nothing; but it may be a lost file.
    gaps = int(np.count_nonzero(steps > GAP_STEPS * np.median(steps))) if len(steps) else 0
    if gaps:
        found.gaps[patient_id] = gaps
        log.warning(
            "%s: %d gap(s) in z, the longest %g mm where %g mm is usual",
            patient_id,
            gaps,
            round(float(steps.max()), 3),
            round(float(np.median(steps)), 3),
        )
