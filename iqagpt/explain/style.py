"""One look for all figures: a journal's sizes, colours that colour-blind readers tell apart, text as outlines, equal bytes.

The width is that of two columns of most journals. Text is drawn as outlines of DejaVu Sans, which matplotlib brings
along, so that a figure needs no font where it is shown or printed.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from iqagpt.criteria import CRITERIA, NO_LESION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Two columns wide; a figure with its caption has to fit on a page.
PAGE_MM, TALLEST_MM = 175.0, 235.0
MM_PER_INCH = 25.4

#: Okabe and Ito's colours, without black and yellow, for what has no order.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: Scores from 1 (best) to 4 (worst) in ColorBrewer's red and blue, which colour-blind readers tell apart; then no lesion, unparsed.
GRADE_COLOURS = {
    "1": "#2166ac", "2": "#92c5de", "3": "#f4a582", "4": "#b2182b", NO_LESION: "#d9d9d9", "unparsed": "#4d4d4d",
}  # fmt: skip
#: Marks by score: the figure can be read without colours.
MARKERS = {"1": "o", "2": "s", "3": "^", "4": "X"}
SHORT_TITLES = {
    "noise": "Noise",
    "small_structures": "Small structures",
    "lesion_conspicuity": "Lesion conspicuity",
    "diagnostic_confidence": "Diagnostic confidence",
}
DIRECTION = "1 best – 4 worst"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One finished figure, as ``figures.json`` lists it.

    Attributes
    ----------
    file : str
        Name of the SVG file; always the same, so that ``dvc plots`` finds it. Whose scores it shows stands in it.
    title : str
    caption : str
        What is shown, with direction of the scores and source of the truth.
    alt : str
        The figure in words, for those who do not see it.
    """

    file: str
    title: str
    caption: str
    alt: str


@contextmanager
def journal_style() -> Iterator[None]:
    """Draw in the common style: 7 point text, thin lines, no upper and right frame."""
    from matplotlib import rc_context

    settings = {
        "font.family": "DejaVu Sans",
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "legend.fontsize": 6.5,
        "legend.title_fontsize": 6.5,
        "legend.frameon": False,
        "figure.titlesize": 8,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "iqagpt",
        "image.composite_image": False,
    }
    with rc_context(settings):
        yield


def new_figure(width_mm: float, height_mm: float) -> "Figure":
    """Return an empty figure of its final size, outside any window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")


def save_svg(figure: "Figure", folder: Path, drawn: Drawn) -> Drawn:
    """Write a figure with its title and description inside; equal figures give equal bytes."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    facts = {"Date": None, "Creator": None, "Title": drawn.title, "Description": drawn.alt}
    FigureCanvasSVG(figure).print_svg(folder / drawn.file, metadata=facts)
    return drawn


def title_of(key: str, width: int = 24) -> str:
    """Return a criterion's full title in lines of at most `width` letters."""
    return textwrap.fill(next(criterion.title for criterion in CRITERIA if criterion.key == key), width)


def draw_shares(axes: "Axes", shares: pd.DataFrame) -> None:
    """Draw rows of shares that add up to 1 as stacked bars, the first row on top.

    Parameters
    ----------
    axes : Axes
    shares : DataFrame
        One row per bar, named by its index; columns of `GRADE_COLOURS`.
    """
    left = [0.0] * len(shares)
    for grade in shares.columns:
        widths = shares[grade].tolist()
        axes.barh(
            range(len(shares)), widths, left=left, color=GRADE_COLOURS[grade], label=grade, height=0.82,
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(shares)), [str(name) for name in shares.index], parse_math=False)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.tick_params(axis="y", length=0)
