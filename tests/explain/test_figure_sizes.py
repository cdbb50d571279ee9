"""Figures of unusual runs: many readers and image qualities, long names, long texts, one model. Nothing is cut off."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from iqagpt.criteria import KEYS
from iqagpt.explain.cards import Card, draw_cards
from iqagpt.explain.feature_figure import draw_features
from iqagpt.explain.features import Embedding
from iqagpt.explain.score_figures import draw_predictions, draw_readings
from iqagpt.explain.style import PAGE_MM, TALLEST_MM

LONG = "non_local_means_strong_with_a_very_long_name"
GRADES = ("1", "2", "3", "4", "no lesion", "unparsed")


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each figure written since keeps all that it shows inside itself, and fits on a page."""
    print_svg, found = FigureCanvasSVG.print_svg, []

    def check(canvas: FigureCanvasSVG, file: Path, **facts: object) -> None:
        print_svg(canvas, file, **facts)
        box, (width, height) = canvas.figure.get_tightbbox(), canvas.figure.get_size_inches()
        within = min(box.x0, box.y0, width - box.x1, height - box.y1) > 0
        found.append(within and width * 25.4 <= PAGE_MM + 0.1 and height * 25.4 <= TALLEST_MM + 0.1)

    monkeypatch.setattr(FigureCanvasSVG, "print_svg", check)
    return found


def test_many_readers_and_long_names_of_qualities(inside: list[bool], tmp_path: Path) -> None:
    variants = ["ndct", LONG, "$x_1$ <b>", *(f"own_{number}" for number in range(9))]
    rows = [
        {"image_id": f"{variant}", "variant": variant, "reader": reader, "score_source": "reader", "consensus": 1}
        | dict.fromkeys(KEYS, 2)
        for reader in ("median", "dr_maximilian_von_hohenstein", "b", "c", "d")
        for variant in variants
    ]
    drawn = draw_readings(pd.DataFrame(rows).astype(dict.fromkeys(KEYS, "Int64")), tmp_path)
    assert "as scored by the readers" in drawn.caption
    assert inside == [True]


@pytest.mark.parametrize("methods", [["iqagpt"], ["iqagpt", *(f"{LONG}_{number}" for number in range(9))]])
def test_one_method_and_many(methods: list[str], inside: list[bool], tmp_path: Path) -> None:
    rows = [
        {"method": method, "criterion": key, "score": grade, "share": 1 / len(GRADES)}
        for method in [*methods, "truth"]
        for key in KEYS
        for grade in GRADES
    ]
    draw_predictions(pd.DataFrame(rows), "reader", 100, tmp_path)
    assert inside == [True]


@pytest.mark.parametrize("models", [["iqagpt"], ["iqagpt", "vit_c"], ["iqagpt", "vit_c", "vit_r"]])
def test_one_model_and_three(models: list[str], inside: list[bool], tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(2, 8, 2))
    images = pd.DataFrame({"noise": [1, 2, 3, 4] * 2, "score_source": "reader"})
    found = Embedding(points, np.array([0.1, 0.2]), np.array([]), None, None)
    drawn = draw_features(dict.fromkeys(models, found), images, "noise", tmp_path)
    assert "neighbours' scores ρ undefined" in drawn.alt
    assert inside == [True]


def test_long_captions_and_reports_end_in_dots(inside: list[bool], tmp_path: Path) -> None:
    scores = dict.fromkeys(KEYS, "1")
    card = Card("a", LONG, np.zeros((64, 64)), scores, scores, {}, "wavy word " * 99, "IMAGE QUALITY\n" + "long " * 999)
    draw_cards([card] * 4, "reader", tmp_path)
    assert inside == [True]
