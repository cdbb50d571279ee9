"""Example cards: image, caption, scores beside the reader's, report (paper, Fig. 4)."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iqagpt.criteria import KEYS
from iqagpt.explain.grad_cam_figure import show_slice
from iqagpt.explain.style import (
    DIRECTION,
    PAGE_MM,
    SHORT_TITLES,
    Drawn,
    journal_style,
    method_name,
    new_figure,
    save_svg,
    source_name,
    variant_name,
)

_CARD_MM, _IMAGE_MM = 58.0, 50.0
_LINE_MM = 2.55
_LETTERS = 104


@dataclass(frozen=True)
class Card:
    """One test image and all that was said about it.

    Attributes
    ----------
    image_id, variant : str
    image : ndarray, (H, W), float32
        Windowed to [0, 1].
    truth, predicted : dict of str to str
        Score by criterion as text: ``1`` to ``4``, ``no lesion``, ``unparsed``.
    probabilities : dict of str to float
        Of the predicted scores, where the method gives them.
    caption, report : str
    """

    image_id: str
    variant: str
    image: np.ndarray
    truth: dict[str, str]
    predicted: dict[str, str]
    probabilities: dict[str, float]
    caption: str
    report: str


def choose_cards(scores: np.ndarray, count: int) -> np.ndarray:
    """Choose images spread evenly from the best to the worst.

    Parameters
    ----------
    scores : ndarray, (N, 4), float64
        The reader's scores, NaN for no lesion.
    count : int
        How many at most.

    Returns
    -------
    ndarray
        Indices, the best image first; of equally good ones the first.
    """
    # Images without a lesion are not better for it, but those with one show all four scores.
    order = np.lexsort((np.arange(len(scores)), np.isnan(scores).any(1), np.nanmean(scores, axis=1)))
    return order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]


def draw_cards(cards: Sequence[Card], source: str, folder: Path) -> Drawn:
    """Draw cards below each other.

    Parameters
    ----------
    cards : sequence of Card
    source : str
        Where the truth comes from: ``simulated`` or ``reader``.
    folder : path
    """
    height = _CARD_MM * len(cards)
    with journal_style():
        figure = new_figure(PAGE_MM, height)
        figure.set_layout_engine("none")
        for index, card in enumerate(cards):
            top = height - index * _CARD_MM
            box = (1 / PAGE_MM, (top - 4 - _IMAGE_MM) / height, _IMAGE_MM / PAGE_MM, _IMAGE_MM / height)
            axes = figure.add_axes(box)
            show_slice(axes, card.image, card.image.shape)
            _write(figure, card, source, top, height)
            if index:
                figure.add_artist(_rule(top / height))
        drawn = Drawn(
            f"fig4_examples_{source}.svg",
            f"Examples from best to worst: captions, scores beside the {source_name(source)}'s, reports",
            f"Test images spread evenly over the {source_name(source)}'s mean score, with IQAGPT's caption, its scores ({DIRECTION}) and the report written from "
            "them (paper, Fig. 4). Research use; not for diagnosis.",
            " ".join(
                f"{variant_name(card.variant)}: {source_name(source)} {_scores(card.truth)}, IQAGPT {_scores(card.predicted)}."
                for card in cards
            ),
        )
        return save_svg(figure, folder, drawn)


def _scores(scores: dict[str, str]) -> str:
    return "/".join(scores[key] for key in KEYS)


def _rule(y: float) -> "object":
    from matplotlib.lines import Line2D

    return Line2D([0.005, 0.995], [y, y], color="#999999", linewidth=0.5)


def _write(figure, card: Card, source: str, top: float, height: float) -> None:  # noqa: ANN001
    left = _IMAGE_MM + 5
    line = top - 5.5
    columns = (left, left + 34, left + 62)
    heads = (variant_name(card.variant), source_name(source), method_name("iqagpt"))
    for x, text in zip(columns, heads, strict=True):
        figure.text(x / PAGE_MM, line / height, text, fontsize=7, fontweight="bold", parse_math=False)
    for key in KEYS:
        line -= 3.1
        share = card.probabilities.get(key)
        said = card.predicted[key] + ("" if share is None else f"  (probability {share:.2f})")
        colour = "black" if card.truth[key] == card.predicted[key] else "#D55E00"
        for x, text, tint in zip(
            columns, (SHORT_TITLES[key], card.truth[key], said), ("black", "black", colour), strict=True
        ):
            figure.text(x / PAGE_MM, line / height, text, fontsize=6.5, color=tint)
    room = int((line - 1.5 - (top - _CARD_MM)) / _LINE_MM)
    for number, words in enumerate(_lines(card, room)):
        place = (line - 1.2 - (number + 1) * _LINE_MM) / height
        figure.text(left / PAGE_MM, place, words, fontsize=5.6, color="#222222", parse_math=False)


def _lines(card: Card, room: int) -> list[str]:
    """Return caption and report in as many lines as there is room for; dots say that more follows."""
    _, found, body = card.report.partition("IMAGE QUALITY")
    texts = (f"Caption: {card.caption}", f"Report: {body if found else card.report}" if card.report else "")
    lines = [line for text in texts for line in textwrap.wrap(text, _LETTERS)]
    return lines if len(lines) <= room else [*lines[: room - 1], f"{lines[room - 1][: _LETTERS - 2]} …"]
