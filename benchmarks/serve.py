"""`iqagpt serve` under parallel requests: errors, equal answers, memory.

Starts the server on loopback, sends every image once alone, then all of them at the same time, again and again, and compares.
A client does what the page does: upload, both requests of the paper, a question, the map of a criterion, closing the image.

Command: ``python benchmarks/serve.py --model models/iqagpt``; images are made unless ``--images`` names a folder.
"""

import argparse
import concurrent.futures
import io
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import requests

QUESTIONS = (
    "Please rate the quality of this image.",
    "Please write a quality assessment report for this image.",
    "How sure are you?",
)


def made_images(count: int) -> list[tuple[str, bytes]]:
    found = []
    rows, columns = np.indices((512, 512)) - 255.5
    body = (rows / 150) ** 2 + (columns / 200) ** 2 < 1
    for seed in range(count):
        rng = np.random.default_rng(seed)
        values = np.where(body, 50 + rng.normal(0, 5 + 2 * seed, body.shape), -1000)
        target = io.BytesIO()
        np.save(target, np.rint(values).astype(np.int16))
        found.append((f"made_{seed}.npy", target.getvalue()))
    return found


def visit(address: str, name: str, content: bytes) -> tuple[dict, list[str], bytes]:
    """One user; returns what must not depend on company."""
    with requests.Session() as session:

        def ask(method: str, path: str, **options: object) -> requests.Response:
            answer = session.request(method, address + path, timeout=600, **options)
            answer.raise_for_status()
            return answer

        result = ask("POST", "api/assess", files={"file": (name, content)}).json()
        image = result.pop("image")
        answers = [ask("POST", "api/chat", json={"image": image, "question": question}).text for question in QUESTIONS]
        heat = ask("GET", f"api/images/{image}/map?criterion=noise").content
        ask("DELETE", f"api/images/{image}")
    return result, answers, heat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/iqagpt")
    parser.add_argument("--images", type=Path, help="folder of DICOM files in place of made images")
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    images = made_images(options.parallel)
    if options.images:
        files = sorted(path for path in options.images.iterdir() if path.is_file() and path.suffix != ".md")
        images = [(file.name, file.read_bytes()) for k in range(options.parallel) for file in [files[k % len(files)]]]
    command = [sys.executable, "-m", "iqagpt.cli", "serve", "--port", "0", "--model", options.model]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", server.stderr.readline())[0]
        measure(address, images, options.rounds, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait(30)


def measure(address: str, images: list[tuple[str, bytes]], rounds: int, process: psutil.Process) -> None:
    begin = time.perf_counter()
    alone = [visit(address, *image) for image in images]
    seconds_alone = time.perf_counter() - begin
    print(f"one at a time: {len(images)} visits in {seconds_alone:.1f} s, {memory(process)} MiB")
    used, times, errors, different = [], [], 0, 0
    for turn in range(rounds):
        begin = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(len(images)) as pool:
            visits = [pool.submit(visit, address, *image) for image in images]
        times.append(time.perf_counter() - begin)
        errors += sum(found.exception() is not None for found in visits)
        pairs = zip(visits, alone, strict=True)
        different += sum(found.exception() is None and found.result() != answer for found, answer in pairs)
        used.append(memory(process))
        print(f"round {turn + 1}: {len(images)} at once in {times[-1]:.1f} s, {used[-1]} MiB, {errors} errors so far")
    print(f"errors {errors}, different answers {different} of {rounds * len(images)} visits")
    print(f"memory after round 1: {used[0]} MiB, after round {rounds}: {used[-1]} MiB")
    print(f"time at once / one at a time: {statistics.median(times) / seconds_alone:.2f}")


def memory(process: psutil.Process) -> int:
    return round(process.memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
