"""Predictions of every method beside the reader's scores, image by image.

Reads the tables of predictions, ``data/captions`` (the truth) and ``data/split``; `measurement` makes numbers of them. A folder of
splits is a cross-validation: every fold has its predictions, and the images of all folds count together.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.artifacts import open_artifact
from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import ArtifactError
from iqagpt.evaluation.audits import check_disjoint
from iqagpt.evaluation.captions import count_captions
from iqagpt.predictions import BUILTIN, WEIGHTS, labels, read_predictions

logger = logging.getLogger(__name__)

#: The method under test; all others are baselines.
IQAGPT = "iqagpt"
#: Row of Table 1 that pairs every image with the caption of another one.
SHUFFLED = "shuffled captions"
_SHUFFLE_SEED = 0
_TRUTH = ("image_id", "slice_id", "patient_id", "variant", "score_source", *KEYS, "caption")


@dataclass(frozen=True)
class Comparison:
    """The images of one split with what the reader and each method say.

    Attributes
    ----------
    split : str
        ``val`` or ``test``.
    truth : DataFrame
        One row per image: ``image_id, slice_id, patient_id, variant, score_source``, the four criteria, ``caption``.
    predictions : dict
        By method, a table as of `read_predictions`, rows as in `truth`; ``iqagpt`` first.
    data_source : str
        Where the images come from, as the captions artifact says.
    criteria : tuple of str
        Those that the readers were asked about; others are in no number but those of the captions' text.
    folds : int
        Of a cross-validation; 1 where there is none.
    """

    split: str
    truth: pd.DataFrame
    predictions: dict[str, pd.DataFrame]
    data_source: str
    criteria: tuple[str, ...] = KEYS
    folds: int = 1

    @property
    def score_source(self) -> str:
        """Where the truth comes from: ``simulated`` or ``reader``."""
        return "+".join(sorted(self.truth["score_source"].unique()))

    @property
    def builtin(self) -> list[str]:
        """Methods that rest on the small frozen models of this package instead of published ones."""
        tables = self.predictions.items()
        return [method for method, table in tables if WEIGHTS in table and (table[WEIGHTS] == BUILTIN).any()]


def load_comparison(
    predictions: Path, captions: Path, split: Path, *, baselines: Sequence[str], name: str
) -> Comparison:
    """Bring truth and predictions together.

    Parameters
    ----------
    predictions : path
        Folder of ``<method>.csv``, or of ``<fold>/<method>.csv``; tables of methods that are not asked for are ignored.
    captions, split : path
        Artifacts of those kinds; of splits also a folder of them, one for each fold.
    baselines : sequence of str
        Methods to set beside ``iqagpt``.
    name : str
        The split: ``val`` or ``test``.

    Raises
    ------
    ArtifactError
        If a table is missing or lacks an image of the split, a patient is on two sides of it, or is in `name` of two folds.
    """
    source = open_artifact(captions, "captions")
    folds = _fold_names(split)
    parts = [_truth_of(source.manifest, split / fold, name) for fold in folds]
    truth = pd.concat(parts, ignore_index=True)
    _check_truth(truth, captions)
    found = {}
    for method in (IQAGPT, *baselines):
        tables = [_load_method(predictions / f, method, part, name) for f, part in zip(folds, parts, strict=True)]
        found[method] = pd.concat(tables, ignore_index=True)
    criteria = tuple(source.info.get("criteria", KEYS))
    return Comparison(name, truth, found, source.info["data_source"], criteria, len(folds))


def _fold_names(split: Path) -> list[str]:
    """Return the names of the folds below a folder of splits, in order; an empty one for a single split."""
    names = sorted(file.parent.name for file in split.glob("*/artifact.json"))
    if (split / "artifact.json").is_file() or not names:
        return [""]
    return sorted(names, key=lambda name: (len(name), name))


def _truth_of(captions: pd.DataFrame, split: Path, name: str) -> pd.DataFrame:
    splits = open_artifact(split, "split").manifest
    check_disjoint(splits)
    slices = set(splits.loc[splits["split"] == name, "slice_id"])
    return captions.loc[captions["slice_id"].isin(slices), list(_TRUTH)].reset_index(drop=True)


def captioning(comparisons: Sequence[Comparison]) -> dict[str, dict[str, np.ndarray]]:
    """Count all captions of all splits in one Java process.

    Returns
    -------
    dict
        By split and method, what every image adds to the text metrics, from `iqagpt.evaluation.captions.count_captions`.
        ``shuffled captions`` is the floor: the reader's own captions, each given to another image at random.
    """
    corpora, place = {}, {}
    for data in comparisons:
        references = data.truth["caption"].tolist()
        if not references:
            continue
        order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(references))
        candidates = {method: table["caption"].tolist() for method, table in data.predictions.items()}
        candidates[SHUFFLED] = [references[i] for i in order]
        for method, texts in candidates.items():
            corpora[f"{data.split}: {method}"] = (references, texts)
            place[f"{data.split}: {method}"] = (data.split, method)
    logger.info("scoring %d sets of captions", len(corpora))
    results: dict[str, dict[str, np.ndarray]] = {data.split: {} for data in comparisons}
    for key, counts in count_captions(corpora).items():
        split, method = place[key]
        results[split][method] = counts
    return results


def score_table(data: Comparison, method: str = IQAGPT) -> pd.DataFrame:
    """List true and predicted scores for a scatter plot, one row per image and criterion.

    Pairs without a score on either side (no lesion, unparsed) have no place on its axes; `class_table` has them.
    """
    table = _long(data, method, data.predictions[method][list(KEYS)], data.truth[list(KEYS)])
    return table.dropna(subset=["truth", "predicted"]).reset_index(drop=True)


def class_table(data: Comparison, method: str = IQAGPT) -> pd.DataFrame:
    """List true and predicted classes (``1`` to ``4``, ``none``, ``unparsed``) for a confusion plot."""
    table = _long(data, method, labels(data.predictions[method]), labels(data.truth))
    return table.loc[table["criterion"].isin(data.criteria), ["criterion", "truth", "predicted"]].reset_index(drop=True)


def _long(data: Comparison, method: str, predicted: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    parts = [
        data.truth[["image_id", "variant"]].assign(
            method=method, criterion=key, truth=truth[key].to_numpy(), predicted=predicted[key].to_numpy()
        )
        for key in KEYS
    ]
    columns = ["image_id", "method", "criterion", "variant", "truth", "predicted"]
    return pd.concat(parts, ignore_index=True)[columns]


def _check_truth(truth: pd.DataFrame, captions: Path) -> None:
    repeated = truth.loc[truth["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise ArtifactError(f"{captions}: image_id '{repeated.iloc[0]}' is given twice; expected one row per image")
    for key in (*ALWAYS_SCORED, "caption"):
        empty = truth.loc[truth[key].isna(), "image_id"]
        if len(empty):
            raise ArtifactError(f"{captions}: {key} of '{empty.iloc[0]}' is empty; run dvc repro caption")


def _load_method(folder: Path, method: str, truth: pd.DataFrame, split: str) -> pd.DataFrame:
    file = folder / f"{method}.csv"
    stage = "predict" if method == IQAGPT else f"baseline@{method}"
    if not file.is_file():
        raise ArtifactError(f"{file}: no predictions of '{method}' (evaluate.baselines); run dvc repro {stage}")
    table = read_predictions(file, split).set_index("image_id")
    lost = [image_id for image_id in truth["image_id"] if image_id not in table.index]
    if lost:
        raise ArtifactError(
            f"{file}: no prediction for {split} image '{lost[0]}' ({len(lost)} missing of {len(truth)}); "
            f"run dvc repro {stage}"
        )
    return table.loc[truth["image_id"]].reset_index()
