"""Low-contrast lesions in some slices, the same HU added to NDCT and LDCT (stage ``simulate``).

Lesions are slightly irregular ellipses, darker or brighter than what is around them, whose edge is blurred as by the
scanner. They lie inside one organ or inside homogeneous soft tissue, and never reach bone, gas or fat. They go in before
denoising, so that all eight qualities of a slice share the lesion. Source: paper 2.1 ("randomly simulated some lesions
in NDCT and corresponding LDCT"). Not stated in the paper; shape, size and contrast, which follow reader studies with
inserted hypodense liver lesions: Dilger 2019 (5 to 9 mm, -21 HU), Hsieh 2025 (9 to 18 mm, 23 to 68 HU), Yan 2025 (5 to
15 mm, -30 to -70 HU). Hyperdense lesions mirror them.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.ct import STORED_RANGE_HU
from iqagpt.data.tissue import foreign, homogeneous_area, smooth
from iqagpt.seeding import item_rng

log = logging.getLogger(__name__)

#: Organs that may be asked for, and their numbers in an organ map (TotalSegmentator v2).
ORGANS = {"spleen": 1, "kidney_right": 2, "kidney_left": 3, "liver": 5, "pancreas": 7}
LESION_COLUMNS = ["lesion_row_px", "lesion_col_px", "lesion_diameter_mm", "lesion_contrast_hu"]
#: Smaller diameters that are tried, in this order, where the drawn one has no room.
SHRINK = (1.0, 0.8, 0.64, 0.5, 0.4)
#: The blurred edge ends where less than this part of the contrast is left, `TAIL_SIGMAS` outside the outline.
TAIL, TAIL_SIGMAS = 0.03, 1.9


@dataclass(frozen=True, slots=True)
class SimulateParams:
    """Section ``simulate``: how many lesions, where, and how they look."""

    fraction: float
    organ: str
    diameter_mm: tuple[float, float]
    contrast_hu: tuple[float, float]
    hyperdense: float
    edge_sigma_mm: tuple[float, float]
    elongation: float
    irregularity: float
    margin_mm: float
    seed: int

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction: expected 0 to 1, got {self.fraction}")
        if self.organ not in ORGANS:
            raise ValueError(f"organ: expected one of {', '.join(ORGANS)}, got {self.organ!r}")
        for name in ("diameter_mm", "contrast_hu", "edge_sigma_mm"):
            lower, upper = getattr(self, name)
            if lower > upper:
                raise ValueError(f"{name}: expected [lower, upper], got [{lower}, {upper}]")
        if not 2 <= self.diameter_mm[0] <= self.diameter_mm[1] <= 60:
            raise ValueError(f"diameter_mm: expected 2 to 60 mm, got {list(self.diameter_mm)}")
        if self.contrast_hu[1] >= 0:
            raise ValueError(f"contrast_hu: expected negative values (hypodense), got {list(self.contrast_hu)}")
        if not 0 <= self.hyperdense <= 1:
            raise ValueError(f"hyperdense: expected 0 to 1, got {self.hyperdense}")
        if self.edge_sigma_mm[0] <= 0:
            raise ValueError(f"edge_sigma_mm: expected values > 0, got {list(self.edge_sigma_mm)}")
        if not 1 <= self.elongation <= 2:
            raise ValueError(f"elongation: expected 1 (round) to 2, got {self.elongation}")
        if not 0 <= self.irregularity <= 0.3:
            raise ValueError(f"irregularity: expected 0 to 0.3, got {self.irregularity}")
        if self.margin_mm < 0:
            raise ValueError(f"margin_mm: expected >= 0, got {self.margin_mm}")
        if self.seed < 0:
            raise ValueError(f"seed: expected >= 0, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Outline:
    """Shape of a lesion relative to a disc of equal area: an ellipse with three weak waves around it."""

    elongation: float
    angle: float
    amplitudes: tuple[float, ...]
    phases: tuple[float, ...]

    def radius(self, theta: np.ndarray) -> np.ndarray:
        """Return the distance of the outline from the centre, in radii of the disc, at angles `theta` (radians)."""
        axis = np.sqrt(self.elongation)
        turned = theta - self.angle
        ellipse = 1 / np.hypot(np.cos(turned) / axis, np.sin(turned) * axis)
        waves = [
            a * np.cos(k * turned + p)
            for k, (a, p) in enumerate(zip(self.amplitudes, self.phases, strict=True), start=3)
        ]
        return ellipse * (1 + np.sum(waves, axis=0))

    @property
    def reach(self) -> float:
        """Largest radius, in radii of the disc."""
        return float(self.radius(np.linspace(0, 2 * np.pi, 360)).max())


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion: centre, equivalent diameter, contrast (below 0: hypodense), blur of the edge, outline."""

    row_px: int
    col_px: int
    diameter_mm: float
    contrast_hu: float
    edge_sigma_mm: float
    outline: Outline


def simulate_lesions(pairs: Artifact, writer: ArtifactWriter, params: SimulateParams) -> None:
    """Copy the pairs with lesions added to some slices.

    Each patient gets its share of lesions (the fraction of its slices, rounded up or down by chance so that it holds
    on average), in slices taken in random order as long as the organ has room.

    Parameters
    ----------
    pairs : Artifact
        ``data/pairs``.
    writer : ArtifactWriter
        Receives ``ndct``, ``ldct``, ``lesion_mask``, the manifest with lesion columns and ``lesions.csv``.
    params : SimulateParams
    """
    manifest = pairs.manifest
    lesions = _choose_lesions(pairs, manifest, params)
    source = {name: pairs.array(name) for name in ("ndct", "ldct")}
    target = {name: writer.array(name, array.shape, np.int16) for name, array in source.items()}
    masks = writer.array("lesion_mask", source["ndct"].shape, np.uint8)
    for item in manifest.itertuples():
        lesion = lesions.get(item.slice_id)
        if lesion is None:
            added, masks[item.row] = np.int32(0), 0
        else:
            added, masks[item.row] = draw_lesion(lesion, masks.shape[1:], item.pixel_spacing_mm)
        for name, array in source.items():
            target[name][item.row] = np.clip(array[item.row] + added, *STORED_RANGE_HU).astype(np.int16)
    writer.info |= {name: pairs.info[name] for name in ("window_hu", "data_source")}
    table = _lesion_table(manifest, lesions)
    shown = table.set_index("slice_id")[LESION_COLUMNS].reindex(manifest["slice_id"]).reset_index(drop=True)
    writer.manifest(pd.concat([manifest.assign(has_lesion=shown.iloc[:, 0].notna().astype(int)), shown], axis=1))
    writer.table("lesions", table)
    log.info("lesions in %d of %d slices", len(lesions), len(manifest))


def _choose_lesions(pairs: Artifact, manifest: pd.DataFrame, params: SimulateParams) -> dict[str, Lesion]:
    ndct, organs = pairs.array("ndct"), pairs.array("organs")
    lesions: dict[str, Lesion] = {}
    for patient_id, items in tqdm(manifest.groupby("patient_id"), desc="lesions", unit="patient", disable=None):
        chance = item_rng(params.seed, "patient", str(patient_id)).random()
        wanted = int(np.floor(params.fraction * len(items) + chance))
        order = [item_rng(params.seed, "order", slice_id).random() for slice_id in items["slice_id"]]
        placed = 0
        for item in items.iloc[np.argsort(order)].itertuples():
            if placed == wanted:
                break
            organ_map = organs[item.row] if item.has_organ_map else None
            lesion = choose_lesion(ndct[item.row], organ_map, item.pixel_spacing_mm, params, item.slice_id)
            if lesion is None:
                log.info("%s: no room for a lesion in the %s", item.slice_id, params.organ)
                continue
            lesions[item.slice_id] = lesion
            placed += 1
        if placed < wanted:
            log.warning("%s: %d lesions instead of %d, no further slice has room", patient_id, placed, wanted)
    return lesions


def choose_lesion(
    ndct_hu: np.ndarray,
    organ_map: np.ndarray | None,
    spacing_mm: float,
    params: SimulateParams,
    slice_id: str,
) -> Lesion | None:
    """Draw a lesion for one slice and find a place for it.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), int16, HU
    organ_map : ndarray, (H, W), uint8, or None
        TotalSegmentator v2 class numbers; None: use homogeneous soft tissue.
    spacing_mm : float
    params : SimulateParams
    slice_id : str
        Names the random stream.

    Returns
    -------
    Lesion or None
        None where neither the drawn diameter nor a smaller one of the range fits.
    """
    rng = item_rng(params.seed, "lesion", slice_id)
    drawn_mm = rng.uniform(*params.diameter_mm)
    contrast_hu, sigma_mm = rng.uniform(*params.contrast_hu), rng.uniform(*params.edge_sigma_mm)
    # A stream of its own: the share of bright lesions changes the sign of some and nothing else.
    if item_rng(params.seed, "hyperdense", slice_id).random() < params.hyperdense:
        contrast_hu = -contrast_hu
    outline = _draw_outline(rng, params)
    region = homogeneous_area(ndct_hu, spacing_mm) if organ_map is None else organ_map == ORGANS[params.organ]
    wrong = foreign(ndct_hu, spacing_mm)
    margin_mm = max(params.margin_mm, tail_mm(sigma_mm, spacing_mm))
    for shrink in SHRINK:
        diameter_mm = max(drawn_mm * shrink, params.diameter_mm[0])
        depth_mm = diameter_mm / 2 * outline.reach + margin_mm
        place = choose_place(ndct_hu, region, depth_mm, spacing_mm, rng)
        if place is not None and not _is_clear(place, wrong, depth_mm / spacing_mm):
            place = choose_place(ndct_hu, region & ~wrong, depth_mm, spacing_mm, rng)
        if place is not None:
            return Lesion(*place, diameter_mm, contrast_hu, sigma_mm, outline)
    return None


def tail_mm(edge_sigma_mm: float, spacing_mm: float) -> float:
    """Return how far outside its outline a lesion changes the image: the blur, and half a pixel's width as blur."""
    return float(TAIL_SIGMAS * np.hypot(edge_sigma_mm, spacing_mm / np.sqrt(12)))


def choose_place(
    ndct_hu: np.ndarray, region: np.ndarray, depth_mm: float, spacing_mm: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Choose a centre deep enough inside a region, in its quieter half: away from large vessels.

    Parameters
    ----------
    ndct_hu : ndarray, (H, W), HU
    region : ndarray, (H, W), bool
    depth_mm : float
        Least distance from the region's edge.
    spacing_mm : float
    rng : numpy.random.Generator

    Returns
    -------
    (row, col) or None
        None where the region is nowhere deep enough.
    """
    inside = np.pad(region, 1)  # the image's edge ends the region
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1] * spacing_mm
    places = depth >= depth_mm
    if not places.any():
        return None
    blurred = smooth(ndct_hu, 1.5, spacing_mm)
    deviation = np.where(region, np.square(blurred - np.median(blurred[places])), 0)
    clutter = smooth(deviation, depth_mm / 2, spacing_mm)
    quiet = np.argwhere(places & (clutter <= np.median(clutter[places])))
    row, col = quiet[rng.integers(len(quiet))]
    return int(row), int(col)


def draw_lesion(
    lesion: Lesion, shape: tuple[int, int], spacing_mm: float, *, oversampling: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a lesion into an empty image.

    Parameters
    ----------
    lesion : Lesion
    shape : (H, W)
    spacing_mm : float
    oversampling : int
        Sub-pixels a side, so that the outline is not jagged.

    Returns
    -------
    added_hu : ndarray, (H, W), int32, HU
        What to add to both doses.
    mask : ndarray, (H, W), uint8
        1 where at least half a pixel lies inside the unblurred outline.
    """
    reach_mm = lesion.diameter_mm / 2 * lesion.outline.reach + 4 * lesion.edge_sigma_mm
    half = int(np.ceil(reach_mm / spacing_mm)) + 1
    step = (np.arange((2 * half + 1) * oversampling) + 0.5) / oversampling - (half + 0.5)
    rows, cols = np.meshgrid(step * spacing_mm, step * spacing_mm, indexing="ij")
    inside = np.hypot(rows, cols) <= lesion.diameter_mm / 2 * lesion.outline.radius(np.arctan2(rows, cols))
    side = 2 * half + 1
    cover = inside.reshape(side, oversampling, side, oversampling).mean(axis=(1, 3))
    profile = ndimage.gaussian_filter(cover, lesion.edge_sigma_mm / spacing_mm)
    profile[profile < TAIL] = 0
    return (
        _paste(np.rint(lesion.contrast_hu * profile).astype(np.int32), lesion, shape),
        _paste((cover >= 0.5).astype(np.uint8), lesion, shape),
    )


def _is_clear(place: tuple[int, int], wrong: np.ndarray, reach_px: float) -> bool:
    rows, cols = np.nonzero(wrong)
    return bool(np.hypot(rows - place[0], cols - place[1]).min(initial=np.inf) >= reach_px)


def _draw_outline(rng: np.random.Generator, params: SimulateParams) -> Outline:
    waves = 3
    amplitudes = rng.uniform(-1, 1, waves) * params.irregularity / np.sqrt(waves)
    return Outline(
        elongation=rng.uniform(1, params.elongation),
        angle=rng.uniform(0, np.pi),
        amplitudes=tuple(amplitudes.tolist()),
        phases=tuple(rng.uniform(0, 2 * np.pi, waves).tolist()),
    )


def _paste(crop: np.ndarray, lesion: Lesion, shape: tuple[int, int]) -> np.ndarray:
    half = crop.shape[0] // 2
    padded = np.zeros((shape[0] + 2 * half, shape[1] + 2 * half), crop.dtype)
    padded[lesion.row_px : lesion.row_px + crop.shape[0], lesion.col_px : lesion.col_px + crop.shape[1]] = crop
    return padded[half : half + shape[0], half : half + shape[1]]


def _lesion_table(manifest: pd.DataFrame, lesions: dict[str, Lesion]) -> pd.DataFrame:
    columns = ["slice_id", "patient_id", "row", *LESION_COLUMNS, "edge_sigma_mm", "elongation"]
    records = []
    for item in manifest.itertuples():
        if item.slice_id in lesions:
            lesion = lesions[item.slice_id]
            position = (lesion.row_px, lesion.col_px, lesion.diameter_mm, lesion.contrast_hu)
            shape = (lesion.edge_sigma_mm, lesion.outline.elongation)
            records.append((item.slice_id, item.patient_id, item.row, *position, *shape))
    return pd.DataFrame(records, columns=columns)
