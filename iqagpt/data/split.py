"""Splitting patients into train, val and test, so that no patient is on two sides.

After `ingest`; every stage that fits or measures reads the outcome. The paper (2.1) takes eight of ten patients
for training and two for testing; the authors' earlier code tests on the last two in order, L333 and L506
(hao1635/ASCON, data_preprocessing.ipynb).

Notes
-----
Not stated in the paper; which patients test, and whether any of the training patients were held out for choices:
`split.fold` and `split.val_patients`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from iqagpt.errors import ArtifactError, ParamsError

TRAIN, VAL, TEST = "train", "val", "test"
#: Of patients that only pre-training sees.
PRETRAIN = "pretrain"


@dataclass(frozen=True, slots=True)
class SplitParams:
    """Section ``split`` of the params file.

    Attributes
    ----------
    test_patients : int
        At least 1; in the paper 2 of 10.
    val_patients : int
        Held out of the training patients, at least 0; in the paper 0 as far as it says.
    fold : int
        Which patients test: 0 the first `test_patients` in sorted order, 1 the next, ...
    """

    test_patients: int
    val_patients: int
    fold: int

    def __post_init__(self) -> None:
        for name, least in (("test_patients", 1), ("val_patients", 0), ("fold", 0)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")


def split_patients(patient_ids: Sequence[str], params: SplitParams) -> dict[str, str]:
    """Assign every patient to one side.

    Test is the `fold`-th run of `test_patients` consecutive patients in sorted order; val are the patients before it,
    cyclically; the rest train. Patients left over after the last whole run never test.

    Parameters
    ----------
    patient_ids : sequence of str
        Repetitions allowed.
    params : SplitParams

    Returns
    -------
    dict
        Patient to ``train``, ``val`` or ``test``, sorted by patient.

    Raises
    ------
    ParamsError
        If there are too few patients, or no such fold.
    """
    patients = sorted(set(patient_ids))
    count = len(patients)
    needed = params.test_patients + params.val_patients + 1
    if count < needed:
        raise ParamsError(
            f"split.test_patients: {params.test_patients} test, {params.val_patients} val and at least 1 train patient "
            f"need {needed} patients, but there are {count} ({', '.join(patients) or 'none'}); ingest more patients or "
            "lower split.test_patients or split.val_patients"
        )
    folds = count // params.test_patients
    if params.fold >= folds:
        raise ParamsError(
            f"split.fold: expected 0 to {folds - 1} for {count} patients with {params.test_patients} in test, "
            f"got {params.fold}; {folds - 1} takes the last"
        )
    start = params.fold * params.test_patients
    sides = dict.fromkeys(patients, TRAIN)
    for i in range(start, start + params.test_patients):
        sides[patients[i]] = TEST
    for i in range(start - params.val_patients, start):
        sides[patients[i % count]] = VAL
    return sides


def split_marked(manifest: pd.DataFrame, params: SplitParams) -> dict[str, str]:
    """Assign every patient of the pairs manifest: those marked ``pretrain`` to that side, the others by `split_patients`."""
    marked = manifest["pretrain"].astype(bool)
    sides = split_patients(manifest.loc[~marked, "patient_id"], params)
    return sides | dict.fromkeys(manifest.loc[marked, "patient_id"], PRETRAIN)


def split_table(manifest: pd.DataFrame, sides: dict[str, str]) -> pd.DataFrame:
    """Return slice_id, patient_id and split for every row of the pairs manifest."""
    table = manifest[["slice_id", "patient_id"]].copy()
    table["split"] = [sides[patient_id] for patient_id in table["patient_id"]]
    return table


def check_no_shared_slices(manifest: pd.DataFrame, ndct: np.ndarray) -> None:
    """Refuse equal images under two patient codes: one patient ingested twice would be on both sides of the split.

    Parameters
    ----------
    manifest : DataFrame
        With slice_id, patient_id and row.
    ndct : ndarray, (N, rows, columns), int16, HU
        May be memory-mapped; read slice by slice. Slices of one single value are empty and tell nothing.

    Raises
    ------
    ArtifactError
        If two patients share a slice.
    """
    seen: dict[bytes, tuple[str, str]] = {}
    for slice_id, patient_id, row in zip(manifest["slice_id"], manifest["patient_id"], manifest["row"], strict=True):
        image = np.ascontiguousarray(ndct[row])
        if image.min() == image.max():
            continue
        first_slice, first_patient = seen.setdefault(hashlib.sha256(image).digest(), (slice_id, patient_id))
        if first_patient != patient_id:
            raise ArtifactError(
                f"data/pairs: {first_slice} and {slice_id} are the same image under two patient codes; a patient must "
                "be on one side of the split: remove one of the two from ingest.root, or list the others in "
                "ingest.patients"
            )
