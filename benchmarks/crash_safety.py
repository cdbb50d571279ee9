"""Signals in every stage at random times; the next ``dvc repro`` must end in the hashes of an undisturbed run.

Command: ``python benchmarks/crash_safety.py --kill 3 --interrupt 1 --terminate 1``. Works on a clone of the last commit with
presets/smoke.yaml. In a round each stage is hit once, at a random moment of its run, then the pipeline runs to its end. After
that a full disk, a read-only folder (both need the right to mount) and two runs at once: one clear error, then the same end.
"""

import argparse
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OUTPUTS = ("data", "models", "predictions", "results", "reports", "figures", "page", "metrics")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}


def clone(target: Path) -> Path:
    """Clone the repository, ready to run the smoke preset from nothing."""
    subprocess.run(["git", "clone", "--quiet", ".", str(target)], check=True)
    shutil.copy(target / "presets/smoke.yaml", target / "params.yaml")
    return forget(target)


def forget(root: Path) -> Path:
    """Remove everything that a run leaves behind."""
    for name in (*OUTPUTS, ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "dvc.lock").unlink(missing_ok=True)
    return root


def state(root: Path) -> dict[str, str]:
    """Hash the lock and every output file."""
    files = [root / "dvc.lock", *(file for name in OUTPUTS for file in (root / name).rglob("*") if file.is_file())]
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def start(root: Path) -> subprocess.Popen[str]:
    """Start ``dvc repro`` in a process group of its own."""
    folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ["PATH"]]),
        "PYTHONPATH": str(root),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site"),
    }
    return subprocess.Popen(
        ["dvc", "repro"], cwd=root, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell starts background jobs deaf to SIGINT, which they would hand on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def run(root: Path, hit: str | None = None, after: float = 0.0, number: int = 0) -> tuple[dict[str, float], str, int]:
    """Run the pipeline; send a signal some seconds after a stage began. Return when stages began, output, exit code."""
    process, begun, lines = start(root), {}, []
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"Running stage '([^']+)'", line):
            begun[found[1]] = time.monotonic()
            if found[1] == hit:
                time.sleep(after)
                os.killpg(process.pid, number)
                break
    rest = process.stdout.read()
    code = process.wait()
    begun["end"] = time.monotonic()
    return begun, "".join(lines) + rest, code


def durations(begun: dict[str, float]) -> dict[str, float]:
    """Return how long each stage took."""
    names = list(begun)
    return {name: begun[after] - begun[name] for name, after in itertools.pairwise(names)}


def disturb(root: Path, lengths: dict[str, float], number: int, expected: dict[str, str], rng: random.Random) -> int:
    """Hit each stage once, finish, compare; return how many signals were sent."""
    forget(root)
    sent = 0
    for stage, length in lengths.items():
        begun, output, code = run(root, stage, rng.uniform(0, length), number)
        if stage in begun:
            sent += 1
        elif code != 0:
            sys.exit(f"after a signal, dvc repro did not continue before {stage}:\n{output[-3000:]}")
    ends_as(root, expected, signal.Signals(number).name)
    return sent


def fails_clearly(root: Path, what: str) -> None:
    """Run the pipeline, which must fail with a message and without a traceback."""
    _, output, code = run(root)
    if code == 0 or "Traceback" in output:
        sys.exit(f"{what}: expected one clear error, got exit code {code}:\n{output[-3000:]}")
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    print(f"  {what}: {errors[0][:160] if errors else output.splitlines()[-1]}", flush=True)


def ends_as(root: Path, expected: dict[str, str], what: str) -> None:
    """Run the pipeline to its end, which must be that of an undisturbed run."""
    _, output, code = run(root)
    if code != 0:
        sys.exit(f"{what}: dvc repro did not recover:\n{output[-3000:]}")
    found = state(root)
    different = sorted(name for name in found | expected if found.get(name) != expected.get(name))
    if different:
        sys.exit(f"{what}: differs from an undisturbed run: {different[:10]}")


def mounted_over(root: Path, folder: str, options: str, what: str, expected: dict[str, str]) -> None:
    """Put a small or read-only file system in the place of a folder, run, take it away, run again."""
    forget(root)
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print(f"  {what}: not tried, no right to mount", flush=True)
        return
    try:
        fails_clearly(root, what)
    finally:
        subprocess.run(["umount", place], check=True)
    ends_as(root, expected, what)


def at_once(root: Path, expected: dict[str, str]) -> None:
    """Start the pipeline twice: one run works, the other is told to wait, nothing is lost."""
    forget(root)
    first = start(root)
    time.sleep(5)
    fails_clearly(root, "two runs at once")
    first.communicate()
    if first.returncode != 0:
        sys.exit("two runs at once: the first one failed")
    ends_as(root, expected, "two runs at once")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, rounds in (("kill", 3), ("interrupt", 1), ("terminate", 1)):
        parser.add_argument(f"--{name}", type=int, default=rounds, help=f"rounds with SIG{SIGNALS[name].name[3:]}")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = clone(Path(folder) / "iqagpt")
        begun, output, code = run(root)
        if code != 0:
            sys.exit(f"the undisturbed run failed:\n{output[-3000:]}")
        lengths, expected = durations(begun), state(root)
        print(f"undisturbed: {len(lengths)} stages, {len(expected)} files, {sum(lengths.values()):.0f} s", flush=True)
        for name, number in SIGNALS.items():
            sent = sum(disturb(root, lengths, number, expected, rng) for _ in range(getattr(arguments, name)))
            print(f"{number.name:8} {sent:3} sent, one in each stage and round; every end equals the undisturbed run")

        mounted_over(root, "data", "size=1m", "full disk", expected)
        mounted_over(root, "models", "size=200k", "full disk for models", expected)
        mounted_over(root, "predictions", "ro", "read-only folder", expected)
        at_once(root, expected)


if __name__ == "__main__":
    main()
