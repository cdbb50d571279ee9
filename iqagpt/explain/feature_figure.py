"""The CLS features in the plane, coloured by score (paper, Fig. 7)."""

import string
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.criteria import SCORES
from iqagpt.evaluation.names import method_name, source_name
from iqagpt.explain.features import Embedding
from iqagpt.explain.style import (
    DIRECTION,
    GRADE_COLOURS,
    MARKERS,
    PAGE_MM,
    SHORT_TITLES,
    Drawn,
    journal_style,
    new_figure,
    save_svg,
)


def draw_features(embeddings: dict[str, Embedding], images: pd.DataFrame, key: str, folder: Path) -> Drawn:
    """Draw the first t-SNE of every model.

    Parameters
    ----------
    embeddings : dict
        By model.
    images : DataFrame
        Rows as in the embeddings: the criterion and ``score_source``.
    key : str
        The criterion that colours the points.
    folder : path
    """
    source = "+".join(sorted(images["score_source"].unique()))
    scores = images[key].to_numpy(dtype=int)
    seeds = len(next(iter(embeddings.values())).points)
    with journal_style():
        figure = new_figure(PAGE_MM, 84)
        panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
        for letter, axes, (model, found) in zip(string.ascii_lowercase, panels, embeddings.items(), strict=False):
            for score in SCORES:
                points = found.points[0][scores == score]
                axes.scatter(
                    points[:, 0], points[:, 1], s=9, marker=MARKERS[str(score)], color=GRADE_COLOURS[str(score)], label=str(score),
                    edgecolor="#333333", linewidth=0.25,
                )  # fmt: skip
            axes.set_title(f"({letter}) {method_name(model)}\n{_numbers(found)}")
            axes.set(xticks=[], yticks=[], xlabel="t-SNE 1 (no unit)", box_aspect=1)
            axes.spines[["top", "right"]].set_visible(True)
        panels[0].set_ylabel("t-SNE 2 (no unit)")
        whose = f"{SHORT_TITLES[key].lower()}, {DIRECTION}, {source_name(source)}"
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title=whose)
        drawn = Drawn(
            "fig7_features.svg",
            f"CLS features of {', '.join(map(method_name, embeddings))} by score",
            f"t-SNE of the image encoders' CLS tokens, {len(images)} test images, coloured by the {source_name(source)}'s score of "
            f"{SHORT_TITLES[key].lower()} ({DIRECTION}; paper, Fig. 7). Above: silhouette of the scores as clusters (-1 to 1), and "
            "rank correlation ρ of an image's score with the mean score of its nearest neighbours from other slices, mean and SD "
            f"of {seeds} runs; the first run is drawn.",
            "Scatter plots. "
            + "; ".join(f"{method_name(m)}: {_numbers(e)}" for m, e in embeddings.items()).replace("\n", ", "),
        )
        return save_svg(figure, folder, drawn)


def _numbers(found: Embedding) -> str:
    return f"silhouette {_mean(found.silhouette)}\nneighbours' scores ρ {_mean(found.neighbours)}"


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std():.3f}" if len(values) else "undefined"
