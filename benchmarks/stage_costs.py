"""Wall time and peak memory of every stage, each forced once in the current workspace.

Command: ``python benchmarks/stage_costs.py [STAGE ...]``. The pipeline must have run before (``dvc repro``). Memory is the largest
sum of resident set sizes over a stage's processes, polled ten times a second.
"""

import argparse
import subprocess
import sys
import time

import psutil


def stage_names() -> list[str]:
    listing = subprocess.run(["dvc", "stage", "list", "--name-only"], capture_output=True, text=True, check=True)
    return listing.stdout.split()


def tree_memory_mib(root: psutil.Process) -> float:
    """Sum the memory of the stage's processes, without DVC's own."""
    total = 0
    for process in root.children(recursive=True):
        try:
            if "stages." in " ".join(process.cmdline()) or "multiprocessing" in " ".join(process.cmdline()):
                total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def measure(stage: str) -> tuple[float, float]:
    """Return seconds and MiB of one forced stage, DVC's start-up and hashing included in the time."""
    begin = time.perf_counter()
    process = psutil.Popen(
        ["dvc", "repro", "--force", "--single-item", stage], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_memory_mib(process))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"dvc repro --force --single-item {stage} failed with exit code {process.returncode}")
    return time.perf_counter() - begin, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", help="stages to measure; all of them by default")
    stages = parser.parse_args().stages or stage_names()
    print(f"{psutil.cpu_count(logical=False)} physical cores, {psutil.cpu_count()} logical")
    print(f"{'stage':32} {'seconds':>8} {'peak MiB':>9}")
    total = 0.0
    for stage in stages:
        seconds, peak = measure(stage)
        total += seconds
        print(f"{stage:32} {seconds:8.1f} {peak:9.0f}", flush=True)
    print(f"{'sum':32} {total:8.1f}")


if __name__ == "__main__":
    main()
