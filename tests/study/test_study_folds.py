"""Folds over sets: each set tested once, nothing trained on that is tested."""

import numpy as np
import pytest

from iqagpt.errors import InputError, ParamsError
from iqagpt.study.folds import check_folds_differ, fold_sides, set_folds

SETS = ["3", "3", "1", "2", "2", "10", "5"]


def test_as_many_folds_as_sets_leaves_one_set_out():
    assert set_folds(SETS, 5) == {"3": 0, "1": 1, "2": 2, "10": 3, "5": 4}


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_set_is_in_one_fold_and_folds_are_even(folds):
    dealt = set_folds(SETS, folds)
    sizes = np.bincount(list(dealt.values()))
    assert len(dealt) == 5
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("folds", [0, 1, 6])
def test_impossible_numbers_of_folds_are_refused(folds):
    with pytest.raises(ParamsError, match=r"study\.folds: .* of 5 set\(s\); expected 2 to 5"):
        set_folds(SETS, folds)


@pytest.mark.parametrize("val", [False, True])
def test_each_set_tests_once_and_validates_once_at_most(val):
    dealt = set_folds(SETS, 5)
    sides = [fold_sides(dealt, fold, val=val) for fold in range(5)]
    for name in dealt:
        given = [side[name] for side in sides]
        assert given.count("test") == 1
        assert given.count("val") == int(val)
        assert given.count("train") == 4 - int(val)


def test_two_folds_leave_no_room_for_val():
    with pytest.raises(ParamsError, match=r"study\.val"):
        fold_sides(set_folds(SETS, 2), 0, val=True)


def test_one_slice_in_two_sets_is_refused_and_within_a_set_is_not():
    rng = np.random.default_rng(0)
    prints = rng.normal(size=(4, 50))
    prints[1] = prints[0] + 0.1 * rng.normal(size=50)
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    check_folds_differ("abcd", np.array([0, 0, 1, 2]), prints)
    with pytest.raises(InputError, match="'a' and 'b' are of two sets and nearly the same image"):
        check_folds_differ("abcd", np.array([0, 1, 1, 2]), prints)
