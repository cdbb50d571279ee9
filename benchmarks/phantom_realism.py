"""How close the phantom comes to real CT: HU, noise and texture of NDCT/LDCT pairs, side by side.

Command: ``python benchmarks/phantom_realism.py``. Columns are means over slices (least to greatest). Phantom patients
are those in the portal venous phase, as real abdomens mostly are. The real columns are left out where the folder of
``--real`` does not exist. ``--picture`` writes NDCT (left) and LDCT (right) of phantom slices in the displayed window,
and a real pair below each; ``--phantom-only`` leaves the real half out.

Real pairs may be clipped to the displayed window, so everything is clipped to it first.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.io import imsave
from skimage.restoration import denoise_nl_means

from iqagpt.config import load_section
from iqagpt.ct import apply_window
from iqagpt.data.anatomy.patient import contrast_phase, draw_patient
from iqagpt.data.dicom import read_ct
from iqagpt.data.phantom import PhantomParams, make_pair
from iqagpt.data.tissue import body, disc, flat_tissue, smooth, soft_tissue
from iqagpt.readers.measures import NOISE_BAND_MM, SliceReader, robust_sd

WINDOW_HU = (-160.0, 240.0)
#: Lower scales of the octave bands: differences of Gaussians of s and 2 s mm.
OCTAVES_MM = (0.5, 1.0, 2.0, 4.0)
BLOCK_PX = 32
FAT_HU = (-140.0, -60.0)
PERCENTILES = (5, 25, 50, 75, 95)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One pair, clipped to the displayed window; HU."""

    ndct: np.ndarray
    ldct: np.ndarray
    spacing_mm: float


def phantom_samples(params: PhantomParams, patients: int, numbers: list[int]) -> list[Sample]:
    """Pairs of the first patients in the portal venous phase, as the real ones are."""
    samples = []
    chosen = (index for index in itertools.count(1) if contrast_phase(params.seed, index) == "portal venous")
    for index in itertools.islice(chosen, patients):
        patient = draw_patient(params.seed, index)
        for number in numbers:
            pair = make_pair(patient, params, number)
            samples.append(_sample(pair.ndct, pair.ldct, patient.fov_mm / params.matrix))
    return samples


def real_samples(root: Path, thickness: str) -> list[Sample]:
    samples = []
    for full in sorted(root.glob(f"*/full_{thickness}/*.IMA")):
        slices = [read_ct(file) for file in (full, *sorted(full.parent.with_name(f"quarter_{thickness}").glob("*")))]
        samples.append(_sample(slices[0].pixels_hu, slices[1].pixels_hu, slices[0].header.pixel_spacing_mm))
    return samples


def _sample(ndct: np.ndarray, ldct: np.ndarray, spacing_mm: float) -> Sample:
    ndct, ldct = (np.clip(image.astype(np.float32), *WINDOW_HU) for image in (ndct, ldct))
    return Sample(ndct, ldct, spacing_mm)


def measure(sample: Sample) -> dict[str, float]:
    """Return all figures of a pair by name; the names are the table's rows."""
    inside = body(sample.ndct, sample.spacing_mm)
    depth_mm = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * sample.spacing_mm
    return {
        **_histogram(sample, inside),
        **_noise(sample),
        **_spectrum(sample, depth_mm > 10.0),
        **_bands(sample),
        **_gradients(sample, depth_mm > 25.0),
        **_small_structures(sample, depth_mm > 25.0),
        **_kept(sample),
    }


def _histogram(sample: Sample, inside: np.ndarray) -> dict[str, float]:
    values = smooth(sample.ndct, 1.0, sample.spacing_mm)[inside]
    rows = {f"HU in the body, {p} %": float(np.percentile(values, p)) for p in PERCENTILES}
    for name, (low, high) in {"fat -140..-60": FAT_HU, "between -60..20": (-60, 20), "20..90": (20, 90),
                              "90..200": (90, 200)}.items():  # fmt: skip
        rows[f"share of HU {name}"] = float(np.mean((values > low) & (values < high)))
    return rows


def _noise(sample: Sample) -> dict[str, float]:
    """SD in the flattest blocks of soft tissue, and of the difference of the doses there."""
    tissue, _ = soft_tissue(sample.ndct, sample.spacing_mm)
    seen = smooth(sample.ndct + sample.ldct, 3.0, sample.spacing_mm)
    blocks = [place for place in _blocks(tissue.shape, BLOCK_PX, 8) if tissue[place].mean() > 0.97]
    blocks = sorted(blocks, key=lambda place: seen[place].std())[:12]
    if not blocks:
        return {}
    normal, low, difference = (
        float(np.median([image[place].std() for place in blocks]))
        for image in (sample.ndct, sample.ldct, sample.ldct - sample.ndct)
    )
    return {"SD of NDCT in flat blocks, HU": normal, "SD of LDCT in flat blocks, HU": low, "ratio of the two": low / normal,
            "SD of LDCT - NDCT in flat blocks, HU": difference}  # fmt: skip


def _blocks(shape: tuple[int, ...], size: int, step: int) -> list[tuple[slice, slice]]:
    starts = [range(0, length - size + 1, step) for length in shape]
    return [(slice(r, r + size), slice(c, c + size)) for r in starts[0] for c in starts[1]]


def _spectrum(sample: Sample, deep: np.ndarray) -> dict[str, float]:
    """Radial noise power spectrum of LDCT - NDCT over blocks of soft tissue, where nothing is clipped."""
    tissue = deep & (smooth(sample.ndct, 3.0, sample.spacing_mm) > 20.0)
    difference = sample.ldct - sample.ndct
    blocks = [difference[p] for p in _blocks(deep.shape, 2 * BLOCK_PX, 16) if tissue[p].mean() > 0.8]
    if not blocks:
        return {}
    taper = np.outer(np.hanning(2 * BLOCK_PX), np.hanning(2 * BLOCK_PX))
    power = np.mean([np.abs(np.fft.fft2((b - b.mean()) * taper)) ** 2 for b in blocks], axis=0)
    power *= sample.spacing_mm**2 / np.sum(taper**2)
    axis = np.fft.fftfreq(2 * BLOCK_PX, sample.spacing_mm)
    edges = np.arange(0.0, 0.70, 0.025)
    index = np.digitize(np.hypot(axis[:, None], axis[None, :]), edges).ravel()
    total, count = (np.bincount(index, w, len(edges) + 1)[1:] for w in (power.ravel(), np.ones(power.size)))
    radial, centre = total / np.maximum(count, 1), edges + 0.0125
    radial = np.convolve(np.pad(radial, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    peak = int(np.argmax(radial[:-1]))
    last = peak + int(np.argmax(radial[peak:] < 0.1 * radial[peak]))
    return {
        "NPS: peak, 1/mm": float(centre[peak]),
        "NPS: a tenth of the peak at, 1/mm": float(centre[last]),
        "NPS: share of the peak at .05 /mm": float(radial[1:3].mean() / radial[peak]),
    }


def _bands(sample: Sample) -> dict[str, float]:
    """SD in flat tissue by octave; what NDCT has beyond noise is texture, as the doses' difference tells its noise."""
    flat, rows = flat_tissue(sample.ndct, sample.spacing_mm), {}
    for low_mm in OCTAVES_MM:
        normal, low, difference = (
            robust_sd(_band(image, low_mm, 2 * low_mm, sample.spacing_mm)[flat])
            for image in (sample.ndct, sample.ldct, sample.ldct - sample.ndct)
        )
        name = f"flat tissue, {low_mm:g}-{2 * low_mm:g} mm:"
        rows[f"{name} SD of NDCT, HU"] = normal
        rows[f"{name} SD of LDCT, HU"] = low
        rows[f"{name} texture, HU"] = float(np.sqrt(max(normal**2 - difference**2 / 3.0, 0.0)))
    noise = [robust_sd(_band(image, *NOISE_BAND_MM, sample.spacing_mm)[flat]) for image in (sample.ldct, sample.ndct)]
    rows["log noise ratio in the reader's band"] = float(np.log(noise[0] / noise[1]))
    return rows


def _band(image: np.ndarray, fine_mm: float, coarse_mm: float, spacing_mm: float) -> np.ndarray:
    return smooth(image, fine_mm, spacing_mm) - smooth(image, coarse_mm, spacing_mm)


def _gradients(sample: Sample, deep: np.ndarray) -> dict[str, float]:
    tissue, gradient = soft_tissue(sample.ndct, sample.spacing_mm)
    values = gradient[tissue & deep]
    return {f"gradient of soft tissue, {p} %, HU/mm": float(np.percentile(values, p)) for p in (25, 50, 75, 90, 99)}


def _small_structures(sample: Sample, deep: np.ndarray) -> dict[str, float]:
    """Responses of structures 2 to 6 mm wide; noise is damped by weighing both doses as their noise is."""
    spacing_mm = sample.spacing_mm
    image = 0.8 * sample.ndct + 0.2 * sample.ldct
    response, seen = _band(image, 0.9, 2.4, spacing_mm), smooth(image, 3.0, spacing_mm)
    dense = ndimage.binary_dilation(smooth(image, 1.5, spacing_mm) > 210.0, disc(5.0, spacing_mm))
    parenchyma = deep & ~dense & soft_tissue(image, spacing_mm)[0] & (seen > 70.0) & (seen < 150.0)
    fat = deep & ~dense & (seen > -110.0) & (seen < -50.0)
    rows = {}
    for name, place in {"parenchyma": parenchyma, "fat": fat}.items():
        if place.sum() < 500:
            continue
        values = response[place]
        for p in (1, 50, 90, 99):
            rows[f"structures of 2-6 mm in {name}, {p} %, HU"] = float(np.percentile(values, p))
    return rows


def _kept(sample: Sample) -> dict[str, float]:
    """Measure what a stand-in for a denoiser, non-local means of the LDCT, keeps of the reader's vessels and edges."""
    shown = sample.ldct
    reader = SliceReader(
        sample.ndct, np.zeros(shown.shape, np.uint8), spacing_mm=sample.spacing_mm, window_hu=WINDOW_HU
    )
    tissue, _ = soft_tissue(sample.ndct, sample.spacing_mm)
    sigma = robust_sd((sample.ldct - sample.ndct)[tissue]) * 1.15
    options = {"patch_size": 5, "patch_distance": 4, "h": 0.7 * sigma, "sigma": sigma, "fast_mode": True}
    seen = reader.measure(denoise_nl_means(shown, preserve_range=True, **options))
    return {
        "small-vessel contrast kept by non-local means": seen.vessel_contrast,
        "gradient at edges kept by non-local means": seen.edge_gain,
    }


def table(columns: dict[str, list[dict[str, float]]]) -> str:
    """Format as a Markdown table."""
    names = list(dict.fromkeys(name for rows in columns.values() for row in rows for name in row))
    lines = ["| | " + " | ".join(f"{name} (n = {len(rows)})" for name, rows in columns.items()) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for name in names:
        cells = [_cell([row[name] for row in rows if name in row]) for rows in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    size = float(np.mean(np.abs(values)))
    digits = 3 if size < 0.2 else 2 if size < 3 else 1 if size < 30 else 0
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def picture(samples: list[Sample]) -> np.ndarray:
    """NDCT and LDCT side by side, a sample a row, air around the body cut off; 64 grey levels."""
    rows = []
    for sample in samples:
        rows_used = np.flatnonzero(body(sample.ndct, sample.spacing_mm).any(axis=1))
        first = int(np.clip((rows_used[0] + rows_used[-1]) // 2 - 190, 0, sample.ndct.shape[0] - 380))
        halves = [apply_window(image[first : first + 380], WINDOW_HU) for image in (sample.ndct, sample.ldct)]
        rows.append(np.concatenate(halves, axis=1))
    return (np.rint(np.concatenate(rows) * 63) * 255 / 63).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/aapm_layout"), help="AAPM layout")
    parser.add_argument("--seed", type=int, default=31, help="of the phantom")
    parser.add_argument("--patients", type=int, default=5)
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 5], help="slice numbers of each patient")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    parser.add_argument("--rows", type=int, nargs="+", default=[0], help="samples that the picture shows")
    parser.add_argument("--phantom-only", action="store_true", help="no real half in the picture")
    args = parser.parse_args()
    params = dataclasses.replace(load_section("params.yaml", "phantom", PhantomParams), seed=args.seed)
    thin = dataclasses.replace(params, thickness_mm=1.0)
    columns = {"phantom 3 mm": phantom_samples(params, args.patients, args.slices),
               "real 3 mm": real_samples(args.real, "3mm"),
               "phantom 1 mm": phantom_samples(thin, min(args.patients, 2), args.slices[:1]),
               "real 1 mm": real_samples(args.real, "1mm")}  # fmt: skip
    columns = {name: samples for name, samples in columns.items() if samples}
    if args.picture:
        shown = [columns["phantom 3 mm"][row] for row in args.rows]
        if not args.phantom_only and "real 3 mm" in columns:
            real = columns["real 3 mm"]
            shown = [sample for k, ours in enumerate(shown) for sample in (ours, real[-1 - k % len(real)])]
        imsave(args.picture, picture(shown), check_contrast=False)
    print(table({name: [measure(sample) for sample in samples] for name, samples in columns.items()}))


if __name__ == "__main__":
    main()
