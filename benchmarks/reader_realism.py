"""How well the simulated reader ranks real images as three radiologists did: Spearman, pooled and within sets.

Command: ``python benchmarks/reader_realism.py [--study ../shared/data/reader_study] [--params params.yaml]``

The study's images are 8-bit PNGs of the window [-160, 240] HU; each set holds one slice by 14 methods, its NDCT among them. Their
pixel spacing is not recorded: 0.742 mm is assumed. The reader's continuous loss, before thresholds, and its noise-free scores
are set against the mean radiologist:

* noise against abs(noise_reduction - 7),
* small structures against structure_preservation,
* confidence against the mean of contrast_retention and structure_preservation.

Signs are turned so that 1 is full agreement. Sets 1-3 steered weights and thresholds; sets 4-5 are only reported. Beside
them, weights refitted by grid on all sets but one are judged on that one. The first interval resamples sets, as
patients are; two or three sets make it too narrow. The second resamples sets and methods, independently (a crossed design).
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import rankdata

from iqagpt.config import load_section
from iqagpt.readers.measures import SliceReader
from iqagpt.readers.severity import NoiseParams, StructureParams
from iqagpt.readers.simulated import ReadParams

WINDOW_HU = (-160.0, 240.0)
STEERING, REPORTED = (1, 2, 3), (4, 5)
LIKE_NDCT = 7
ANCHORS = ("LDCT", "NDCT")
CRITERIA = ("noise", "small_structures", "diagnostic_confidence")
GOALS = {"noise": 0.85, "small_structures": 0.60}
#: Tried for the sets left in: few and coarse, as 14 methods and four sets can tell no more apart.
NOISE_GRID = {"smoothing_slack": (0.2, 0.3, 0.4, 0.5, 0.6), "smoothing_weight": (0.3, 0.6, 1.0, 1.5)}
STRUCTURE_GRID = {
    "smoothing_slack": (0.2, 0.3, 0.4, 0.5, 0.6),
    "smoothing_weight": (0.0, 0.1, 0.2, 0.3),
    "unlike_weight": (0.0, 0.2, 0.4, 0.8, 1.6),
    "blur_weight": (0.0, 1.0, 3.0),
}


def load_hu(file: Path) -> np.ndarray:
    """Read a PNG of the study in HU; whole numbers, as in a series."""
    lower, upper = WINDOW_HU
    with Image.open(file) as image:
        if image.mode != "L":
            raise SystemExit(f"{file}: expected an 8-bit grey image, got mode {image.mode}")
        return np.rint(lower + np.asarray(image, dtype=float) * (upper - lower) / 255)


def measure_study(study: Path, spacing_mm: float) -> pd.DataFrame:
    """Measure every image; one row each with ``set``, ``method``, ``seen`` and the usual NDCT's noise."""
    rows = []
    images = pd.read_csv(study / "scores.csv")[["image", "set", "method"]].drop_duplicates()
    for number, items in images.groupby("set"):
        files = {item.method: study / item.image for item in items.itertuples()}
        ndct = load_hu(files["NDCT"])
        reader = SliceReader(ndct, np.zeros(ndct.shape, bool), spacing_mm=spacing_mm, window_hu=WINDOW_HU)
        rows += [{"set": number, "method": name, "seen": reader.measure(load_hu(f))} for name, f in files.items()]
    measured = pd.DataFrame(rows)
    ndct_noise_hu = [seen.noise_hu for seen in measured.loc[measured["method"] == "NDCT", "seen"]]
    return measured.assign(usual_noise_hu=float(np.median(ndct_noise_hu)))


def targets(scores: pd.DataFrame) -> pd.DataFrame:
    """Return what the criteria are held against, higher is worse, by set and method."""
    mean = scores.groupby(["set", "method"])[["noise_reduction", "contrast_retention", "structure_preservation"]].mean()
    return pd.DataFrame({
        "noise": (mean["noise_reduction"] - LIKE_NDCT).abs(),
        "small_structures": -mean["structure_preservation"],
        "diagnostic_confidence": -(mean["contrast_retention"] + mean["structure_preservation"]) / 2,
    })  # fmt: skip


def judge(measured: pd.DataFrame, params: ReadParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return losses before thresholds (confidence: its severity, which has no other), and noise-free scores."""
    losses, scores = [], []
    for row in measured.itertuples():
        found = params.severities(row.seen, row.usual_noise_hu)
        seen = row.seen, params.usual_offset(row.seen, row.usual_noise_hu)
        losses.append((params.noise.loss(*seen), params.small_structures.loss(*seen), found[CRITERIA[2]]))
        scores.append([np.clip(np.rint(found[key]), 1, 4) for key in CRITERIA])
    index = pd.MultiIndex.from_frame(measured[["set", "method"]])
    return pd.DataFrame(losses, index, CRITERIA), pd.DataFrame(scores, index, CRITERIA)


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Return Spearman's correlation with mean ranks for ties; NaN for a constant."""
    left, right = (rankdata(values) - (len(values) + 1) / 2 for values in (left, right))
    norm = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / norm) if norm > 0 else np.nan


def pooled(left: np.ndarray, right: np.ndarray) -> float:
    """Compare two tables of sets x methods at once."""
    return spearman(left.ravel(), right.ravel())


def within(left: np.ndarray, right: np.ndarray) -> float:
    """Compare two tables of sets x methods set by set; the mean, sets with a constant left out."""
    each = [spearman(a, b) for a, b in zip(left, right, strict=True)]
    return float(np.nanmean(each)) if not np.isnan(each).all() else np.nan


Statistic = Callable[[np.ndarray, np.ndarray], float]


def interval(
    statistic: Statistic, left: np.ndarray, right: np.ndarray, *, methods: bool, resamples: int
) -> tuple[float, float]:
    """Return a 95 % bootstrap interval over sets, and over methods if wanted."""
    rng = np.random.default_rng(0)
    sets, count = left.shape
    values = []
    for _ in range(resamples):
        rows = rng.integers(sets, size=sets)
        columns = rng.integers(count, size=count) if methods else np.arange(count)
        values.append(statistic(left[np.ix_(rows, columns)], right[np.ix_(rows, columns)]))
    return tuple(np.nanquantile(values, (0.025, 0.975)))


def tables(left: pd.Series, right: pd.Series, sets: tuple[int, ...], *, anchors: bool) -> Iterator[np.ndarray]:
    """Arrange both as sets x methods."""
    for values in (left, right):
        table = values.unstack("method").loc[list(sets)]  # noqa: PD010
        yield (table if anchors else table.drop(columns=list(ANCHORS))).to_numpy(float)


def grid(section: object, choices: dict[str, tuple[float, ...]]) -> Iterator[object]:
    """Yield the section with every combination of choices."""
    for values in itertools.product(*choices.values()):
        yield dataclasses.replace(section, **dict(zip(choices, values, strict=True)))


def refit(measured: pd.DataFrame, truth: pd.DataFrame, params: ReadParams) -> ReadParams:
    """Choose noise and structure weights that rank these sets best, pooled and within sets."""
    sets = tuple(sorted(measured["set"].unique()))
    seen = [(row.seen, params.usual_offset(row.seen, row.usual_noise_hu)) for row in measured.itertuples()]
    index = pd.MultiIndex.from_frame(measured[["set", "method"]])

    def quality(section: NoiseParams | StructureParams, key: str) -> float:
        losses = pd.Series([section.loss(*each) for each in seen], index)
        pair = tuple(tables(losses, truth[key], sets, anchors=True))
        return pooled(*pair) + within(*pair)

    return dataclasses.replace(
        params,
        noise=max(grid(params.noise, NOISE_GRID), key=lambda each: quality(each, "noise")),
        small_structures=max(
            grid(params.small_structures, STRUCTURE_GRID), key=lambda each: quality(each, "small_structures")
        ),
    )


def leave_one_set_out(measured: pd.DataFrame, truth: pd.DataFrame, params: ReadParams) -> pd.DataFrame:
    """Return the losses of every set under weights chosen on the others."""
    parts = []
    for number in sorted(measured["set"].unique()):
        held = measured["set"] == number
        parts.append(judge(measured[held], refit(measured[~held], truth, params))[0])
    return pd.concat(parts)


def report(title: str, left: pd.DataFrame, right: pd.DataFrame, sets: tuple[int, ...], resamples: int) -> None:
    print(f"\n{title}")
    print(
        f"{'':24}{'pooled':>7}  {'sets':^13}  {'sets, methods':^13}  {'within':>7}  {'sets, methods':^13}  each set; no anchors"
    )
    for key in CRITERIA:
        pair = tuple(tables(left[key], right[key], sets, anchors=True))
        bare = tuple(tables(left[key], right[key], sets, anchors=False))
        narrow = interval(pooled, *pair, methods=False, resamples=resamples)
        wide, inner = (interval(f, *pair, methods=True, resamples=resamples) for f in (pooled, within))
        each = " ".join(f"{spearman(a, b):.2f}" for a, b in zip(*pair, strict=True))
        spans = [f"[{low:5.2f}, {high:4.2f}]" for low, high in (narrow, wide, inner)]
        print(
            f"  {key:22}{pooled(*pair):7.2f}  {spans[0]}  {spans[1]}  {within(*pair):7.2f}  {spans[2]}"
            f"  {each}; {pooled(*bare):.2f} / {within(*bare):.2f}"
        )


def readers_agree(scores: pd.DataFrame) -> dict[str, float]:
    """Return the mean Spearman between two radiologists, pooled, for each criterion."""
    each = [targets(rows) for _, rows in scores.groupby("reader")]
    pairs = list(itertools.combinations(each, 2))
    return {key: float(np.mean([spearman(a[key].to_numpy(), b[key].to_numpy()) for a, b in pairs])) for key in CRITERIA}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=Path("../shared/data/reader_study"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--spacing", type=float, default=0.742, help="pixel spacing in mm; the study does not say")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--steering-only", action="store_true", help="neither read nor report sets 4-5")
    options = parser.parse_args()
    if not (options.study / "scores.csv").is_file():
        raise SystemExit(f"{options.study}: no scores.csv here; name the reader study's folder by --study")
    params = load_section(options.params, "read", ReadParams)
    measured, scores = measure_study(options.study, options.spacing), pd.read_csv(options.study / "scores.csv")
    if options.steering_only:
        measured, scores = (table[table["set"].isin(STEERING)] for table in (measured, scores))
    truth = targets(scores)
    losses, noise_free = judge(measured, params)
    print(f"Spearman with the mean radiologist; pixel spacing {options.spacing} mm assumed; goals {GOALS}")
    print("two radiologists agree:", ", ".join(f"{key} {value:.2f}" for key, value in readers_agree(scores).items()))
    groups = {"sets 1-3 (steering)": STEERING}
    if not options.steering_only:
        groups |= {"sets 4-5 (only reported)": REPORTED, "all five sets": STEERING + REPORTED}
    for name, sets in groups.items():
        report(f"{name}: continuous loss", losses, truth, sets, options.resamples)
        report(f"{name}: noise-free scores, 1 to 4", noise_free, truth, sets, options.resamples)
    held_out = leave_one_set_out(measured, truth, params)
    everything = tuple(sorted(measured["set"].unique()))
    report("leave one set out, weights refitted: continuous loss", held_out, truth, everything, options.resamples)


if __name__ == "__main__":
    main()
