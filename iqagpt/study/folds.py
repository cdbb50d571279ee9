"""Cross-validation over the sets of a study: every set is tested once, by models that saw none of its images."""

from collections.abc import Sequence

import numpy as np

from iqagpt.data.near_duplicates import ALIKE
from iqagpt.data.split import TEST, TRAIN, VAL
from iqagpt.errors import InputError, ParamsError


def set_folds(sets: Sequence[str], folds: int) -> dict[str, int]:
    """Deal sets out to folds: runs of sets in the order given, whose lengths differ by one at most.

    Parameters
    ----------
    sets : sequence of str
        Set of each image; repetitions allowed.
    folds : int
        As many as there are sets: leave one set out.

    Raises
    ------
    ParamsError
        If there are fewer sets than folds, or fewer than two folds.
    """
    names = list(dict.fromkeys(sets))
    if not 2 <= folds <= len(names):
        raise ParamsError(
            f"study.folds: {folds} folds of {len(names)} set(s); expected 2 to {len(names)} folds, listed from 0"
        )
    return {name: fold for fold, part in enumerate(np.array_split(names, folds)) for name in map(str, part)}


def fold_sides(dealt: dict[str, int], fold: int, *, val: bool) -> dict[str, str]:
    """Return each set's side in one fold: its own sets test, those of the next fold are val where `val` says so, the rest train.

    Raises
    ------
    ParamsError
        If nothing is left to train on.
    """
    folds = max(dealt.values()) + 1
    if val and folds < 3:
        raise ParamsError(
            "study.val: two folds leave no set to train on beside test and val; give more folds, or false"
        )
    sides = {fold: TEST} | ({(fold + 1) % folds: VAL} if val else {})
    return {name: sides.get(own, TRAIN) for name, own in dealt.items()}


def check_folds_differ(names: Sequence[str], folds: np.ndarray, prints: np.ndarray) -> None:
    """Refuse nearly equal images in two folds: one slice in several qualities must be one set.

    Parameters
    ----------
    names : sequence of str, (N,)
        For the message.
    folds : ndarray, (N,), int
    prints : ndarray, (N, M), float32
        From `iqagpt.data.near_duplicates.structure`.

    Raises
    ------
    InputError
        If there is such a pair.
    """
    for fold in np.unique(folds)[:-1]:
        own, later = np.flatnonzero(folds == fold), np.flatnonzero(folds > fold)
        alike = prints[own] @ prints[later].T
        if alike.size and alike.max() >= ALIKE:
            i, j = np.unravel_index(alike.argmax(), alike.shape)
            raise InputError(
                f"'{names[own[i]]}' and '{names[later[j]]}' are of two sets and nearly the same image (correlation "
                f"{alike.max():.3f}, limit {ALIKE}): a test image would be trained on; put all images of a slice, better of a "
                "patient, into one set (column set, or columns.set in study.yaml)"
            )
