"""Example cards: image, caption, scores beside the reader's, report (paper, Fig. 4)."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqagpt.criteria import KEYS
from iqagpt.evaluation.names import method_name, source_name, variant_name
from iqagpt.explain.grad_cam_figure import show_slice
from iqagpt.explain.style import (
    DIRECTION,
    PAGE_MM,
    SHORT_TITLES,
    Drawn,
    journal_style,
    new_figure,
    save_svg,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_CARD_MM, _IMAGE_MM = 51.0, 46.0
_LINE_MM = 2.6
_LETTERS = 110


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


def choose_cards(scores: np.ndarray, slices: np.ndarray, count: int) -> np.ndarray:
    """Choose images spread evenly from the best to the worst, of different slices where there are enough.

    Parameters
    ----------
    scores : ndarray, (N, 4), float64
        The reader's scores, NaN for no lesion.
    slices : ndarray, (N,)
        The slice that each image shows.
    count : int
        How many at most.

    Returns
    -------
    ndarray
        Indices, the best image first; of equally good ones the first.
    """
    # Images without a lesion are not better for it, but those with one show all four scores.
    order = np.lexsort((np.arange(len(scores)), np.isnan(scores).any(1), np.nanmean(scores, axis=1)))
    chosen: list[int] = []
    for target in np.linspace(0, len(order) - 1, min(count, len(order))):
        nearest = order[np.argsort(np.abs(np.arange(len(order)) - target), kind="stable")]
        seen = set(slices[chosen])
        fresh = [i for i in nearest if slices[i] not in seen] or [i for i in nearest if i not in chosen]
        chosen.append(int(fresh[0]))
    return np.array(chosen)


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
    whose = source_name(source)
    with journal_style():
        figure = new_figure(PAGE_MM, height)
        figure.set_layout_engine("none")
        for index, card in enumerate(cards):
            top = height - index * _CARD_MM
            bottom = top - (_CARD_MM + _IMAGE_MM) / 2
            axes = figure.add_axes((1 / PAGE_MM, bottom / height, _IMAGE_MM / PAGE_MM, _IMAGE_MM / height))
            show_slice(axes, card.image, card.image.shape)
            _write(figure, card, source, top, height)
            if index:
                figure.add_artist(_rule(top / height))
        scores = (
            f"{variant_name(card.variant)}: {whose} {_scores(card.truth)}, IQAGPT {_scores(card.predicted)}."
            for card in cards
        )
        drawn = Drawn(
            "fig4_examples.svg",
            f"Examples from best to worst: captions, scores beside the {whose}'s, reports",
            f"Test images spread evenly over the {whose}'s mean score, with IQAGPT's caption, its scores ({DIRECTION}; bold: "
            "another than the truth) and the report written from them (paper, Fig. 4). Research use; not for diagnosis.",
            f"Scores in the order {', '.join(SHORT_TITLES.values()).lower()}. {' '.join(scores)}",
        )
        return save_svg(figure, folder, drawn)


def _scores(scores: dict[str, str]) -> str:
    return "/".join(scores[key] for key in KEYS)


def _rule(y: float) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([0.005, 0.995], [y, y], color="#999999", linewidth=0.5)


def _write(figure: "Figure", card: Card, source: str, top: float, height: float) -> None:
    left = _IMAGE_MM + 5
    line = top - 5.0
    columns = (left, left + 54, left + 84)
    heads = (f"{variant_name(card.variant)[:18]}: {DIRECTION}", source_name(source), method_name("iqagpt"))
    for x, text in zip(columns, heads, strict=True):
        figure.text(x / PAGE_MM, line / height, text, fontsize=7, fontweight="bold", parse_math=False)
    for key in KEYS:
        line -= 3.1
        share = card.probabilities.get(key)
        said = card.predicted[key] + ("" if share is None else f"  (probability {share:.2f})")
        look = {} if card.truth[key] == card.predicted[key] else {"color": "#A04700", "fontweight": "bold"}
        texts = ((SHORT_TITLES[key], {}), (card.truth[key], {}), (said, look))
        for x, (text, own) in zip(columns, texts, strict=True):
            figure.text(x / PAGE_MM, line / height, text, fontsize=6.5, **own)
    room = int((line - 1.5 - (top - _CARD_MM)) / _LINE_MM)
    for number, words in enumerate(_lines(card, room)):
        place = (line - 1.2 - (number + 1) * _LINE_MM) / height
        figure.text(left / PAGE_MM, place, words, fontsize=5.6, color="#222222", parse_math=False)


def _lines(card: Card, room: int) -> list[str]:
    """Return caption and report, without its technique, as lines; dots say that there is no room for more."""
    _, found, body = card.report.partition("IMAGE QUALITY")
    report = [" ".join(part.split()) for part in (body if found else card.report).split("\n\n") if part.strip()]
    texts = [f"Caption: {card.caption}", *(["Report: " + report[0], *report[1:]] if report else [])]
    lines = [line for text in texts for line in textwrap.wrap(text, _LETTERS)]
    return lines if len(lines) <= room else [*lines[: room - 1], f"{lines[room - 1][: _LETTERS - 2]} …"]
