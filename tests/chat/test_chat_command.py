"""``iqagpt chat``: answers on stdout, talk on stderr, exit status."""

import numpy as np
import pytest
from made_results import make_result
from typer.testing import CliRunner

from iqagpt.assessment import assessor
from iqagpt.assessment.scope import Seen
from iqagpt.chat.dialogue_answers import RATE_REQUEST, REPORT_REQUEST, rating
from iqagpt.chat.templates import template_report
from iqagpt.cli import app
from iqagpt.errors import ArtifactError

RESULT = make_result(3, 2, None, 3)


class Model:
    """Finds each slice's first pixel as its noise score."""

    model_name, weights_sha256, window_hu, image_size, seen = "made", "0" * 64, (-160.0, 240.0), None, Seen()

    def assess(self, images_hu, *, pixel_spacing_mm=None):
        return [make_result(int(image[0, 0]), 2, None, 3, ("pixel size unknown",)) for image in images_hu]


@pytest.fixture
def chat(tmp_path, monkeypatch):
    monkeypatch.setattr(assessor, "load_assessor", lambda path: Model())
    volume = np.full((4, 32, 32), 50, np.int16)
    volume[:, 0, 0] = 1, 2, 3, 4
    np.save(tmp_path / "scan.npy", volume)
    return lambda *args, file="scan.npy", **kwargs: CliRunner().invoke(
        app, ["chat", str(tmp_path / file), *args], **kwargs
    )


def test_questions_of_a_pipe_are_answered(chat):
    found = chat(input=f"{RATE_REQUEST}\n\n{REPORT_REQUEST}\n")
    assert found.exit_code == 0
    assert found.stdout == f"{rating(RESULT)}\n\n{template_report(RESULT.scores)}\n\n"
    assert "slice 3 of 4" in found.stderr
    assert "warning: pixel size unknown" in found.stderr


def test_a_follow_up_knows_the_question_before(chat):
    found = chat("--slice", "1", "--ask", "How noisy is it?", "--ask", "And what does that mean?")
    assert found.exit_code == 0
    assert "This slice: 1." in found.stdout


def test_a_question_that_is_none_does_not_end_the_talk(chat):
    found = chat("--ask", "x" * 2000, "--ask", RATE_REQUEST)
    assert found.exit_code == 0
    assert found.stdout.startswith("1. Image noise")
    assert "2000 characters" in found.stderr


def test_a_dead_endpoint_is_told_and_replaced(chat):
    options = ("--endpoint", "http://127.0.0.1:9/v1", "--language-model", "small")
    found = chat(*options, "--ask", "How noisy is it?", "--show-payload")
    assert found.exit_code == 0
    assert found.stdout.startswith("Image noise and structural fidelity: 3")
    assert "[From the template: the language model's answer was not used" in found.stdout
    assert "How noisy is it?" in found.stderr and "scan.npy" not in found.stderr.split("sent:")[1]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("--slice", "5"), 4, "no slice 5"),
        (("--slice", "0"), 2, "--slice"),
        (("--window", "240", "-160"), 2, "LOWER below UPPER"),
        (("--endpoint", "http://example.org/v1", "--language-model", "x"), 2, "--allow-remote"),
        (("--endpoint", "http://127.0.0.1:1/v1"), 2, "together"),
    ],
)
def test_wrong_usage(chat, arguments, status, reason):
    found = chat(*arguments, input="x\n")
    assert found.exit_code == status
    assert reason in found.stderr
    assert found.stdout == ""


def test_an_unusable_image_and_a_missing_model(chat, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("no image")
    assert chat("--ask", "x", file="text.txt").exit_code == 4

    def missing(path):
        raise ArtifactError("no captioner; name one with --model")

    monkeypatch.setattr(assessor, "load_assessor", missing)
    found = chat("--ask", "x")
    assert (found.exit_code, found.stdout) == (5, "")
    assert "--model" in found.stderr
