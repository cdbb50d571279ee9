"""One score per image from the scores of several readers.

The rows that make up the consensus are marked in ``data/scores``: captions are written from them alone, while every
reader's own rows stay beside them for agreement.

Notes
-----
Not stated in the paper, which has one radiologist. The median of an even number of scores that falls between two
scores becomes the worse one. "No lesion" is the consensus only of more than half of the readers of an image; else the
median of those who scored the lesion counts.
"""

import numpy as np
import pandas as pd

from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import InputError

#: `read.consensus`: the median, and the name of its rows.
MEDIAN = "median"
FLAG = "consensus"


def add_consensus(readings: pd.DataFrame, consensus: str) -> pd.DataFrame:
    """Mark the scores that are learned.

    Parameters
    ----------
    readings : DataFrame
        One row per image and reader: identifiers, ``reader``, ``score_source`` and the four criteria; the rows of an
        image together.
    consensus : str
        ``median``, or the name of one reader.

    Returns
    -------
    DataFrame
        The manifest of ``data/scores``: `readings` with a column ``consensus``, 1 for exactly one row of each image.
        With several readers and ``median`` that is a further row, whose reader is ``median``, after the image's own.

    Raises
    ------
    InputError
        If there is no such reader, or that reader has not scored every image.
    """
    flagged = readings.copy()
    flagged.insert(flagged.columns.get_loc("score_source") + 1, FLAG, 0)
    readers = sorted(readings["reader"].unique())
    if consensus == MEDIAN and len(readers) > 1:
        return _with_median(flagged)
    chosen = readers[0] if consensus == MEDIAN else consensus
    if chosen not in readers:
        raise InputError(f"read.consensus: no reader {chosen!r}; expected {MEDIAN}, or one of {', '.join(readers)}")
    flagged.loc[flagged["reader"] == chosen, FLAG] = 1
    left_out = ~flagged["image_id"].isin(flagged.loc[flagged[FLAG] == 1, "image_id"])
    if left_out.any():
        first = flagged.loc[left_out, "image_id"].iloc[0]
        raise InputError(
            f"read.consensus: reader {chosen!r} has not scored every image, not {first} for one; score it, or "
            f"set read.consensus to {MEDIAN}"
        )
    return flagged


def own_readings(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the readers' own rows of a manifest of ``data/scores``, without those of the median."""
    return scores[scores["reader"] != MEDIAN]


def consensus_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a manifest of ``data/scores`` that are learned, one per image."""
    return scores[scores[FLAG] == 1].reset_index(drop=True)


def _with_median(flagged: pd.DataFrame) -> pd.DataFrame:
    images = flagged.drop_duplicates("image_id").set_index("image_id")
    grouped = flagged.groupby("image_id", sort=False)
    median = images.drop(columns=list(KEYS)).assign(reader=MEDIAN, **{FLAG: 1})
    for key in KEYS:
        # The higher of the middle two scores: half a score is never rounded towards better.
        values = grouped[key].quantile(0.5, interpolation="higher")
        if key not in ALWAYS_SCORED:
            values = values.where(grouped[key].count() * 2 >= grouped.size())
        median[key] = np.ceil(values.astype("Float64")).astype("Int64")
    position = {image_id: place for place, image_id in enumerate(images.index)}
    both = pd.concat([flagged, median.reset_index()[flagged.columns]], ignore_index=True)
    order = both["image_id"].map(position)
    return both.loc[order.sort_values(kind="stable").index].reset_index(drop=True)
