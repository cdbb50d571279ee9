"""What figures 7 and 9 seem to show, in numbers: tables below the figures, from ``metrics/explain.json``."""

from collections.abc import Iterator, Mapping
from typing import Any

from iqagpt.criteria import KEYS
from iqagpt.evaluation.names import SHORT, method_name, source_name
from iqagpt.page.contents import Run
from iqagpt.page.grid import Place, name_cell, number, table
from iqagpt.page.markup import Html

_FILE = "metrics/explain.json"
_MEASURES = ("Silhouette", "Neighbours' scores")
_CHECKS = {
    "images": "Images with a lesion", "area_share": "Area of the patches on the lesion, share of the image",
    "above_area": "Lesion's words look there more than by area, share of images",
    "noise_flatter": "Map of noise is the flatter one, share of images",
}  # fmt: skip
_SHARES = {
    "share": "Share of the attribution on the lesion's patches", "gain": "Over the share by area",
    "flatness": "Flatness of the map",
}  # fmt: skip


def claims(run: Run) -> Iterator[Html]:
    """Write the tables; none where the stage ``explain`` has not run or had nothing to measure."""
    found = run.metrics.get("explain", {})
    if found.get("features"):
        yield _features(found)
    if found.get("grad_cam"):
        yield from _grad_cam(run, found)


def _features(found: Mapping[str, Any]) -> Html:
    columns = [(measure, kind) for measure in ("silhouette", "neighbours") for kind in ("mean", "features")]
    rows = (
        [name_cell(method_name(model)), *(_number(found, "features", model, *keys) for keys in columns)]
        for model in found["features"]
    )
    return table(
        "Fig. 7 in numbers: do features follow the score of noise? (higher: more so)",
        ["Features of", *(f"{name}, {kind}" for name in _MEASURES for kind in ("t-SNE", "features"))],
        rows,
        note="Silhouette of the scores as clusters, -1 to 1. Neighbours' scores: rank correlation of an image's score with the "
        "mean of its nearest neighbours' from other slices. t-SNE: mean over its runs; features: without it.",
    )


def _grad_cam(run: Run, found: Mapping[str, Any]) -> Iterator[Html]:
    sources = {
        source: source_name(run.score_source) if source == "reader" else method_name(source)
        for source in sorted(found["grad_cam"], reverse=True)
    }
    yield table(
        "Fig. 9 in numbers: does the captioner look at the lesion?",
        ["Caption by", *_CHECKS.values()],
        (
            [name_cell(name), *(_number(found, "grad_cam", source, key) for key in _CHECKS)]
            for source, name in sources.items()
        ),
    )
    yield table(
        "Fig. 9 by the words that were explained",
        ["Caption by", "Words of", *_SHARES.values()],
        (
            [
                name_cell(name),
                name_cell(SHORT[key]),
                *(_number(found, "grad_cam", source, key, part) for part in _SHARES),
            ]
            for source, name in sources.items()
            for key in KEYS
            if key in found["grad_cam"][source]
        ),
        note="Over the share by area: 1 ignores the lesion. The other criteria are the control: words on the lesion that look "
        "at it have more there than theirs. Flatness: 1 the same everywhere, 0 a single patch.",
    )


def _number(found: Mapping[str, Any], *keys: str) -> Html:
    node: Any = found
    for key in keys:
        node = node.get(key, {})
    whole = isinstance(node, int)
    return number(float("nan") if node == {} else node, Place(_FILE, keys), digits=0 if whole else 3)
