"""A reader study as the artifacts of the pipeline: ``variants``, ``scores`` and one split for every fold.

First stage of ``study/dvc.yaml``; the stages after it are the root pipeline's own. A set of the study stands where a patient
stands there: splits and intervals never part it.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import ArtifactWriter, create_artifact, replaced_folder
from iqagpt.config import given_file
from iqagpt.criteria import KEYS
from iqagpt.ct import AIR_HU
from iqagpt.data.matrix import fit_matrix
from iqagpt.data.near_duplicates import CELLS as SIDE
from iqagpt.data.near_duplicates import structure
from iqagpt.errors import InputError, ParamsError
from iqagpt.readers.output import describe_readers, write_readers
from iqagpt.study.description import describe_study
from iqagpt.study.folds import check_folds_differ, fold_sides, set_folds
from iqagpt.study.four_point import four_point_scores
from iqagpt.study.study import Study, load_study, safe_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudyParams:
    """Section ``study`` of ``study/params.yaml``.

    Attributes
    ----------
    names : tuple of str
        Name of the study, which stages and outputs carry; empty: there is none, and no stage.
    root : str
        Folder with its images and scores.
    description : str
        Its ``study.yaml``, where that is not in the folder; ``presets/none.txt`` for none.
    sets : tuple of str
        Sets to take; empty: all.
    folds : tuple of int
        0, 1, ...: as many as the sets are dealt out to.
    val : bool
        Hold the sets of the next fold out of training, for ``keep: best``.
    consensus : str
        Which scores are learned: ``median``, or a reader's name.
    matrix : int or None
        Side of the images in pixels: others are padded with air or cropped. None: all have one size.
    window_hu : (lower, upper)
        Display window that models look through.
    seed : int
        Of the bootstrap of the readers' agreement.
    """

    names: tuple[str, ...]
    root: str
    description: str
    sets: tuple[str, ...]
    folds: tuple[int, ...]
    val: bool
    consensus: str
    matrix: int | None
    window_hu: tuple[float, float]
    seed: int

    def __post_init__(self) -> None:
        if len(self.names) > 1 or any(safe_name(name) != name for name in self.names):
            raise ValueError(f"names: expected at most one name of letters, digits, - and _, got {list(self.names)}")
        if list(self.folds) != list(range(len(self.folds))):
            raise ValueError(f"folds: expected 0, 1, 2, ... in order, got {list(self.folds)}")
        if self.matrix is not None and not (16 <= self.matrix <= 4096 and self.matrix % 2 == 0):
            raise ValueError(f"matrix: expected an even number from 16 to 4096 or null, got {self.matrix}")
        if not self.window_hu[0] < self.window_hu[1]:
            raise ValueError(f"window_hu: expected [lower, upper], got {list(self.window_hu)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")


def open_study(params: StudyParams) -> Study:
    """Load the study that the parameters name, with the sets that they take.

    Raises
    ------
    InputError
        If it cannot be used; see `iqagpt.study.study.load_study`.
    """
    root, description = given_file(params.root), given_file(params.description)
    if root is None:
        raise ParamsError("study.root: names no study; iqagpt study FOLDER writes it")
    if description is None:
        return load_study(describe_study(root)).only(params.sets)
    return load_study(describe_study(description, {"folder": str(root.resolve())})).only(params.sets)


def write_variants(study: Study, params: StudyParams, writer: ArtifactWriter) -> pd.DataFrame:
    """Write the images as an artifact of kind ``variants``, and return its manifest, rows as in ``study.images``.

    Raises
    ------
    InputError
        If an image cannot be read, is of another size, or is nearly the same as one of another fold.
    """
    names = [safe_name(variant) for variant in study.images["variant"]]
    rows = pd.Series(names).groupby(names).cumcount().to_numpy()
    dealt = set_folds(study.images["set"], len(params.folds))
    arrays: dict[str, np.ndarray] = {}
    side, prints, spacing = params.matrix, [], []
    images = tqdm(study.read_images(), "images", len(names), unit="image", disable=None)
    for index, (image_hu, source) in enumerate(images):
        if side is None and image_hu.shape[0] == image_hu.shape[1]:
            side = image_hu.shape[0]
        if side is None or (params.matrix is None and image_hu.shape != (side, side)):
            raise InputError(
                f"{study.images['file'][index]}: {image_hu.shape[0]} x {image_hu.shape[1]} pixels; with study.matrix null all "
                "images must be square and of one size: give a size to pad or crop to"
            )
        name = names[index]
        if name not in arrays:
            arrays[name] = writer.array(name, (names.count(name), side, side), np.int16)
        arrays[name][rows[index]] = fit_matrix(image_hu, side, AIR_HU)
        # Not of the padded image: equal borders would make all images alike. Smaller ones than 64 pixels have other vectors.
        seen = image_hu if min(image_hu.shape) >= SIDE else arrays[name][rows[index]]
        prints.append(structure(seen, params.window_hu))
        spacing.append(source.pixel_spacing_mm)
    check_folds_differ(list(study.images["image"]), study.images["set"].map(dealt).to_numpy(), np.stack(prints))
    table = _manifest(study, names, rows, spacing)
    writer.manifest(table)
    writer.info.update(window_hu=list(params.window_hu), variants=list(dict.fromkeys(names)))
    return table


def _manifest(study: Study, names: list[str], rows: np.ndarray, spacing: list[float | None]) -> pd.DataFrame:
    places = zip(study.images["image"], study.images["slice"], strict=True)
    return pd.DataFrame(
        {
            "image_id": [image if index is None else f"{image}:{index}" for image, index in places],
            "slice_id": study.images["set"],
            "patient_id": study.images["set"],
            "variant": names,
            "row": rows,
            "pixel_spacing_mm": pd.array(spacing, "Float64"),
        }
    )


def write_folds(study: Study, params: StudyParams, output: Path) -> None:
    """Write one artifact of kind ``split`` for every fold, as ``output/0``, ``output/1``, ..."""
    dealt = set_folds(study.images["set"], len(params.folds))
    with replaced_folder(output) as folder:
        for fold in params.folds:
            sides = fold_sides(dealt, fold, val=params.val)
            table = pd.DataFrame({"slice_id": list(sides), "patient_id": list(sides), "split": list(sides.values())})
            with create_artifact(folder / str(fold), "split") as writer:
                writer.manifest(table)
                writer.info["fold"] = fold


def write_scores(study: Study, images: pd.DataFrame, params: StudyParams, writer: ArtifactWriter) -> dict[str, Any]:
    """Write the readers' scores as an artifact of kind ``scores``; return figures for a metrics file."""
    scores = four_point_scores(study, images, params.consensus)
    criteria = [key for key in KEYS if key in study.criteria]
    agreement = write_readers(writer, scores, seed=params.seed, criteria=criteria)
    writer.info["data_source"] = f"reader study {''.join(params.names)}; its sets are called patients here"
    writer.info["mapping"] = [str(mapping) for mapping in study.description.mappings]
    return {"reader": describe_readers(scores, agreement, criteria) | {"sets": int(study.images["set"].nunique())}}
