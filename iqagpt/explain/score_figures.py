"""Distributions of scores: readers' by image quality (paper, Fig. 2), methods' beside the truth (Fig. 6)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from iqagpt.criteria import KEYS, NO_LESION, SCORES
from iqagpt.evaluation.comparison import Comparison
from iqagpt.evaluation.names import method_name, source_name, variant_name
from iqagpt.explain.style import (
    DIRECTION,
    PAGE_MM,
    TALLEST_MM,
    Drawn,
    draw_shares,
    journal_style,
    new_figure,
    save_svg,
    title_of,
)
from iqagpt.predictions import NONE, UNPARSED, labels
from iqagpt.readers.consensus import FLAG, MEDIAN
from iqagpt.readers.distribution import score_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = "truth"
_BAR_MM = 4.2


def draw_readings(scores: pd.DataFrame, folder: Path) -> Drawn:
    """Draw the shares of the readers' scores by image quality: a column of panels for each criterion, a row for each reader.

    Parameters
    ----------
    scores : DataFrame
        The manifest of ``data/scores``.
    folder : path
    """
    readers = sorted(scores["reader"].unique(), key=lambda name: (name == MEDIAN, name))
    variants = list(scores["variant"].unique())
    source = scores["score_source"].iloc[0]
    with journal_style():
        height = len(readers) * (len(variants) * _BAR_MM + 4) + 21
        figure = new_figure(PAGE_MM, min(height, TALLEST_MM))
        panels = figure.subplots(len(readers), len(KEYS), sharex=True, sharey=True, squeeze=False)
        for reader, row in zip(readers, panels, strict=True):
            own = scores[scores["reader"] == reader]
            for key, axes in zip(KEYS, row, strict=True):
                draw_shares(axes, score_shares(own, key).reindex(variants, fill_value=0.0).rename(index=variant_name))
            name = f"{reader}, learned" if own[FLAG].any() and len(readers) > 1 else str(reader)
            row[0].set_ylabel(name.replace("_", " "), parse_math=False)
        whose = f"{source_name(source)}{'s' if len(readers) > 1 else ''}"
        _finish(figure, panels, f"score by the {whose}")
        drawn = Drawn(
            "fig2_readings.svg",
            f"Scores by image quality: {whose}",
            f"Share of images with each score ({DIRECTION}) by image quality, all {scores['image_id'].nunique()} images, as scored "
            f"by the {whose} (paper, Fig. 2).",
            "Stacked bars, one per image quality and criterion. " + _commonest(scores, variants),
        )
        return save_svg(figure, folder, drawn)


def _commonest(scores: pd.DataFrame, variants: list[str]) -> str:
    means = scores.astype({"noise": float}).groupby("variant")["noise"].mean().loc[variants]
    return (
        "Mean score of noise: "
        + ", ".join(f"{variant_name(str(name))} {mean:.1f}" for name, mean in means.items())
        + "."
    )


def prediction_shares(data: Comparison) -> pd.DataFrame:
    """Return the distribution of the scores of every method and of the truth.

    Parameters
    ----------
    data : Comparison

    Returns
    -------
    DataFrame
        ``method`` (``truth`` last), ``criterion``, ``score`` (``1`` to ``4``, ``no lesion``, ``unparsed``), ``share`` of the
        images, 0 to 1. Fractional scores are rounded.
    """
    rows = []
    classes = {method: labels(table) for method, table in data.predictions.items()} | {TRUTH: labels(data.truth)}
    for method, table in classes.items():
        for key in KEYS:
            shares = table[key].value_counts(normalize=True)
            rows += [
                {"method": method, "criterion": key, "score": _GRADES[name], "share": float(shares.get(name, 0.0))}
                for name in _GRADES
            ]
    return pd.DataFrame(rows)


_GRADES = {**{str(score): str(score) for score in SCORES}, NONE: NO_LESION, UNPARSED: UNPARSED}


def draw_predictions(shares: pd.DataFrame, source: str, images: int, folder: Path) -> Drawn:
    """Draw the distribution of every method's scores beside the truth.

    Parameters
    ----------
    shares : DataFrame
        From `prediction_shares`.
    source : str
        Where the truth comes from: ``simulated`` or ``reader``.
    images : int
        How many were scored.
    folder : path
    """
    methods = list(shares["method"].unique())
    names = {name: source_name(source) if name == TRUTH else method_name(name) for name in methods}
    grades = list(_GRADES.values())
    if not shares.loc[shares["score"] == UNPARSED, "share"].any():
        grades.remove(UNPARSED)
    with journal_style():
        figure = new_figure(PAGE_MM, len(methods) * _BAR_MM + 25)
        panels = figure.subplots(1, len(KEYS), sharex=True, sharey=True, squeeze=False)
        for key, axes in zip(KEYS, panels[0], strict=True):
            own = shares[shares["criterion"] == key].pivot_table(index="method", columns="score", values="share")
            draw_shares(axes, own.loc[methods, grades].rename(index=names))
            axes.axhline(len(methods) - 1.5, color="black", linewidth=0.6)
        panels[0, 0].get_yticklabels()[-1].set_fontweight("bold")
        _finish(figure, panels, "score")
        drawn = Drawn(
            "fig6_predictions.svg",
            f"Predicted scores beside the {source_name(source)}'s",
            f"Share of the {images} test images with each score ({DIRECTION}) by method; last row: the {source_name(source)}, the "
            "truth here (paper, Fig. 6). Fractional scores are rounded.",
            "Stacked bars, one per method and criterion, the truth below. " + _distances(shares, methods, names),
        )
        return save_svg(figure, folder, drawn)


def _distances(shares: pd.DataFrame, methods: list[str], names: dict[str, str]) -> str:
    wide = shares.pivot_table(index=["criterion", "score"], columns="method", values="share")
    apart = wide.sub(wide[TRUTH], axis=0).abs().sum() / 2 / len(KEYS)
    return (
        "Share of scores that would have to change for the truth's distribution, mean of the criteria: "
        + ", ".join(f"{names[name]} {apart[name]:.0%}" for name in methods if name != TRUTH)
        + "."
    )


def _finish(figure: "Figure", panels: np.ndarray, whose: str) -> None:
    for key, axes in zip(KEYS, panels[0], strict=True):
        axes.set_title(title_of(key))
    figure.supxlabel("share of images", fontsize=7)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), title=f"{whose}, {DIRECTION}")
