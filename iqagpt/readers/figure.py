"""The distribution of scores by image quality (paper, Fig. 2), as a table for ``dvc plots`` and as a figure.

Both say on their face whether the scores are simulated.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from iqagpt.criteria import CRITERIA, KEYS, NO_LESION, SCORES
from iqagpt.readers.consensus import FLAG, MEDIAN, consensus_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour-blind safe, from good to bad; "no lesion" last.
_COLOURS = ("#2166ac", "#92c5de", "#f4a582", "#b2182b", "#d9d9d9")
_WORDS = {"simulated": "simulated reader", "reader": "reader"}


def distribution_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Make the table that ``dvc plots`` counts.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``.

    Returns
    -------
    DataFrame
        One row per image, of the consensus: ``variant`` and the four criteria as text, such as ``3 (simulated)``.
    """
    rows = consensus_scores(scores)
    texts = {key: rows[key].astype("string").fillna(NO_LESION) + " (" + rows["score_source"] + ")" for key in KEYS}
    return rows[["variant"]].assign(**texts)


def score_shares(scores: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the share of each score by variant.

    Parameters
    ----------
    scores : DataFrame
        One row per image.
    key : str
        Criterion.

    Returns
    -------
    DataFrame
        One row per variant, in the order in which they first come; columns ``1`` to ``4`` and ``no lesion``, 0 to 1,
        which add up to 1.
    """
    grades = [*map(str, SCORES), NO_LESION]
    text = scores[key].astype("string").fillna(NO_LESION)
    counts = pd.crosstab(scores["variant"], text).reindex(columns=grades, fill_value=0)
    counts = counts.loc[scores["variant"].unique()]
    return counts.div(counts.sum(axis=1), axis=0)


def draw_distribution(scores: pd.DataFrame, path: Path) -> None:
    """Draw the shares of the scores by variant, a column of panels for each criterion, a row for each reader.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``.
    path : Path
        SVG to write; equal scores give equal bytes.
    """
    # Loading it takes as long as the rest of the stage's imports.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    readers = sorted(scores["reader"].unique(), key=lambda name: (name == MEDIAN, name))
    variants = list(scores["variant"].unique())
    with rc_context({"svg.hashsalt": "iqagpt", "svg.fonttype": "none", "font.size": 8}):
        size = (11.0, (0.9 + 0.22 * len(variants)) * len(readers) + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(readers), len(CRITERIA), sharex=True, sharey=True, squeeze=False)
        for criterion, axes in zip(CRITERIA, panels[0], strict=True):
            axes.set_title(textwrap.fill(criterion.title, 26))
        for reader, row in zip(readers, panels, strict=True):
            own = scores[scores["reader"] == reader]
            for criterion, axes in zip(CRITERIA, row, strict=True):
                _draw_bars(axes, score_shares(own, criterion.key).reindex(variants, fill_value=0.0))
            row[0].set_ylabel(f"{reader}, learned" if own[FLAG].any() and len(readers) > 1 else reader)
        figure.supxlabel("share of images")
        source = _WORDS[scores["score_source"].iloc[0]]
        figure.suptitle(f"Scores by image quality, 1 (best) to 4 (worst): {source}{'s' * (len(readers) > 1)}")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper", title="score")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_bars(axes: "Axes", shares: pd.DataFrame) -> None:
    left = np.zeros(len(shares))
    for grade, colour in zip(shares.columns, _COLOURS, strict=True):
        axes.barh(shares.index.astype(str), shares[grade], left=left, color=colour, label=grade, height=0.8)
        left += shares[grade].to_numpy()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shares) - 0.5, -0.5)
