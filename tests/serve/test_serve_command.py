"""``iqagpt serve``: what it offers, and that it answers on this machine only."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from noise_server import SIZE, npy, slice_hu
from starlette.testclient import httpx
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact
from iqagpt.assessment import assessor
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.chat.dialogue_answers import RATE_REQUEST
from iqagpt.cli import app
from iqagpt.criteria import caption_to_scores
from iqagpt.serve import command


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere",), "no such file or folder"),
        (("--port", "70000"), "--port"),
        (("--window", "1", "1"), "LOWER below UPPER"),
        (("--max-upload", "0"), "--max-upload"),
        (("--endpoint", "http://example.org/v1", "--language-model", "x"), "--allow-remote"),
    ],
)
def test_wrong_usage(arguments, reason):
    found = CliRunner().invoke(app, ["serve", *arguments])
    assert found.exit_code == 2
    assert reason in found.stderr


def test_a_taken_port_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = CliRunner().invoke(app, ["serve", "--port", str(taken.getsockname()[1])])
    assert found.exit_code == 1
    assert "choose another with --port" in found.stderr


def test_files_and_folders_are_offered(tmp_path, monkeypatch):
    np.save(tmp_path / "b.npy", slice_hu(1))
    np.save(tmp_path / "a.npy", slice_hu(1))
    (tmp_path / "notes.txt").write_text("x")
    seen = []
    monkeypatch.setattr(assessor, "load_assessor", lambda path: type("Model", (), {})())
    monkeypatch.setattr(command, "_run", lambda app, listening: seen.append((app, listening.getsockname())))
    found = CliRunner().invoke(app, ["serve", str(tmp_path), str(tmp_path / "a.npy"), "--port", "0"])
    assert found.exit_code == 0, found.output
    assert "nothing leaves this machine" in found.stderr
    ((_, (host, port)),) = seen
    assert host == "127.0.0.1" and f"http://127.0.0.1:{port}/" in found.stderr


def fitted_folder(folder):
    """A small captioner that was never trained."""
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    encoder, text = EncoderParams("conv", 16, 32, 1, 2), TextParams(32, 1, 1, 2, 64, 0.0)
    model = Captioner(encoder, text, image_size=SIZE, vocabulary_size=tokenizer.size)
    with create_artifact(folder, "captioner") as writer:
        save_captioner(writer, model, tokenizer)
        writer.info["window_hu"] = [-160.0, 240.0]
    return folder


def listening_addresses(pid):
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link.removeprefix("socket:[")[:-1] for link in links if link.startswith("socket:")}
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return [row[1] for row in rows if row[9] in inodes and row[3] == "0A"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="listening sockets are read from Linux's /proc")
def test_the_real_server_with_a_real_model(tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "iqagpt.cli",
        "serve",
        "--port",
        "0",
        "--model",
        fitted_folder(tmp_path / "model"),
    ]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            assert client.get("/api/info").json()["language_model"] is None
            found = client.post("/api/assess", files={"file": ("a.npy", npy(slice_hu(40)))}).json()
            assert caption_to_scores(found["caption"]) == found["scores"]
            assert all(sum(shares.values()) == pytest.approx(1, abs=1e-3) for shares in found["probabilities"].values())
            for query in ("criterion=noise", "word=3"):
                picture = client.get(f"/api/images/{found['image']}/map?{query}")
                assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
            answer = client.post("/api/chat", json={"image": found["image"], "question": RATE_REQUEST}).text
            assert '"source": "template"' in answer.splitlines()[-2]
        assert listening_addresses(process.pid) == [f"0100007F:{port:04X}"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stderr.close()
    assert process.returncode in (0, -signal.SIGINT, 130)
