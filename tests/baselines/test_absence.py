"""Where rivals that give one number for lesion conspicuity say "no lesion"."""

import numpy as np

from iqagpt.baselines.absence import absence_cut


def test_the_cut_for_no_lesion_is_the_one_that_is_right_most_often() -> None:
    scores = np.array([4.3, 2.0, 4.1, 3.0, 4.2, 4.0])
    absent = np.array([True, False, True, False, True, False])
    cut = absence_cut(scores, absent)
    assert 4.0 < cut < 4.1
    assert (scores > absence_cut(scores, ~np.zeros(6, bool))).all()
    assert not (scores > absence_cut(scores, np.zeros(6, bool))).any()
    same = np.full(5, 4.2)  # nothing to tell them apart by: the commoner answer
    assert (same > absence_cut(same, np.array([True, True, True, False, False]))).all()
    assert not (same > absence_cut(same, np.array([True, False, False, False, True]))).any()


def test_outputs_beyond_the_scale_are_cut_too() -> None:
    scores = np.array([5.2, 5.4, 5.6])
    assert not (scores > absence_cut(scores, np.zeros(3, bool))).any()
