"""A simulated reader: measures to scores, with the spread of a human reader.

Each criterion has a severity (`iqagpt.readers.severity`), a continuous number on the scale of its scores, which grows
with what `iqagpt.readers.measures` sees. Adding the reader's variability and rounding gives the score; without
variability, rounding gives the best that anyone can predict: the ceiling of every method.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import Artifact
from iqagpt.config import given_file
from iqagpt.criteria import BEST, KEYS, WORST
from iqagpt.errors import ArtifactError
from iqagpt.readers.consensus import MEDIAN
from iqagpt.readers.measures import Measures, SliceReader
from iqagpt.readers.severity import LesionParams, NoiseParams, StructureParams, check_share
from iqagpt.readers.variability import VariabilityParams, reader_bias, reading_noise

REFERENCE = "ndct"


@dataclass(frozen=True, slots=True)
class ReadParams(VariabilityParams):
    """Section ``read``: a real reader's table, or how the simulated reader scores."""

    table: str
    usual_weight: float
    noise: NoiseParams
    small_structures: StructureParams
    lesion_conspicuity: LesionParams
    noise_weight: float
    worst_weight: float
    seed: int

    def __post_init__(self) -> None:
        """Check ranges."""
        VariabilityParams.__post_init__(self)
        # Measuring takes a minute; a table's readers are not known before it is read.
        known = (MEDIAN, *self.names())
        if given_file(self.table) is None and self.consensus not in known:
            raise ValueError(f"consensus: expected one of {', '.join(known)}, got {self.consensus!r}")
        check_share(self, "usual_weight", "noise_weight", "worst_weight")
        if self.seed < 0:
            raise ValueError(f"seed: expected >= 0, got {self.seed}")

    def usual_offset(self, seen: Measures, usual_noise_hu: float) -> float:
        """Return by how much the slice's NDCT counts as noisier than usual; added to the ratios to that NDCT."""
        ndct_over_usual = float(np.log(seen.noise_hu / usual_noise_hu)) - seen.noise_ratio
        return self.usual_weight * ndct_over_usual

    def severities(self, seen: Measures, usual_noise_hu: float) -> dict[str, float | None]:
        """Return the severity of each criterion; confidence follows mostly from structures and lesion.

        Parameters
        ----------
        seen : Measures
        usual_noise_hu : float
            Noise of the usual NDCT, as `Measures.noise_hu`.
        """
        usual = self.usual_offset(seen, usual_noise_hu)
        found = {
            "noise": self.noise.severity(seen, usual),
            "small_structures": self.small_structures.severity(seen, usual),
            "lesion_conspicuity": self.lesion_conspicuity.severity(seen),
        }
        return found | {"diagnostic_confidence": self._confidence(**found)}

    def _confidence(self, noise: float, small_structures: float, lesion_conspicuity: float | None) -> float:
        shown = [small_structures] if lesion_conspicuity is None else [small_structures, lesion_conspicuity]
        rest = self.worst_weight * max(shown) + (1 - self.worst_weight) * float(np.mean(shown))
        return self.noise_weight * noise + (1 - self.noise_weight) * rest


def measure_images(variants: Artifact, params: ReadParams) -> pd.DataFrame:
    """Measure every image, slice by slice.

    Parameters
    ----------
    variants : Artifact
        ``data/variants``.
    params : ReadParams

    Returns
    -------
    DataFrame
        In the manifest's order: identifiers, the fields of `Measures`, and ``<criterion>_severity`` without variability
        (missing for lesion conspicuity where there is no lesion).

    Raises
    ------
    ArtifactError
        If there is no NDCT to compare with.
    """
    manifest = variants.manifest
    if REFERENCE not in set(manifest["variant"]):
        raise ArtifactError(f"{variants.path}: no variant '{REFERENCE}' to compare with; run dvc repro denoise")
    arrays = {name: variants.array(name) for name in manifest["variant"].unique()}
    masks, window_hu = variants.array("lesion_mask"), tuple(variants.info["window_hu"])

    def read(items: pd.DataFrame) -> dict[int, Measures]:
        first = items.iloc[0]
        reader = SliceReader(
            arrays[REFERENCE][first["row"]],
            masks[first["row"]] if first["has_lesion"] else np.zeros_like(masks[0]),
            spacing_mm=first["pixel_spacing_mm"],
            window_hu=window_hu,
            hyperdense=first["lesion_contrast_hu"] > 0,  # missing without lesion
        )
        return {item.Index: reader.measure(arrays[item.variant][item.row]) for item in items.itertuples()}

    slices = [items for _, items in manifest.groupby("slice_id")]
    seen: dict[int, Measures] = {}
    # Threads, as scipy's filters release the lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in tqdm(pool.map(read, slices), "reading", len(slices), unit="slice", disable=None):
            seen |= found
    measured = pd.DataFrame([asdict(seen[index]) for index in manifest.index], dtype=float)
    measured["usual_noise_hu"] = usual_noise_hu(manifest, measured["noise_hu"])
    severities = pd.DataFrame(
        [params.severities(seen[i], measured["usual_noise_hu"][i]) for i in manifest.index], dtype=float
    )
    identifiers = manifest[["image_id", "slice_id", "patient_id", "variant"]]
    return pd.concat([identifiers, measured, severities.add_suffix("_severity")], axis=1)


def usual_noise_hu(manifest: pd.DataFrame, noise_hu: pd.Series) -> pd.Series:
    """Return the noise of the usual NDCT: the median over all that have the image's thickness and kernel.

    Patients for pre-training alone count only where there are no others, so that they change no other patient's scores.

    Parameters
    ----------
    manifest : DataFrame
        The manifest of ``data/variants``.
    noise_hu : Series
        Noise of each of its images.

    Returns
    -------
    Series
        One value per image.
    """
    series = [column for column in ("thickness_mm", "kernel") if column in manifest]
    alike = manifest[series].astype(str).agg(" ".join, axis=1) if series else pd.Series("", manifest.index)
    ndct = noise_hu.where(manifest["variant"] == REFERENCE)
    usual = ndct.groupby(alike).transform("median")
    if "pretrain" in manifest:
        usual = ndct.where(manifest["pretrain"] == 0).groupby(alike).transform("median").fillna(usual)
    return usual


def score_images(measured: pd.DataFrame, params: ReadParams, *, noise_free: bool = False) -> pd.DataFrame:
    """Turn severities into the scores of every simulated reader.

    Parameters
    ----------
    measured : DataFrame
        From `measure_images`.
    params : ReadParams
    noise_free : bool
        Leave out the deviations of single readings; readers keep their bias.

    Returns
    -------
    DataFrame
        One row per image and reader, in the order of the images, then of the readers; scores ``Int64``, 1 (best) to
        4 (worst).
    """
    readers = [_score_as(reader, measured, params, noise_free) for reader in params.names()]
    return pd.concat(readers).sort_index(kind="stable").reset_index(drop=True)


def _score_as(reader: str, measured: pd.DataFrame, params: ReadParams, noise_free: bool) -> pd.DataFrame:
    scores = measured[["image_id", "slice_id", "patient_id", "variant"]].assign(reader=reader, score_source="simulated")
    severity = measured[[f"{key}_severity" for key in KEYS]].to_numpy() + reader_bias(params, reader, params.seed)
    if not noise_free:
        severity = severity + reading_noise(params, reader, list(measured["image_id"]), params.seed)
    rounded = np.clip(np.rint(severity), BEST, WORST)
    for column, key in enumerate(KEYS):
        scores[key] = pd.array(rounded[:, column]).astype("Int64")
    return scores
