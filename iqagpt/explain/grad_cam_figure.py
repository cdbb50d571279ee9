"""Grad-CAM of the words that decide each score, over the image (paper, Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqagpt.criteria import KEYS
from iqagpt.evaluation.names import variant_name
from iqagpt.explain.attribution import flatness
from iqagpt.explain.grad_cam import WordMaps
from iqagpt.explain.style import PAGE_MM, SHORT_TITLES, Drawn, journal_style, new_figure, save_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

#: Grey levels of pictures inside a figure, and pixels averaged along a side: less is not seen, more is many megabytes.
GREYS, _AVERAGED_PX = 64, 2
_OUTLINE = "#00e5a8"
#: Attribution, in that of an equal map, of the brightest colour; from which on a patch is painted fully, and how fully.
_TOP, _OPAQUE_FROM, _OPACITY = 8.0, 3.0, 0.75
_STEPS = 256


@dataclass(frozen=True)
class Explained:
    """One image and where the captioner looked.

    Attributes
    ----------
    variant : str
    image : ndarray, (H, W), float32
        Windowed to [0, 1].
    lesion : ndarray, (H, W), uint8
        Empty (all 0) where there is none.
    maps : WordMaps
        Of its caption.
    """

    variant: str
    image: np.ndarray
    lesion: np.ndarray
    maps: WordMaps


def draw_word_maps(examples: Sequence[Explained], folder: Path) -> Drawn:
    """Draw each image, and beside it the maps of the words that decide its scores.

    Parameters
    ----------
    examples : sequence of Explained
    folder : path
    """
    with journal_style():
        figure = new_figure(PAGE_MM, 41 * len(examples) + 12)
        panels = figure.subplots(len(examples), 1 + len(KEYS), squeeze=False)
        shown = None
        for example, row in zip(examples, panels, strict=True):
            _draw_image(row[0], example)
            row[0].set_ylabel(variant_name(example.variant), parse_math=False)
            for key, axes in zip(KEYS, row[1:], strict=True):
                _draw_image(axes, example)
                weights = example.maps.of_criterion(key)
                if weights is None:
                    axes.set_title("not stated")
                    continue
                shown = _draw_weights(axes, weights * weights.size, example.image.shape)
                words = " … ".join(example.maps.words.words[i].strip(",;") for i in example.maps.words.decisions[key])
                axes.set_title(f"{SHORT_TITLES[key]}:\n“{words}”", fontsize=6.5, parse_math=False)
        if shown is not None:
            bar = figure.colorbar(shown, ax=panels, location="bottom", shrink=0.4, aspect=40, extend="max", pad=0.02)
            bar.ax.set_facecolor("#808080")
            bar.set_label("attribution of a patch, 1 = all patches alike (over grey)")
            bar.outline.set_linewidth(0.4)
        return save_svg(figure, folder, _describe(examples))


def _describe(examples: Sequence[Explained]) -> Drawn:
    texts = [
        f"{variant_name(example.variant)}: "
        + ", ".join(
            f"{SHORT_TITLES[key].lower()} {flatness(example.maps.of_criterion(key)):.2f}"
            for key in example.maps.words.decisions
        )
        for example in examples
    ]
    return Drawn(
        "fig9_word_maps.svg",
        "Where the captioner looks for the words that decide a score",
        "Grad-CAM on the cross-attention of the decoder's last layer for the deciding words of the predicted caption (paper, "
        "Fig. 9), by patch; green: outline of the lesion. Images are averaged over "
        f"{_AVERAGED_PX} x {_AVERAGED_PX} pixels for print.",
        "CT slices with maps laid over them. Flatness of the maps (1 the same everywhere, 0 a single patch): "
        + "; ".join(texts)
        + ".",
    )


def _draw_image(axes: "Axes", example: Explained) -> None:
    height, width = example.image.shape
    small = example.image.reshape(height // _AVERAGED_PX, _AVERAGED_PX, width // _AVERAGED_PX, _AVERAGED_PX).mean(
        (1, 3)
    )
    show_slice(axes, small, (height, width))
    if example.lesion.any():
        axes.contour(example.lesion, [0.5], colors=_OUTLINE, linewidths=0.6)


def show_slice(axes: "Axes", image: np.ndarray, shape: tuple[int, int]) -> None:
    """Show a windowed image in [0, 1] in grey, in the pixel coordinates of `shape`, without axes."""
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    axes.imshow(
        np.rint(image * (GREYS - 1)) / (GREYS - 1), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="none"
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_weights(axes: "Axes", weights: np.ndarray, shape: tuple[int, int]) -> "ScalarMappable":
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    steps = np.linspace(0, 1, _STEPS)
    painted = colormaps["inferno"](steps)
    # What is not looked at stays to be seen.
    painted[:, 3] = np.clip(steps * _TOP / _OPAQUE_FROM, 0.0, 1.0) * _OPACITY
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    return axes.imshow(weights, cmap=ListedColormap(painted), vmin=0, vmax=_TOP, extent=extent, interpolation="none")
