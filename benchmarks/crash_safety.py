"""Signals in every stage at random times; the next ``dvc repro`` must end in the hashes of an undisturbed run.

Command: ``python benchmarks/crash_safety.py --kill 50 --interrupt 20 --terminate 20 --at-lock 6 --results crash.jsonl``. Works on a
clone of the last commit with presets/smoke.yaml. First a read-only folder, two runs at once and a full disk (the first and the last
need the right to mount): one clear error, then the undisturbed end. Then rounds: each runs the pipeline from nothing, is hit by a
few signals at random moments of stages drawn at random, with ``dvc repro`` again after each, and is compared at its end. Where a
signal has cut off dvc.lock, ``iqagpt check`` mends it, as the README says. ``--results`` gathers over several calls.
"""

import argparse
import collections
import contextlib
import hashlib
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OUTPUTS = ("data", "models", "predictions", "results", "reports", "figures", "page", "metrics")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
ANY_MOMENT, AT_LOCK = "any moment", "dvc.lock is written"
#: What DVC says of a lock file that was cut off.
REFUSED = re.compile(r"dvc\.lock' (?:is invalid|validation failed)|unable to read: '[^']*dvc\.lock'")


def clone(target: Path) -> Path:
    """Clone the repository, ready to run the smoke preset from nothing."""
    subprocess.run(["git", "clone", "--quiet", ".", str(target)], check=True)
    shutil.copy(target / "presets/smoke.yaml", target / "params.yaml")
    return forget(target)


def forget(root: Path) -> Path:
    """Remove everything that a run leaves behind."""
    for name in (*OUTPUTS, ".dvc/cache", ".dvc/tmp", ".iqagpt"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("dvc.lock", "dvc.lock.damaged"):
        (root / name).unlink(missing_ok=True)
    return root


def state(root: Path) -> dict[str, str]:
    """Hash the lock and every output file."""
    files = [root / "dvc.lock", *(file for name in OUTPUTS for file in (root / name).rglob("*") if file.is_file())]
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def environment(root: Path) -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ["PATH"]]),
        "PYTHONPATH": str(root),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site"),
    }


class Run:
    """One ``dvc repro`` in a process group of its own."""

    def __init__(self, root: Path) -> None:
        self.lock, self._log = root / "dvc.lock", tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            ["dvc", "repro"], cwd=root, env=environment(root), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            # A shell starts background jobs deaf to SIGINT, which they would hand on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    @property
    def output(self) -> str:
        """Everything said so far."""
        self._log.seek(0)
        return self._log.read()

    def follow(self, until: Callable[[dict[str, float]], bool] = lambda begun: False) -> dict[str, float]:
        """Wait for the end, or for something that stages begun so far decide; return when each began."""
        begun: dict[str, float] = {}
        while (running := self.process.poll() is None) and not until(begun):
            for stage in re.findall(r"^Running stage '([^']+)'", self.output, re.MULTILINE):
                begun.setdefault(stage, time.monotonic())
            time.sleep(0.02)
        return begun if running else begun | {"end": time.monotonic()}

    def send(self, number: int) -> bool:
        """Send a signal to the whole group, as a terminal does, and wait; return whether it came before the end."""
        sent = self.process.poll() is None
        if sent:
            os.killpg(self.process.pid, number)
        self.process.wait()
        return sent

    def wait_for_lock(self, part: float) -> None:
        """Wait until DVC has written a part of the lock file, or has ended."""
        before = self.lock.stat().st_size if self.lock.exists() else math.inf
        begun = False
        while self.process.poll() is None:
            size = self.lock.stat().st_size if self.lock.exists() else math.inf
            begun = begun or size < before
            if begun and size >= part * (before if before < math.inf else 0):
                return
            time.sleep(0.0002)


def run(root: Path) -> tuple[dict[str, float], str, int]:
    """Run the pipeline to its end; return when stages began, what was said, and the exit code."""
    started = Run(root)
    begun = started.follow()
    return begun, started.output, started.process.returncode


def durations(begun: dict[str, float]) -> dict[str, float]:
    """Return how long each stage took."""
    return {name: begun[after] - begun[name] for name, after in itertools.pairwise(begun)}


def mend(root: Path, what: str) -> None:
    """Do what the README says about a lock file that DVC refuses."""
    done = subprocess.run(["iqagpt", "check"], cwd=root, env=environment(root), text=True, capture_output=True)
    if done.returncode != 0 or "mended" not in done.stderr:
        sys.exit(f"{what}: iqagpt check did not mend dvc.lock:\n{done.stdout}{done.stderr}")
    print(f"  {what}: {done.stderr.strip()}", flush=True)


def hit(root: Path, stage: str, length: float, kind: str, when: str, rng: random.Random) -> dict[str, Any] | None:
    """Send one signal in a stage; return what to record, or None if the stage or the run was over before."""
    started = Run(root)
    started.follow(until=lambda begun: stage in begun)
    after = rng.uniform(0, length)
    if when == AT_LOCK:
        started.wait_for_lock(part=rng.random())
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.process.wait(after)
    sent = started.send(SIGNALS[kind])
    if not sent and started.process.returncode != 0:
        sys.exit(f"dvc repro did not continue before {stage}:\n{started.output[-3000:]}")
    return {"signal": SIGNALS[kind].name, "when": when, "stage": stage} if sent else None


def disturb(
    root: Path, plan: list[tuple[str, str]], lengths: dict[str, float], expected: dict[str, str], rng: random.Random
) -> list[dict[str, Any]]:
    """Run the pipeline from nothing, disturbed by a few signals; return them after the end was found equal."""
    forget(root)
    stages = sorted(rng.sample(list(lengths), len(plan)), key=list(lengths).index)
    records = []
    for stage, (kind, when) in zip(stages, plan, strict=True):
        if record := hit(root, stage, lengths[stage], kind, when, rng):
            record["mended"] = refused(root)
            if record["mended"]:
                mend(root, f"{record['signal']} in {stage}")
            records.append(record)
    ends_as(root, expected, ", ".join(f"{record['signal']} in {record['stage']}" for record in records))
    return records


def refused(root: Path) -> bool:
    """Tell whether DVC refuses the lock file."""
    asked = subprocess.run(["dvc", "stage", "list"], cwd=root, env=environment(root), text=True, capture_output=True)
    if asked.returncode != 0 and not REFUSED.search(asked.stderr):
        sys.exit(f"after a signal, dvc stage list failed:\n{asked.stderr}")
    return asked.returncode != 0


def fails_clearly(root: Path, what: str) -> None:
    """Run the pipeline, which must fail with a message and without a traceback."""
    _, output, code = run(root)
    if code == 0 or "Traceback" in output:
        sys.exit(f"{what}: expected one clear error, got exit code {code}:\n{output[-3000:]}")
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    print(f"  {what}: {errors[0][:240] if errors else output.splitlines()[-1]}", flush=True)


def ends_as(root: Path, expected: dict[str, str], what: str) -> None:
    """Run the pipeline to its end, which must be that of an undisturbed run."""
    _, output, code = run(root)
    if code != 0:
        sys.exit(f"{what}: dvc repro did not recover:\n{output[-3000:]}")
    found = state(root)
    different = sorted(name for name in found | expected if found.get(name) != expected.get(name))
    if different:
        sys.exit(f"{what}: differs from an undisturbed run: {different[:10]}")


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Put a small or read-only file system in the place of a folder."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def mounted_over(root: Path, folder: str, options: str, what: str, expected: dict[str, str]) -> None:
    """Run with an unusable folder, then again with the usual one."""
    try:
        with mounted(root / folder, options):
            fails_clearly(root, what)
    except (OSError, subprocess.CalledProcessError):
        print(f"  {what}: not tried, no right to mount", flush=True)
        return
    ends_as(root, expected, what)


def at_once(root: Path, expected: dict[str, str]) -> None:
    """Start the pipeline twice: one run works, the other is told to wait, nothing is lost."""
    forget(root)
    first = Run(root)
    first.follow(until=lambda begun: bool(begun))
    fails_clearly(root, "two runs at once")
    first.follow()
    if first.process.returncode != 0:
        sys.exit(f"two runs at once: the first one failed:\n{first.output[-3000:]}")
    ends_as(root, expected, "two runs at once")


def table(records: list[dict[str, Any]]) -> str:
    """Render what was sent; only rounds whose end was equal are recorded."""
    rows = ["| signal | at | sent | different stages hit | dvc.lock mended | ends equal |", "|---|---|---|---|---|---|"]
    groups = collections.defaultdict(list)
    for record in records:
        groups[record["signal"], record["when"]].append(record)
    for (name, when), group in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0])):
        stages, mended = {record["stage"] for record in group}, sum(record["mended"] for record in group)
        rows.append(f"| {name} | {when} | {len(group)} | {len(stages)} | {mended} | {len(group)} |")
    return "\n".join(rows)


def wanted(arguments: argparse.Namespace, records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the signals still to be sent, as kind and moment."""
    sent = collections.Counter((record["signal"], record["when"]) for record in records)
    plan = []
    for kind, number in SIGNALS.items():
        for when, count in ((ANY_MOMENT, getattr(arguments, kind)), (AT_LOCK, arguments.at_lock)):
            plan += [(kind, when)] * max(0, count - sent[number.name, when])
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, count in (("kill", 50), ("interrupt", 20), ("terminate", 20)):
        parser.add_argument(
            f"--{name}", type=int, default=count, help=f"{SIGNALS[name].name} to send at random moments"
        )
    parser.add_argument("--at-lock", type=int, default=6, help="of each signal, to send while DVC writes dvc.lock")
    parser.add_argument("--per-round", type=int, default=8, help="signals between two comparisons")
    parser.add_argument("--results", type=Path, help="file to append to; signals in it are not sent again")
    parser.add_argument("--signals-only", action="store_true", help="no full disk, read-only folder, two runs at once")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    earlier = arguments.results.read_text().splitlines() if arguments.results and arguments.results.exists() else []
    records = [json.loads(line) for line in earlier]
    rng = random.Random(f"{arguments.seed} {len(records)}")
    with tempfile.TemporaryDirectory() as folder:
        root = clone(Path(folder) / "iqagpt")
        begun, output, code = run(root)
        if code != 0:
            sys.exit(f"the undisturbed run failed:\n{output[-3000:]}")
        lengths, expected = durations(begun), state(root)
        print(f"undisturbed: {len(lengths)} stages, {len(expected)} files, {sum(lengths.values()):.0f} s", flush=True)
        if not arguments.signals_only:
            at_once(root, expected)
            for part, options, what in (
                ("predictions", "ro", "read-only folder for predictions"),
                ("metrics", "ro", "read-only folder for metrics"),
                ("models", "size=200k", "full disk for models"),
                ("data", "size=1m", "full disk for data"),
            ):
                forget(root)
                mounted_over(root, part, options, what, expected)
        while plan := wanted(arguments, records):
            rng.shuffle(plan)
            sent = disturb(root, plan[: min(arguments.per_round, len(lengths))], lengths, expected, rng)
            records += sent
            if arguments.results:
                with arguments.results.open("a") as file:
                    file.writelines(f"{json.dumps(record)}\n" for record in sent)
            print(f"round: {len(sent)} sent, end equal; {len(wanted(arguments, records))} to go", flush=True)
        print(table(records))


if __name__ == "__main__":
    main()
