"""Self-attention between the words of a caption, word by word and by criterion (paper, Fig. 8)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from iqagpt.criteria import KEYS
from iqagpt.explain.style import (
    MM_PER_INCH,
    OKABE_ITO,
    PAGE_MM,
    SHORT_TITLES,
    Drawn,
    journal_style,
    new_figure,
    save_svg,
)
from iqagpt.explain.token_attention import BEGIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {BEGIN: "#bbbbbb", **dict(zip(KEYS, OKABE_ITO, strict=False))}
#: Of small print, darker: as bright as the bars it would hardly stand out from paper.
_INKS = {BEGIN: "#666666", **dict(zip(KEYS, ("#005A8C", "#A04700", "#006E50", "#9A4A75"), strict=True))}
_MAP_MM = 112.0
POINTS_PER_INCH = 72


def draw_token_attention(
    weights: np.ndarray, tokens: list[str], groups: list[str], table: pd.DataFrame, images: int, folder: Path
) -> Drawn:
    """Draw one caption's attention as a map, and the mean over images as bars.

    Parameters
    ----------
    weights : ndarray, (T, T)
        From `iqagpt.explain.token_attention.attention_of_caption`, as are `tokens` and `groups`.
    tokens, groups : list of str
    table : DataFrame
        From `iqagpt.explain.token_attention.group_attention`.
    images : int
        Of which `table` is the mean.
    folder : path
    """
    with journal_style():
        figure = new_figure(PAGE_MM, 128)
        left, right = figure.subplots(1, 2, width_ratios=[_MAP_MM, PAGE_MM - _MAP_MM - 8])
        _draw_map(figure, left, weights, tokens, groups)
        _draw_bars(right, table)
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), title="words of")
        drawn = Drawn(
            "fig8_token_attention.svg",
            "Self-attention between the words of a caption",
            "Last layer of the decoder, mean over heads (paper, Fig. 8). Left: the caption predicted most often, from each word "
            "(row) to itself and those before it; white: later words, which it cannot see. Right: mean of "
            f"{images} test images, by the criterion that words belong to; black lines: where colours would meet if attention were "
            "equal.",
            "A triangular map of attention between words, and stacked bars. "
            + "; ".join(
                f"{SHORT_TITLES[row['source']]} to {_name(row['target'])} {row['share']:.0%}, "
                f"{row['equal_share']:.0%} if equal"
                for row in table.to_dict("records")
            )
            + ".",
        )
        return save_svg(figure, folder, drawn)


def _name(group: str) -> str:
    return SHORT_TITLES.get(group, "beginning")


def _draw_map(figure: "Figure", axes: "Axes", weights: np.ndarray, tokens: list[str], groups: list[str]) -> None:
    count = len(tokens)
    seen = np.tril(np.ones((count, count), bool))
    # The first token takes up to all of the attention; without a limit nothing else would be seen.
    top = float(np.quantile(weights[seen], 0.98))
    shown = axes.pcolormesh(np.ma.masked_array(weights, ~seen), cmap="viridis_r", vmin=0, vmax=top, linewidth=0)
    size = min(6.0, 0.78 * _MAP_MM * 0.8 / count / MM_PER_INCH * POINTS_PER_INCH)
    places = np.arange(count) + 0.5
    axes.set_xticks(places, tokens, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(places, tokens, fontsize=size, parse_math=False)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, group in zip(labels, groups, strict=True):
            label.set_color(_INKS[group])
    axes.tick_params(length=0, pad=1)
    for place in np.flatnonzero([a != b for a, b in zip(groups[1:], groups[:-1], strict=True)]) + 1:
        axes.plot([0, place], [place, place], color="black", linewidth=0.3)
        axes.plot([place, place], [place, count], color="black", linewidth=0.3)
    axes.set(ylim=(count, 0), xlim=(0, count), aspect="equal", xlabel="attended word", ylabel="attending word")
    bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.01, extend="max")
    bar.set_label("share of a word's attention")
    bar.outline.set_linewidth(0.4)


def _draw_bars(axes: "Axes", table: pd.DataFrame) -> None:
    left, equal = np.zeros(len(KEYS)), np.zeros(len(KEYS))
    for group in (BEGIN, *KEYS):
        own = (
            table[table["target"] == group].set_index("source")[["share", "equal_share"]].reindex(KEYS, fill_value=0.0)
        )
        axes.barh(range(len(KEYS)), own["share"], left=left, color=_COLOURS[group], height=0.6, label=_name(group))
        left += own["share"].to_numpy()
        equal += own["equal_share"].to_numpy()
        inside = (equal > 0.002) & (equal < 0.998)
        axes.vlines(
            equal[inside], np.flatnonzero(inside) - 0.4, np.flatnonzero(inside) + 0.4, color="black", linewidth=0.8
        )
    axes.set_yticks(range(len(KEYS)), [SHORT_TITLES[key].replace(" ", "\n") for key in KEYS])
    axes.set(ylim=(len(KEYS) - 0.5, -0.5), xlim=(0, 1), xlabel="share of attention", box_aspect=1.6)
    axes.tick_params(axis="y", length=0)
