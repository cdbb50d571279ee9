"""Lower the dose of a DICOM series: any NDCT series in, any fraction of its dose out, as DICOM again.

Only the noise that is missing is added (`iqagpt.data.dose`); how much the series had to begin with is measured on it
(`iqagpt.data.scan_noise`). The command is ``iqagpt dose``.

Notes
-----
Not stated in the paper; there, quarter dose came with the data. Limits: parallel beam, no bow-tie filter, noise independent
between slices even where they overlap, and a field of view that holds the body: what lies outside is taken for air.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid
from tqdm import tqdm

from iqagpt.artifacts import replaced_folder
from iqagpt.ct import AIR_HU, to_hu
from iqagpt.data.derived import Derivation, write_derived
from iqagpt.data.dicom import CTHeader, UnreadableCT, is_dicom, read_elements, read_stored
from iqagpt.data.dose import line_integrals, missing_noise
from iqagpt.data.scan_noise import ELECTRONIC_SD, REFERENCE_VIEWS, NoiseProbe, Scan
from iqagpt.data.source_series import SourceSlice, find_series, nothing_usable
from iqagpt.errors import InputError

log = logging.getLogger(__name__)

#: An image of a body holds air; one whose lowest value is above this was cut off below, or holds no outside.
AIR_LIMIT_HU = -800
#: Slices looked at for noise, and of those the ones measured.
SURVEYED, MEASURED = 25, 5


@dataclasses.dataclass(frozen=True, slots=True)
class DoseOptions:
    """How to lower the dose.

    Attributes
    ----------
    dose : float
        Wanted part of the series' dose, in (0, 1].
    seed : int
        At least 0.
    photons : float or None
        Incident photons on 1 mm^2 of detector (scaled to the isocentre) in one view of 720 at the series' dose, the same
        for every slice; None measures it, and lets it follow the tube current where the files state that.
    kernel_half_per_mm : float or None
        Frequency at which the kernel's apodisation is one half (0.38 for B30f); None measures it.
    electronic_sd : float
        Electronic noise of 1 mm^2 of detector and view, in photons.
    views : int
        Projections over 180 degrees.
    """

    dose: float
    seed: int = 0
    photons: float | None = None
    kernel_half_per_mm: float | None = None
    electronic_sd: float = ELECTRONIC_SD
    views: int = REFERENCE_VIEWS

    def __post_init__(self) -> None:
        if not 0.0 < self.dose <= 1.0:
            raise ValueError(f"dose: expected above 0 and at most 1, got {self.dose:g}")
        limits = {
            "seed": (0, 2**63 - 1), "photons": (1e2, 1e9), "kernel_half_per_mm": (0.1, 5.0),
            "electronic_sd": (0.0, 1e4), "views": (30, 5000),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value:g}")


@dataclasses.dataclass(frozen=True, slots=True)
class DoseReport:
    """What was done.

    Attributes
    ----------
    written : int
        Slices.
    skipped : tuple of UnreadableCT
        Files that could not be used, sorted by path.
    scan : Scan or None
        Photons (of the middle slice) and kernel used; None at dose 1, which needs neither.
    measured : int
        Slices that they were measured on; 0 where both were given.
    clipped : (below, above)
        Pixels whose new value fell outside what the file's bits can hold, and was clipped. Air does so below on scanners,
        too.
    """

    written: int
    skipped: tuple[UnreadableCT, ...]
    scan: Scan | None
    measured: int
    clipped: tuple[int, int]

    def warnings(self) -> list[str]:
        """Return a line for every skipped file, and one on clipped pixels."""
        lines = [f"skipped: {error}" for error in self.skipped]
        if any(self.clipped):
            lines.append(
                "warning: {} pixel values below and {} above what the files' bits hold were clipped (noise in air is, on "
                "scanners, too)".format(*self.clipped)
            )
        return lines

    def summary(self, output: Path) -> str:
        """Return what was written, and with which scan."""
        lines = []
        if self.scan:
            how = f"measured on {self.measured} slice(s)" if self.measured else "as given"
            lines.append(
                f"photons {self.scan.photons:.3g} a mm2 and view, kernel half at {self.scan.kernel_half_per_mm:.2f} /mm: {how}"
            )
        lines.append(f"{self.written} slice(s) written to {output}, {len(self.skipped)} file(s) skipped")
        return "\n".join(lines)


def check_output(source: Path, output: Path, *, force: bool) -> None:
    """Refuse an output folder whose present content would be lost by mistake.

    Raises
    ------
    InputError
        If the folder holds anything and `force` is not given; with `force`, if it holds anything but DICOM files, or if
        input and output lie in each other.
    """
    here, there = source.resolve(), output.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InputError(f"{output}: input and output lie in each other; choose a folder elsewhere")
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder")
    present = sorted(path for path in output.rglob("*") if not path.is_dir())
    if present and not force:
        raise InputError(
            f"{output}: holds {len(present)} file(s) already; choose another folder, or --force to replace it"
        )
    strange = [path for path in present if not is_dicom(path)]
    if strange:
        raise InputError(
            f"{output}: holds {strange[0].name}, no DICOM file, and is not replaced; choose another folder"
        )


def simulate_series(source: Path, output: Path, options: DoseOptions, *, workers: int | None = None) -> DoseReport:
    """Write a series at a lower dose.

    Parameters
    ----------
    source : Path
        A DICOM file, or a folder that holds one series, at any depth.
    output : Path
        Folder to write, complete or not at all; replaced if it exists. Files keep their names.
    options : DoseOptions
    workers : int, optional
        Slices at a time; by default one a core. The result does not depend on it.

    Returns
    -------
    DoseReport

    Raises
    ------
    InputError
        If there is no usable slice, if there are several series, or if the noise cannot be measured.

    Notes
    -----
    The result is decided by files and options: equal slices and options give equal bytes, whatever else lies in
    the folder and however many run at a time.
    """
    slices, skipped = find_series(source)
    # Validation is a global of pydicom: set once here, threads that set it again inside restore what they found.
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        scans, measured = _scans(source, slices, options)
        work = functools.partial(_lower, options=options, derivation=_derivation(slices, options))
        written, clipped = 0, np.zeros(2, int)
        with replaced_folder(output) as folder:
            for outcome in _in_order(functools.partial(work, folder=folder), slices, scans, workers):
                if isinstance(outcome, UnreadableCT):
                    skipped.append(outcome)
                else:
                    written, clipped = written + 1, clipped + outcome
            if not written:
                raise InputError(nothing_usable(source, skipped))
    log.info("%d slices of %s written at %g of the dose", written, source, options.dose)
    scan = None if options.dose == 1.0 else scans[len(scans) // 2]
    return DoseReport(written, tuple(sorted(skipped, key=str)), scan, measured, tuple(map(int, clipped)))


def _scans(source: Path, slices: list[SourceSlice], options: DoseOptions) -> tuple[list[Scan], int]:
    """Settle photons and kernel of every slice; also return on how many slices they were measured."""
    given = Scan(options.photons or 1.0, options.kernel_half_per_mm or 1.0, options.electronic_sd)
    if options.dose == 1.0 or (options.photons and options.kernel_half_per_mm):
        return [given] * len(slices), 0
    probed = _probe(source, slices, options)
    kernel = options.kernel_half_per_mm or float(np.median([probe.kernel_half_per_mm() for _, probe in probed]))
    if options.photons:
        return [Scan(options.photons, kernel, options.electronic_sd)] * len(slices), len(probed)
    currents = [item.current_ma for item in slices]
    follow = None not in currents
    rates = [
        probe.photons(kernel, options.electronic_sd) / (item.current_ma if follow else 1) for item, probe in probed
    ]
    rate = float(np.median(rates))
    return [Scan(rate * (current if follow else 1), kernel, options.electronic_sd) for current in currents], len(probed)


def _probe(source: Path, slices: list[SourceSlice], options: DoseOptions) -> list[tuple[SourceSlice, NoiseProbe]]:
    usable, problems = [], []
    for index in _spread(len(slices), SURVEYED):
        item = slices[index]
        try:
            header, stored = read_stored(item.path)
            image_hu = _image(item.path, header, stored)
        except UnreadableCT as error:
            problems.append(error)
            continue
        probe = NoiseProbe(
            square(image_hu),
            pixel_spacing_mm=header.pixel_spacing_mm,
            thickness_mm=item.thickness_mm,
            seed=options.seed,
            views=options.views,
        )
        if probe.usable:
            usable.append((item, probe))
    if usable:
        return [usable[k] for k in _spread(len(usable), MEASURED)]
    if len(problems) == len(slices):
        raise InputError(nothing_usable(source, problems))
    raise InputError(
        f"{source}: no slice has flat soft tissue with noise in it, to measure photons and kernel on; give both "
        "(--photons, --kernel)"
    )


def _spread(count: int, most: int) -> list[int]:
    """Return the indices of at most `most` of `count` items, evenly spread."""
    return sorted({int((k + 0.5) * count / most) for k in range(most)}) if count > most else list(range(count))


def square(image_hu: np.ndarray) -> np.ndarray:
    """Return the image with air added below and right until it is square with an even side, as projection needs."""
    rows, columns = image_hu.shape
    side = max(rows, columns) + max(rows, columns) % 2
    return np.pad(image_hu, ((0, side - rows), (0, side - columns)), constant_values=AIR_HU)


def _derivation(slices: list[SourceSlice], options: DoseOptions) -> Derivation:
    first = min(slices, key=lambda item: item.name)
    series = first.series_uid or hashlib.sha256(first.path.read_bytes()).hexdigest()
    percent = f"{100.0 * options.dose:g}"
    return Derivation(
        series_uid=generate_uid(entropy_srcs=["iqagpt-dose", repr(dataclasses.astuple(options)), series]),
        label=f"simulated {percent}% dose",
        description=f"Noise inserted to simulate {percent}% of the source's dose (iqagpt dose, seed {options.seed})",
        dose=options.dose,
    )


def _in_order(
    work: Callable[[SourceSlice, Scan], UnreadableCT | np.ndarray],
    slices: list[SourceSlice],
    scans: list[Scan],
    workers: int | None,
) -> Iterator[UnreadableCT | np.ndarray]:
    # Threads, because transforms and random numbers leave Python's lock.
    pool = concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        yield from tqdm(pool.map(work, slices, scans), total=len(slices), desc="dose", unit="slice", disable=None)
    finally:
        pool.shutdown(cancel_futures=True)


def _lower(
    item: SourceSlice, scan: Scan, *, options: DoseOptions, derivation: Derivation, folder: Path
) -> UnreadableCT | np.ndarray:
    """Write one slice; return how many pixels were clipped below and above, or why there is no slice."""
    try:
        header, stored = read_stored(item.path)
        image_hu = _image(item.path, header, stored)
        digest = hashlib.sha256(stored.tobytes()).digest()
        lowered, clipped = stored, np.zeros(2, int)
        if options.dose < 1.0:
            rng = np.random.default_rng([options.seed, round(1e9 * options.dose), *digest[:16]])
            noise_hu = _noise(image_hu, item, scan, options, rng)
            lowered, clipped = add_noise(stored, noise_hu, header)
        key = [derivation.series_uid, item.name, item.instance_uid, digest.hex()]
        file = folder / item.name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_derived(file, read_elements(item.path), lowered, derivation, instance_uid=generate_uid(entropy_srcs=key))
    except UnreadableCT as error:
        return error
    return clipped


def _image(path: Path, header: CTHeader, stored: np.ndarray) -> np.ndarray:
    image_hu = to_hu(stored, header.slope, header.intercept, header.padding)
    seen = image_hu[_inside(image_hu.shape) & (stored != header.padding if header.padding is not None else True)]
    lowest = int(seen.min()) if seen.size else AIR_HU
    if lowest > AIR_LIMIT_HU:
        reason = f"has no air: its lowest value is {lowest} HU (clipped to a display window, or cut out of the body?)"
        raise UnreadableCT(path, reason, "line integrals would be wrong: give the image with its full range of HU")
    return image_hu


def _noise(
    image_hu: np.ndarray, item: SourceSlice, scan: Scan, options: DoseOptions, rng: np.random.Generator
) -> np.ndarray:
    spacing_mm = item.header.pixel_spacing_mm
    noise_hu = missing_noise(
        line_integrals(square(image_hu), pixel_spacing_mm=spacing_mm, views=options.views),
        doses=(1.0, options.dose),
        pixel_spacing_mm=spacing_mm,
        rng=rng,
        kernel_half_per_mm=scan.kernel_half_per_mm,
        **scan.rays(pixel_spacing_mm=spacing_mm, thickness_mm=item.thickness_mm, views=options.views),
    )[: image_hu.shape[0], : image_hu.shape[1]]
    # Scanners reconstruct a circle and leave what is outside empty.
    noise_hu[(image_hu <= AIR_HU) & ~_inside(image_hu.shape)] = 0.0
    return noise_hu


def add_noise(stored: np.ndarray, noise_hu: np.ndarray, header: CTHeader) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to stored values.

    Returns
    -------
    ndarray, dtype of `stored`
        Within what the file's bits can hold; padding stays padding.
    ndarray, (2,), int
        Number of pixels clipped below and above.
    """
    low, high = (-(1 << header.bits_stored - 1), (1 << header.bits_stored - 1) - 1)
    if not header.signed:
        low, high = 0, (1 << header.bits_stored) - 1
    wanted = np.rint(stored + noise_hu / header.slope)
    if header.padding is not None:
        wanted[stored == header.padding] = header.padding
    clipped = np.array([np.count_nonzero(wanted < low), np.count_nonzero(wanted > high)])
    return np.clip(wanted, low, high).astype(stored.dtype), clipped


def _inside(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in shape)
    return np.hypot(rows[:, None], columns) <= min(shape) / 2
