"""Predicted scores over the mean reader's, one panel per criterion, as SVG of equal bytes for equal results."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from iqagpt.study.validation import Validation

#: More sets than this are drawn in one colour.
MOST_COLOURS = 10
_PANEL_INCHES = 3.6
#: How far whole scores of the first and the last set are drawn apart.
SPREAD = 0.3


def draw_scatter(result: "Validation", file: Path) -> None:
    """Draw the scatter plot of a validation.

    Parameters
    ----------
    result : Validation
    file : path
        SVG to write.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with rc_context({"svg.hashsalt": "iqagpt", "svg.fonttype": "path"}):
        FigureCanvasSVG(build_scatter(result)).print_svg(file, metadata={"Date": None, "Creator": None})


def build_scatter(result: "Validation") -> "Figure":
    """Return the scatter plot as a figure of its own, outside any window system."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    mappings = result.study.description.mappings
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(_PANEL_INCHES * len(mappings), _PANEL_INCHES), layout="constrained")
        panels = figure.subplots(1, len(mappings), squeeze=False)[0]
        for panel, mapping in zip(panels, mappings, strict=True):
            _points(panel, result, mapping.criterion)
            sign = "" if mapping.higher_is_worse else "minus "
            # A user's text may hold what looks like formulas to the plotting library.
            panel.set_xlabel(
                f"mean reader, higher is worse:\n{sign}{_short(mapping.expression.text)}", parse_math=False
            )
            panel.set_ylabel(f"{result.model.name}: {mapping.criterion}, 1 best to 4 worst")
            row = next(row for row in result.rows if row.criterion == mapping.criterion)
            value = row.estimates["pooled", "srocc"].value
            panel.set_title("SROCC undefined" if value is None else f"SROCC {value:.3f}, {row.n_images} images")
        _legend(figure, result)
    return figure


def _points(panel: "Axes", result: "Validation", criterion: str) -> None:
    table = result.predictions
    x = table[f"readers_{criterion}"].to_numpy(float, na_value=np.nan)
    y = table[criterion].to_numpy(float, na_value=np.nan)
    names = list(dict.fromkeys(table["set"]))
    coloured = result.study.has_sets and 1 < len(names) <= MOST_COLOURS
    whole = bool((np.isnan(y) | (y == np.round(y))).all())
    for index, name in enumerate(names if coloured else [None]):
        part = np.ones(len(table), bool) if name is None else (table["set"] == name).to_numpy()
        points = pd.DataFrame({"x": x[part], "y": y[part]}).dropna().value_counts(sort=False).reset_index()
        # Whole scores fall on each other: the area says how many, and sets stand a little apart.
        apart = SPREAD * (index / (len(names) - 1) - 0.5) if coloured and whole else 0.0
        panel.scatter(
            points["x"], points["y"] + apart, s=16 * points["count"], alpha=0.6, linewidths=0, color=f"C{index}"
        )
    panel.set_ylim(0.7, 4.3)
    panel.set_yticks([1, 2, 3, 4])
    panel.grid(alpha=0.3)


def _legend(figure: "Figure", result: "Validation") -> None:
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(result.predictions["set"]))
    if result.study.has_sets and 1 < len(names) <= MOST_COLOURS:
        marks = [Line2D([], [], marker="o", linestyle="", color=f"C{index}", alpha=0.6) for index in range(len(names))]
        figure.legend(marks, [f"set {name}" for name in names], loc="outside upper center", ncols=len(names))


def _short(text: str) -> str:
    return text if len(text) <= 48 else text[:45] + "..."
