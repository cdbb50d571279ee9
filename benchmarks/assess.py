"""``iqagpt assess``: memory by length of a series, speed beside the bare captioner, cold start beside ``import torch``.

Command: ``python -m benchmarks.assess --model models/iqagpt``. Series are 512 x 512, uncompressed DICOM of noise, in
the file cache. Rounds alternate, so that a change in the machine's load does not fall on one side only; ratios are of medians.
Goals: memory of 2,000 slices that of 200 within 10 %; slices a second at least 0.8 of the bare captioner's, which is given windowed
images in memory; one slice from a cold start under 3 times ``python -c "import torch"``; ``iqagpt --help`` without torch.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from iqagpt.data.dicom_writer import Series, write_slice

SIDE, FILES = 512, 50
SPEED_SLICES, SPEED_ROUNDS, START_ROUNDS = 500, 3, 5
LENGTHS = (200, 2000)

_MEMORY = """
import resource, sys
from iqagpt.cli import app
try:
    app(["assess", *sys.argv[1:]])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
_TORCH_WITH_HELP = """
import sys
from typer.testing import CliRunner
from iqagpt.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print("torch" in sys.modules)
"""


def make_series(folder: Path, count: int) -> Path:
    """Write a series of `count` slices; pixels repeat after `FILES`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    series = Series("L001", "assess", 1, "assess", 0.75, 3.0, "B30f", "synthetic")
    images = [rng.normal(40, 20, (SIDE, SIDE)).astype(np.int16) for _ in range(FILES)]
    for k in range(count):
        write_slice(folder / f"{k:05d}.IMA", images[k % FILES], series, instance=k + 1, z_mm=3.0 * k, current_ma=200)
    return folder


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "iqagpt.cli", "assess", *map(str, words)]


def seconds(words: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def peak_mib(folder: Path, model: Path, output: Path) -> float:
    words = [sys.executable, "-c", _MEMORY, str(folder), "--model", str(model), "-o", str(output), "-q"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(done.stderr.splitlines()[-1]) / 1024


def measure_memory(root: Path, model: Path, lengths: tuple[int, ...]) -> None:
    peaks = [peak_mib(make_series(root / str(n), n), model, root / f"{n}.jsonl") for n in lengths]
    for count, peak in zip(lengths, peaks, strict=True):
        print(f"{count:5} slices: peak {peak:.0f} MiB, ratio {peak / peaks[0]:.3f}", flush=True)


def measure_speed(root: Path, model: Path, slices: int) -> None:
    """In one process, so that neither side pays for imports."""
    import torch

    from iqagpt.assessment.assessor import BATCH_SIZE, load_assessor
    from iqagpt.assessment.inputs import found_inputs
    from iqagpt.assessment.journal import Journal
    from iqagpt.assessment.records import run_record
    from iqagpt.assessment.running import assess_found
    from iqagpt.captioner.captioner import load_captioner
    from iqagpt.captioner.decoding import score_captions
    from iqagpt.captioner.template_decoder import TemplateDecoder
    from iqagpt.device import pick_device

    folder = make_series(root / "speed", slices)
    assessor = load_assessor(model)
    captioner, tokenizer, _ = load_captioner(model, pick_device())
    decoder = TemplateDecoder(captioner, tokenizer)
    images = torch.rand(BATCH_SIZE, 1, SIDE, SIDE, device=pick_device())

    def bare() -> None:
        for begin in range(0, slices, BATCH_SIZE):
            with torch.inference_mode():
                tokens = captioner.encode_image(images[: min(BATCH_SIZE, slices - begin)])
            score_captions(decoder, tokens, "conditional")

    def whole() -> None:
        with found_inputs([folder], None) as found:
            writer = Journal(root / "speed.jsonl", "jsonl", run_record(assessor, None), resume=False)
            assess_found(found, assessor, writer, window_hu=None, progress=lambda count: None)
            writer.finish()
            writer.close()

    times: dict[str, list[float]] = {"bare captioner": [], "assess": []}
    bare()
    for _ in range(SPEED_ROUNDS):
        for name, work in (("bare captioner", bare), ("assess", whole)):
            begin = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        rates = sorted(slices / taken for taken in times[name])
        ratio = medians["bare captioner"] / value
        print(f"{name:15} {slices / value:6.1f} slices/s (range {rates[0]:.1f}-{rates[-1]:.1f}), ratio {ratio:.2f}")


def measure_start(root: Path, model: Path, rounds: int) -> None:
    file = next(make_series(root / "start", 1).iterdir())
    ways = {
        'python -c "import torch"': [sys.executable, "-c", "import torch"],
        "assess, one slice": command(file, "--model", model),
        "iqagpt --help": [sys.executable, "-m", "iqagpt.cli", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, words in ways.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = seconds(words)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if round_:  # the first fills the file cache
                times[name].append(taken)
                cpu[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    first, first_cpu = (statistics.median(next(iter(values.values()))) for values in (times, cpu))
    for name in ways:
        wall, processor = statistics.median(times[name]), statistics.median(cpu[name])
        print(f"{name:25} {wall:.2f} s, ratio {wall / first:.2f}; of processor time {processor / first_cpu:.2f}")
    done = subprocess.run([sys.executable, "-c", _TORCH_WITH_HELP], check=True, capture_output=True, text=True)
    print(f"iqagpt --help imports torch: {done.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/iqagpt"))
    parser.add_argument("--part", choices=("memory", "speed", "start"), action="append")
    parser.add_argument("--lengths", type=int, nargs=2, default=LENGTHS)
    parser.add_argument("--starts", type=int, default=START_ROUNDS)
    parser.add_argument("--slices", type=int, default=SPEED_SLICES)
    options = parser.parse_args()
    parts = options.part or ["start", "speed", "memory"]
    with tempfile.TemporaryDirectory() as folder:
        if "start" in parts:
            measure_start(Path(folder), options.model, options.starts)
        if "speed" in parts:
            measure_speed(Path(folder), options.model, options.slices)
        if "memory" in parts:
            measure_memory(Path(folder), options.model, tuple(options.lengths))


if __name__ == "__main__":
    main()
