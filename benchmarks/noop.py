"""``dvc repro`` with nothing to do, against ``dvc version``, as a ratio of medians.

Command: ``python benchmarks/noop.py``. The pipeline must be up to date.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 7


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "Running stage" in done.stdout:
        sys.exit("the pipeline was not up to date; run dvc repro first")
    return time.perf_counter() - begin


def main() -> None:
    commands = {"dvc repro": ["dvc", "repro"], "dvc version": ["dvc", "version"]}
    for command in commands.values():
        seconds(command)
    # Alternating keeps a change in the machine's load from falling on one side only.
    times = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:12} {value:6.2f} s  (range {min(times[name]):.2f}-{max(times[name]):.2f})")
    print(f"ratio        {medians['dvc repro'] / medians['dvc version']:6.2f}  (goal: under 2)")


if __name__ == "__main__":
    main()
