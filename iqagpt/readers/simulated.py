"""A simulated reader: measures to scores, with the spread of a human reader.

Each criterion has a severity, a continuous number on the scale of its scores: 1 is the middle of "score 1", 4 the
middle of "score 4". It grows with what `iqagpt.readers.measures` sees. Adding the reader's variability and rounding
gives the score; without variability, rounding gives the best that anyone can predict: the ceiling of every method.

Notes
-----
Not stated in the paper; its scores are a radiologist's. Weights and slacks of noise and small structures follow real
readers (babbu3682/MTD-GAN, blind reader study of abdominal CT): what they call structure is mostly noise left above
the NDCT's, and having a quarter of a log unit less noise than the NDCT is not yet over-smoothing for them. Anchors
are set so that every score occurs.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from iqagpt.artifacts import Artifact
from iqagpt.criteria import BEST, KEYS, WORST
from iqagpt.errors import ArtifactError
from iqagpt.readers.measures import Measures, SliceReader
from iqagpt.seeding import item_rng

REFERENCE = "ndct"
READER = "simulated"
#: Half a score beyond the outer anchors: nothing is better or worse than this.
SEVERITY_RANGE = (BEST - 0.5, WORST + 0.5)

Anchors = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FidelityParams:
    """Subsections ``read.noise`` and ``read.small_structures``, which weigh the same faults differently."""

    smoothing_slack: float
    smoothing_weight: float
    blur_slack: float
    blur_weight: float
    anchors: Anchors

    def __post_init__(self) -> None:
        """Check ranges."""
        _check_weights(self, "smoothing_slack", "smoothing_weight", "blur_slack", "blur_weight")
        _check_anchors("anchors", self.anchors, rising=True)

    def severity(self, noise_ratio: float, gain: float) -> float:
        """Return the severity of noise left, texture smoothed away and structures blurred.

        Parameters
        ----------
        noise_ratio : float
            Natural logarithm of the image's noise over that of a normal-dose image.
        gain : float
            Part of the structures' contrast or gradient that is kept.
        """
        blur = max(0.0, 1 - gain - self.blur_slack)
        smoothed = max(0.0, -noise_ratio - self.smoothing_slack)
        loss = max(0.0, noise_ratio) + self.smoothing_weight * smoothed + self.blur_weight * blur
        return to_severity(loss, self.anchors)


@dataclass(frozen=True, slots=True)
class LesionParams:
    """Subsection ``read.lesion_conspicuity``."""

    size_exponent: float
    cnr_anchors: Anchors
    margin_anchors: Anchors
    margin_weight: float
    blur_weight: float

    def __post_init__(self) -> None:
        """Check ranges."""
        _check_weights(self, "size_exponent", "blur_weight")
        _check_share(self, "margin_weight")
        _check_anchors("cnr_anchors", self.cnr_anchors, rising=False)
        _check_anchors("margin_anchors", self.margin_anchors, rising=False)

    def severity(self, seen: Measures) -> float | None:
        """Return the severity of a lesion poorly seen, of poor margin; None without lesion."""
        if seen.lesion_cnr is None:
            return None
        visible = seen.lesion_cnr * (seen.lesion_diameter_mm / 10.0) ** self.size_exponent
        lesion = to_severity(visible, self.cnr_anchors)
        margin = to_severity(seen.lesion_margin, self.margin_anchors)
        # Less noise than usual makes a lesion stand out more, but margins blurred with all other edges are not well seen.
        blur = self.blur_weight * max(0.0, 1.0 - seen.edge_gain)
        return min((1 - self.margin_weight) * lesion + self.margin_weight * margin + blur, SEVERITY_RANGE[1])


@dataclass(frozen=True, slots=True)
class ReadParams:
    """Section ``read``: a real reader's table, or how the simulated reader scores."""

    table: str
    variability: float
    shared: float
    usual_weight: float
    noise: FidelityParams
    small_structures: FidelityParams
    lesion_conspicuity: LesionParams
    worst_weight: float
    seed: int

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.variability <= 3:
            raise ValueError(f"variability: expected 0 to 3 score steps, got {self.variability}")
        _check_share(self, "shared", "usual_weight", "worst_weight")
        if self.seed < 0:
            raise ValueError(f"seed: expected >= 0, got {self.seed}")

    def severities(self, seen: Measures, usual_noise_hu: float) -> dict[str, float | None]:
        """Return the severity of each criterion; confidence follows from the other three.

        Parameters
        ----------
        seen : Measures
        usual_noise_hu : float
            Noise of the usual NDCT, as `Measures.noise_hu`.
        """
        own, usual = seen.noise_ratio, float(np.log(seen.noise_hu / usual_noise_hu))
        noise_ratio = (1 - self.usual_weight) * own + self.usual_weight * usual
        vessels_kept = (seen.vessel_contrast + seen.vessel_sharpness) / 2
        found = {
            "noise": self.noise.severity(noise_ratio, seen.edge_gain),
            "small_structures": self.small_structures.severity(noise_ratio, vessels_kept),
            "lesion_conspicuity": self.lesion_conspicuity.severity(seen),
        }
        present = [value for value in found.values() if value is not None]
        worst, mean = max(present), float(np.mean(present))
        return found | {"diagnostic_confidence": self.worst_weight * worst + (1 - self.worst_weight) * mean}


def to_severity(value: float, anchors: Anchors) -> float:
    """Interpolate a severity.

    Parameters
    ----------
    value : float
        What was measured.
    anchors : tuple of 4 floats, rising or falling
        Values that mean exactly 1, 2, 3 and 4.

    Returns
    -------
    float
        0.5 to 4.5; the outer pieces go on half a score beyond the outer anchors.
    """
    first, second, third, fourth = anchors
    points = np.array([first - (second - first) / 2, *anchors, fourth + (fourth - third) / 2])
    sign = 1.0 if fourth > first else -1.0
    lower, upper = SEVERITY_RANGE
    return float(np.interp(sign * value, sign * points, [lower, 1, 2, 3, 4, upper]))


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
    seen: dict[int, Measures] = {}
    for _, items in tqdm(manifest.groupby("slice_id"), desc="reading", unit="slice", disable=None):
        first = items.iloc[0]
        reader = SliceReader(
            arrays[REFERENCE][first["row"]],
            masks[first["row"]] if first["has_lesion"] else np.zeros_like(masks[0]),
            spacing_mm=first["pixel_spacing_mm"],
            window_hu=window_hu,
            hyperdense=first["lesion_contrast_hu"] > 0,  # missing without lesion
        )
        seen |= {item.Index: reader.measure(arrays[item.variant][item.row]) for item in items.itertuples()}
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
    """Turn severities into scores.

    Parameters
    ----------
    measured : DataFrame
        From `measure_images`.
    params : ReadParams
    noise_free : bool
        Leave the variability out.

    Returns
    -------
    DataFrame
        The manifest of ``data/scores``: one row per image, scores ``Int64``, 1 (best) to 4 (worst).
    """
    scores = measured[["image_id", "slice_id", "patient_id", "variant"]].assign(reader=READER, score_source="simulated")
    severity = measured[[f"{key}_severity" for key in KEYS]].to_numpy()
    if not noise_free:
        severity = severity + np.stack([_variation(image_id, params) for image_id in measured["image_id"]])
    rounded = np.clip(np.rint(severity), BEST, WORST)
    for column, key in enumerate(KEYS):
        scores[key] = pd.array(rounded[:, column]).astype("Int64")
    return scores


def _variation(image_id: str, params: ReadParams) -> np.ndarray:
    """Draw one reading's deviation per criterion: part of the variance is common to all criteria of the image."""
    draws = item_rng(params.seed, "reading", image_id).standard_normal(1 + len(KEYS))
    mixed = np.sqrt(params.shared) * draws[0] + np.sqrt(1 - params.shared) * draws[1:]
    return params.variability * mixed


def _check_weights(section: object, *names: str) -> None:
    for name in names:
        if getattr(section, name) < 0:
            raise ValueError(f"{name}: expected >= 0, got {getattr(section, name)}")


def _check_share(section: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(section, name) <= 1:
            raise ValueError(f"{name}: expected 0 to 1, got {getattr(section, name)}")


def _check_anchors(name: str, anchors: Anchors, *, rising: bool) -> None:
    steps = np.diff(anchors) if rising else -np.diff(anchors)
    if not (steps > 0).all():
        order = "rising" if rising else "falling"
        raise ValueError(f"{name}: expected four {order} values, for scores 1 to 4, got {list(anchors)}")
