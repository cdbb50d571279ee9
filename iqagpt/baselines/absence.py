"""From which score on a rival that gives one number for lesion conspicuity says "no lesion".

Such a rival continues the scale: 5 stands for "no lesion". Its numbers stay near the middle where it cannot tell, and half way
between 4 and 5 would then never be reached. So the cut is the one that is right most often on the training images.
"""

import numpy as np

from iqagpt.criteria import SCORES

LESION = "lesion_conspicuity"
#: Where "no lesion" lies on the scale.
NO_LESION = len(SCORES) + 1


def absence_cut(scores: np.ndarray, absent: np.ndarray) -> float:
    """Return the score above which "no lesion" is right most often; of equally good ones the highest.

    Parameters
    ----------
    scores : ndarray, (N,)
        Of lesion conspicuity, "no lesion" being 5.
    absent : ndarray, (N,), bool
        Where there is no lesion.
    """
    order = np.argsort(scores, kind="stable")
    ranked, none = scores[order], absent[order]
    # Cut k has the k lowest scores below it: right are lesions among them and absences among the others.
    right = np.concatenate([[0], np.cumsum(~none)]) + none.sum() - np.concatenate([[0], np.cumsum(none)])
    highest = max(ranked[-1], NO_LESION)
    cuts = np.concatenate([[ranked[0] - 1], (ranked[1:] + ranked[:-1]) / 2, [highest]])
    tied = np.concatenate([[False], ranked[1:] == ranked[:-1], [False]])
    best = np.where(tied, -1, right)
    return float(cuts[len(cuts) - 1 - best[::-1].argmax()])
