"""CT slices read a second with all checks, against a bare ``pydicom.dcmread(...).pixel_array`` loop; memory by number.

Command: ``python -m benchmarks.ingest_speed``. Slices are 512 x 512, uncompressed, in the file cache. Rounds alternate, so that
a change in the machine's load does not fall on one side only; ratios are of medians. Goals: 0.8 with one process,
1.5 with two, and memory flat from 100 to 5,000 slices.
"""

import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pydicom

from iqagpt.data.dicom import read_ct
from iqagpt.data.dicom_writer import Series, write_slice

#: Files, and how often each is read in a round: long enough that starting a task does not count.
FILES, PASSES, ROUNDS, SIDE = 400, 5, 5, 512
SLICES = FILES * PASSES


def make_series(folder: Path, count: int) -> list[Path]:
    rng = np.random.default_rng(0)
    series = Series("L001", "speed", 1, "speed", 0.75, 3.0, "B30f", "synthetic")
    image = rng.integers(-1000, 1000, size=(SIDE, SIDE), dtype=np.int16)
    paths = [folder / f"{k:05d}.IMA" for k in range(count)]
    for k, path in enumerate(paths):
        write_slice(path, image, series, instance=k + 1, z_mm=3.0 * k, current_ma=200)
    return paths


def bare(paths: list[Path]) -> int:
    return sum(int(pydicom.dcmread(path).pixel_array[0, 0]) for path in paths)


def checked(paths: list[Path]) -> int:
    return sum(int(read_ct(path).pixels_hu[0, 0]) for path in paths)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_mib(count: int, paths: list[Path]) -> float:
    """Peak memory of a fresh process that reads so many slices, the same files again and again."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_read_many, count, paths).result()


def _read_many(count: int, paths: list[Path]) -> float:
    for k in range(count):
        read_ct(paths[k % len(paths)])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        paths = make_series(Path(folder), FILES) * PASSES
        halves = [paths[::2], paths[1::2]]
        ways = {
            "pydicom": lambda: bare(paths),
            "read_ct": lambda: checked(paths),
            "read_ct, 2 processes": lambda: list(pool.map(checked, halves)),
        }
        for work in ways.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, work in ways.items():
                times[name].append(seconds(work))
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, value in medians.items():
            rates = sorted(SLICES / taken for taken in times[name])
            ratio = medians["pydicom"] / value
            print(f"{name:22} {SLICES / value:7.0f} slices/s (range {rates[0]:.0f}-{rates[-1]:.0f}), ratio {ratio:.2f}")
        for count in (100, 1000, 5000):
            print(f"{count:5} slices: peak {peak_mib(count, paths):.0f} MiB")


if __name__ == "__main__":
    main()
