"""Selecting pairs uniformly over patients and over z.

The third step of `ingest` (paper 2.1: 125 pairs "selected uniformly", 100 from eight patients and 25 from two).

Notes
-----
Not stated in the paper; how uniformly: slices are spread over patients by cumulative rounding, and over z by centres of
equal bins, without chance.
"""

import itertools
import logging
from collections.abc import Callable

from tqdm import tqdm

from iqagpt.data.aapm import PRETRAIN_FOLDER
from iqagpt.data.dicom import UnreadableCT, read_ct
from iqagpt.data.finding import Found
from iqagpt.data.ingest_params import IngestParams
from iqagpt.data.low_dose import check_air
from iqagpt.data.pairing import SlicePair
from iqagpt.data.rejections import Rejections
from iqagpt.errors import InputError

log = logging.getLogger(__name__)


def select_for_all(pairs: list[SlicePair], found: Found, params: IngestParams) -> list[SlicePair]:
    """Select pairs of the patients that train and test, and apart from them of those that only pre-training sees.

    Parameters
    ----------
    pairs : list of SlicePair
        Sorted by patient, then z.
    found : Found
        For the patients marked for pre-training; receives files whose pixels cannot be read.
    params : IngestParams
        For the numbers of pairs.

    Returns
    -------
    list of SlicePair
        In the order of `pairs`.

    Raises
    ------
    InputError
        If nothing could be read, or pairs for pre-training are wanted and there is no patient for it.
    """
    further = [pair for pair in pairs if pair.patient_id in found.pretrain]
    own = [pair for pair in pairs if pair.patient_id not in found.pretrain]
    chosen = select_pairs(own, params.pairs, found.rejected)
    if params.pretrain_pairs:
        if not further:
            raise InputError(
                f"ingest.pretrain_pairs: {params.pretrain_pairs} wanted, but no patient lies below a folder "
                f"'{PRETRAIN_FOLDER}' of {params.root}; set phantom.pretrain_patients, or 0 pairs"
            )
        chosen += select_pairs(further, params.pretrain_pairs, found.rejected)
    elif further:
        log.info("patients below '%s' are left out: ingest.pretrain_pairs is 0", PRETRAIN_FOLDER)
    wanted = {pair.slice_id for pair in chosen}
    return [pair for pair in pairs if pair.slice_id in wanted]


def select_pairs(pairs: list[SlicePair], count: int, rejected: Rejections) -> list[SlicePair]:
    """Select pairs uniformly over patients and over z, whose pixels can be read.

    Of P patients, patient i gives floor((i+1) count / P) - floor(i count / P): 125 over ten patients is 12, 13, 12,
    13, ..., hence 100 for the first eight and 25 for the last two. A slice whose pixels cannot be read is replaced by
    the nearest free one.

    Parameters
    ----------
    pairs : list of SlicePair
        Sorted by patient, then z.
    count : int
        Number wanted, at least 1.
    rejected : Rejections
        Receives files whose pixels cannot be read.

    Returns
    -------
    list of SlicePair
        In the order of `pairs`; fewer than `count` where patients have fewer.

    Raises
    ------
    InputError
        If nothing could be read.
    """
    groups = [list(group) for _, group in itertools.groupby(pairs, key=lambda pair: pair.patient_id)]
    shares = allot(count, len(groups))
    selected: list[SlicePair] = []
    with tqdm(total=count, desc="select", unit="pair", disable=None) as progress:
        for group, share in zip(groups, shares, strict=True):
            chosen = _choose(len(group), share, lambda i, group=group: _is_readable(group[i], rejected))
            selected += [group[i] for i in chosen]
            progress.update(share)
            if len(chosen) < share:
                log.info("%s: %d pairs instead of %d, all there are", group[0].patient_id, len(chosen), share)
    if not selected:
        raise InputError(rejected.no_pairs())
    return selected


def allot(count: int, patients: int) -> list[int]:
    """Share `count` slices among patients by cumulative rounding."""
    return [(i + 1) * count // patients - i * count // patients for i in range(patients)]


def _choose(available: int, share: int, is_readable: Callable[[int], bool]) -> list[int]:
    share = min(share, available)
    wanted = [(2 * j + 1) * available // (2 * share) for j in range(share)]  # centres of equal bins
    free = set(range(available)) - set(wanted)
    chosen = []
    for target in wanted:
        for i in (target, *sorted(free, key=lambda i, target=target: (abs(i - target), i))):
            free.discard(i)
            if is_readable(i):
                chosen.append(i)
                break
    return sorted(chosen)


def _is_readable(pair: SlicePair, rejected: Rejections) -> bool:
    for item in pair.files:
        try:
            image = read_ct(item.path, item.header.frame).pixels_hu
            if pair.ldct is None:
                check_air(item.path, image)
        except UnreadableCT as error:
            rejected.add(item.path, error.reason, error.remedy, item.patient_id, part=item.part)
            return False
    return True
