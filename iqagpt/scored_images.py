"""Images with their scores, captions and split: what every method is fitted on and asked about.

Joins ``data/variants``, ``data/captions`` and ``data/split``; pixels stay memory-mapped until a batch is asked for.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from iqagpt.artifacts import Artifact, open_artifact
from iqagpt.criteria import KEYS
from iqagpt.ct import apply_window
from iqagpt.errors import ArtifactError


@dataclass(frozen=True)
class ScoredImages:
    """A table of images and access to their pixels.

    Attributes
    ----------
    table : DataFrame
        One row per image: ``image_id, slice_id, patient_id, variant, row, pixel_spacing_mm, split`` and, unless opened
        without captions, the four criteria (``Int64``, missing where there is no lesion) and ``caption``.
    variants : Artifact
        Source of the pixels.
    pairs : Artifact, optional
        The slices that the variants were made of, in the same order, with their organ maps.
    """

    table: pd.DataFrame
    variants: Artifact
    pairs: Artifact | None = None

    def subset(self, split: str) -> "ScoredImages":
        """Return the images of one split: ``train``, ``val``, ``test``, or ``pretrain``."""
        return replace(self, table=self.table[self.table["split"] == split].reset_index(drop=True))

    def held_out(self) -> "ScoredImages":
        """Return the images of ``val`` and ``test``, in table order."""
        return replace(self, table=self.table[self.table["split"].isin(("val", "test"))].reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def window_hu(self) -> tuple[float, float]:
        """Lower and upper HU of the display window."""
        lower, upper = self.variants.info["window_hu"]
        return lower, upper

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.variants.array(self.table["variant"].iloc[0]).shape[-1]

    def pixels_hu(self, index: int) -> np.ndarray:
        """Return image `index` of the table, (H, W), int16, HU."""
        row = self.table.iloc[index]
        return np.asarray(self.variants.array(row["variant"])[int(row["row"])])

    def organ_maps(self) -> np.ndarray | None:
        """Return classes of TotalSegmentator v2 by ``row``, (N, H, W), uint8, 0 where unknown; None without `pairs`."""
        return None if self.pairs is None else self.pairs.array("organs")

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return windowed images (B, 1, H, W), float32, in [0, 1]."""
        return np.stack([apply_window(self.pixels_hu(int(i)), self.window_hu) for i in indices])[:, None]

    def fingerprint(self) -> str:
        """Return a hash of the table, captions and scores included, and of the pixels it names."""
        digest = hashlib.sha256(self.table.to_csv(index=False).encode())
        digest.update(repr(self.window_hu).encode())
        for index in range(len(self)):
            digest.update(np.ascontiguousarray(self.pixels_hu(index)))
        return digest.hexdigest()

    def scores(self, index: int) -> dict[str, int | None]:
        """Return the four scores of image `index`; None for lesion conspicuity without a lesion."""
        row = self.table.iloc[index]
        return {key: None if pd.isna(row[key]) else int(row[key]) for key in KEYS}


def open_scored_images(
    variants: Path, split: Path, captions: Path | None = None, pairs: Path | None = None
) -> ScoredImages:
    """Open the images of a pipeline run.

    Parameters
    ----------
    variants, split, captions : path
        Artifacts of those kinds. Without `captions` the table has no scores, as at prediction.
    pairs : path, optional
        Artifact of that kind, where organ maps are wanted.

    Raises
    ------
    ArtifactError
        If an artifact is missing, or an image has no split, no scores, or is not square.
    """
    source = open_artifact(variants, "variants")
    table = source.manifest[["image_id", "slice_id", "patient_id", "variant", "row", "pixel_spacing_mm"]]
    splits = open_artifact(split, "split").manifest[["slice_id", "split"]]
    table = _join(table, splits, "slice_id", split)
    if captions is not None:
        scored = open_artifact(captions, "captions").manifest[["image_id", "score_source", *KEYS, "caption"]]
        table = _join(table, scored, "image_id", captions)
    shape = source.array(table["variant"].iloc[0]).shape
    if shape[-1] != shape[-2]:
        raise ArtifactError(f"{variants}: expected square images, got {shape[-2]} x {shape[-1]}")
    return ScoredImages(table, source, None if pairs is None else open_artifact(pairs, "pairs"))


def _join(table: pd.DataFrame, other: pd.DataFrame, key: str, where: Path) -> pd.DataFrame:
    joined = table.merge(other, on=key, how="left", validate="many_to_one", indicator=True)
    lost = joined.loc[joined["_merge"] == "left_only", key]
    if len(lost):
        raise ArtifactError(f"{where}: no row for {key} '{lost.iloc[0]}' ({len(lost)} in all); run dvc repro")
    return joined.drop(columns="_merge")
