"""What the pages show, gathered from the outputs of other stages; nothing is measured here."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from iqagpt.artifacts import Artifact, open_artifact, read_json
from iqagpt.config import read_params
from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError
from iqagpt.predictions import probability_columns, read_predictions

#: Metrics that belong to no table and are listed as they are, besides `evaluate` and `by_variant`.
OTHER_METRICS = ("denoise", "explain", "pretrain", "predict", "read", "report", "train")
_SPLIT = "test"
_SVG_SIZE = re.compile(r'viewBox="\s*[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)')


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the outputs of other stages are."""

    results: Path
    metrics: Path
    predictions: Path
    captions: Path
    reports: Path
    figures: Path
    variants: Path
    params: Path


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the stage ``explain``: its SVG, and the size it wants to have in CSS px, if it says one."""

    svg: bytes
    title: str
    caption: str
    alt: str
    size: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Run:
    """All that is shown.

    Attributes
    ----------
    params : dict
        Content of ``params.yaml``.
    metrics : dict
        Content of ``metrics/<name>.json`` by name; those that are there.
    results : Artifact
        Tables of the stage ``evaluate``.
    variants : Artifact
        The images.
    images : DataFrame
        One row per test image, slices in order and qualities within them: the columns of the images' and of the predictions'
        manifest, ``reader_<criterion>``, ``score_source``, ``report``, ``generator``.
    figures : list of Figure
    """

    params: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    results: Artifact
    variants: Artifact
    images: pd.DataFrame
    figures: list[Figure]

    @property
    def window_hu(self) -> tuple[float, float]:
        """HU that are black and white."""
        lower, upper = self.variants.info["window_hu"]
        return float(lower), float(upper)

    @property
    def score_source(self) -> str:
        """Whose scores were to match: ``simulated`` or ``reader``."""
        return str(self.metrics["evaluate"]["score_source"])

    @property
    def has_probabilities(self) -> bool:
        """Whether the captioner gave a probability for every score."""
        return all(column in self.images for key in KEYS for column in probability_columns(key))


def load_run(sources: Sources) -> Run:
    """Read everything.

    Raises
    ------
    ArtifactError
        If something is missing, damaged, or does not belong together.
    """
    variants = open_artifact(sources.variants, "variants")
    metrics = {name: read_json(sources.metrics / f"{name}.json") for name in ("evaluate", "by_variant")}
    for name in OTHER_METRICS:
        if (sources.metrics / f"{name}.json").is_file():
            metrics[name] = read_json(sources.metrics / f"{name}.json")
    return Run(
        params=read_params(sources.params),
        metrics=metrics,
        results=open_artifact(sources.results, "results"),
        variants=variants,
        images=_images(variants, sources),
        figures=read_figures(sources.figures),
    )


def read_figures(folder: Path) -> list[Figure]:
    """Read the figures that ``figures.json`` lists, in its order.

    Raises
    ------
    ArtifactError
        If the list or a file of it is missing or no SVG.
    """
    index = folder / "figures.json"
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        return [_figure(folder, entry) for entry in entries]
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror}); run dvc repro explain") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{index}: not a list of figures ({error}); run dvc repro explain") from error


def _figure(folder: Path, entry: Mapping[str, str]) -> Figure:
    name = entry["file"]
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".svg":
        raise ValueError(f"expected the path of an SVG below it, got {name!r}")
    svg = (folder / name).read_bytes()
    if b"<svg" not in svg:
        raise ValueError(f"{name} is no SVG")
    found = _SVG_SIZE.search(svg[:2000].decode("utf-8", "replace"))
    # A point, which matplotlib's boxes count in, is 4/3 of a CSS px.
    size = (round(float(found[1]) * 4 / 3), round(float(found[2]) * 4 / 3)) if found else None
    return Figure(svg, str(entry["title"]), str(entry["caption"]), str(entry["alt"]), size)


def _images(variants: Artifact, sources: Sources) -> pd.DataFrame:
    """Bring together what is known of every test image."""
    predicted = read_predictions(sources.predictions, _SPLIT)
    pixels = variants.manifest
    captions = open_artifact(sources.captions, "captions").manifest
    truth = captions.rename(columns={key: f"reader_{key}" for key in KEYS})
    truth = truth[["image_id", "score_source", *(f"reader_{key}" for key in KEYS)]]
    for name, table in ((sources.variants, pixels), (sources.captions, truth)):
        lost = predicted.loc[~predicted["image_id"].isin(table["image_id"]), "image_id"]
        if len(lost):
            raise ArtifactError(f"{name}: image '{lost.iloc[0]}' of {sources.predictions} is not there; run dvc repro")
    images = pixels.merge(predicted, on="image_id", validate="one_to_one").merge(truth, on="image_id")
    if not len(images):
        raise ArtifactError(f"{sources.predictions}: no test image; check split.test_patients and run dvc repro")
    images = images.merge(_reports(sources.reports), on="image_id", how="left")
    order = {variant: number for number, variant in enumerate(variants.info["variants"])}
    images["_order"] = images["variant"].map(order)
    images = images.sort_values(["patient_id", "row", "_order"], kind="stable", ignore_index=True)
    return images.drop(columns="_order")


def _reports(folder: Path) -> pd.DataFrame:
    file = open_artifact(folder, "reports").path / "reports.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return pd.DataFrame([{name: row[name] for name in ("image_id", "report", "generator")} for row in rows])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: not a file of reports ({error!r}); run dvc repro report") from error


def choose_slices(images: pd.DataFrame, count: int) -> list[str]:
    """Choose example slices by their place alone, never by a result.

    Parameters
    ----------
    images : DataFrame
        From `Run`, of one or more patients.
    count : int
        How many slices at most.

    Returns
    -------
    list of str
        ``slice_id``, in the order of the table: spread evenly over slices with a lesion and over slices without, alternately.
    """
    slices = images.drop_duplicates("slice_id")
    lesion = slices["has_lesion"].astype(bool) if "has_lesion" in slices else pd.Series(False, index=slices.index)
    names = slices["slice_id"]
    with_lesion, without = names[lesion].tolist(), names[~lesion].tolist()
    wanted = min(-(-count // 2), len(with_lesion))
    wanted = max(wanted, min(count, len(names)) - len(without))
    chosen = {*_spread(with_lesion, wanted), *_spread(without, min(count - wanted, len(without)))}
    return [name for name in names if name in chosen]


def _spread(names: list[str], count: int) -> list[str]:
    places = np.floor((np.arange(count) + 0.5) * len(names) / max(count, 1)).astype(int)
    return [names[place] for place in places]


def shown_path(text: str) -> str:
    """Shorten an absolute path to its last part: a page may be passed on, and a path may name a person."""
    if not re.match(r"[/~]|[A-Za-z]:[\\/]|\\\\", text):
        return text
    return ".../" + re.split(r"[\\/]", text.rstrip("/\\"))[-1]
