"""GPT-4V's place: what is sent, to whom, how often, and what becomes of any answer."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from iqagpt.artifacts import create_artifact, read_table
from iqagpt.baselines.endpoint_answers import MOST_FAILURES
from iqagpt.baselines.gpt4v import Params, choose_examples, fit_predict, instructions, png
from iqagpt.baselines.predictions import prediction_table
from iqagpt.criteria import CRITERIA, KEYS, scores_to_caption
from iqagpt.errors import ArtifactError, InputError, ParamsError
from iqagpt.scored_images import open_scored_images
from tests.chat.endpoint import Endpoint, completion

GOOD = scores_to_caption(dict.fromkeys(KEYS, 2) | {"lesion_conspicuity": None})
PARAMS = Params(
    allow_images=True, endpoint="http://127.0.0.1:9/v1", model="stub", examples=0, image_side=64, timeout_s=5.0, max_retries=0,
    parallel=2, max_calls=1000, deadline_s=60.0, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Start an endpoint on loopback that answers with a text, or whatever a function of the request gives."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("IQAGPT_ANSWERS", str(tmp_path / "answers"))
    started = []

    def start(answer):
        endpoint = Endpoint(answer if callable(answer) else lambda request: completion(answer))
        started.append(endpoint)
        return endpoint

    yield start
    for endpoint in started:
        endpoint.close()


def ask(endpoint, images, tmp_path, **changes):
    settings = replace(PARAMS, endpoint=endpoint.url, **changes)
    with create_artifact(tmp_path / "gpt4v", "baseline") as writer:
        scores = fit_predict(settings, images, None, writer)
    return prediction_table(images.held_out(), scores, "gpt4v")


def picture_in(message):
    url = message["content"][1]["image_url"]["url"]
    return base64.b64decode(url.removeprefix("data:image/png;base64,"))


def test_each_image_is_asked_about_and_read(serve, images, tmp_path):
    endpoint = serve(f"  {GOOD}\n")
    table = ask(endpoint, images, tmp_path)
    assert table["image_id"].tolist() == images.held_out().table["image_id"].tolist()
    assert set(table["caption"]) == {GOOD} and set(table["unparsed"]) == {""}
    assert set(table["noise"]) == {2} and table["lesion_conspicuity"].isna().all()
    assert len(endpoint.requests) == len(table)


def test_what_is_sent_is_windowed_pixels_and_nothing_that_names_the_image(serve, images, tmp_path):
    endpoint = serve(GOOD)
    ask(endpoint, images, tmp_path)
    held_out = images.held_out()
    sent = set()
    for request in endpoint.requests:
        assert set(request) == {"model", "messages"}
        data = picture_in(request["messages"][-1])
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.mode, picture.info) == ("PNG", "L", {})
        assert chunks(data) == {b"IHDR", b"IDAT", b"IEND"}
        sent.add(data)
        text = json.dumps(request["messages"])
        for column in ("image_id", "slice_id", "patient_id", "variant"):
            assert not [name for name in held_out.table[column].unique() if f'"{name}' in text or f"{name}_" in text]
    assert sent == {png(held_out.pixels_hu(i), held_out.window_hu, 64) for i in range(len(held_out))}


def chunks(data):
    found, at = set(), 8
    while at < len(data):
        found.add(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def test_window_and_size_of_a_picture():
    hu = np.array([[-1000, -160], [40, 2000]], np.int16).repeat(40, 0).repeat(40, 1)
    with Image.open(io.BytesIO(png(hu, (-160.0, 240.0), 64))) as picture:
        values = np.asarray(picture)
    assert values.shape == (64, 64)
    assert (values[0, 0], values[0, -1], values[-1, -1]) == (0, 0, 255) and abs(int(values[-1, 0]) - 128) <= 1


def test_examples_are_of_the_training_split_and_differ(serve, images, tmp_path):
    endpoint = serve(GOOD)
    ask(endpoint, images, tmp_path, examples=4)
    train = images.subset("train")
    chosen = choose_examples(train, 4, 1)
    assert sorted(chosen.table["noise"]) == [1, 2, 3, 4]
    assert set(chosen.table["image_id"]) <= set(train.table["image_id"])
    for request in endpoint.requests:
        roles = [message["role"] for message in request["messages"]]
        assert roles == ["system", *["user", "assistant"] * 4, "user"]
        assert [m["content"] for m in request["messages"] if m["role"] == "assistant"] == chosen.table[
            "caption"
        ].tolist()
        pictures = [picture_in(message) for message in request["messages"][1:-1:2]]
        assert pictures == [png(chosen.pixels_hu(i), chosen.window_hu, 64) for i in range(4)]
    assert read_table(tmp_path / "gpt4v/examples.csv")["caption"].tolist() == chosen.table["caption"].tolist()


def test_more_examples_than_images(images):
    with pytest.raises(ArtifactError, match="999, and split 'train' has 32 images"):
        choose_examples(images.subset("train"), 999, 1)


def test_a_second_run_asks_nothing(serve, images, tmp_path):
    endpoint = serve(GOOD)
    first = ask(endpoint, images, tmp_path)
    asked = len(endpoint.requests)
    assert ask(endpoint, images, tmp_path).equals(first)
    assert len(endpoint.requests) == asked
    ask(endpoint, images, tmp_path, model="another")
    assert len(endpoint.requests) == 2 * asked
    for file in (tmp_path / "answers").iterdir():
        assert set(json.loads(file.read_text(encoding="utf-8"))) == {"kind", "text"}, "no image, no key"


def test_a_damaged_answer_is_asked_for_again(serve, images, tmp_path):
    endpoint = serve(GOOD)
    ask(endpoint, images, tmp_path)
    asked = len(endpoint.requests)
    next((tmp_path / "answers").iterdir()).write_text("{", encoding="utf-8")
    ask(endpoint, images, tmp_path)
    assert len(endpoint.requests) == asked + 1


@pytest.mark.parametrize(
    ("answer", "caption", "unparsed"),
    [
        ("I'm sorry, I can't assist with that.", "I'm sorry, I can't assist with that.", ";".join(KEYS)),
        ("", "", ";".join(KEYS)),
        (GOOD.replace("no lesion", "none"), GOOD.replace("no lesion", "none"), "lesion_conspicuity"),
        (f"{GOOD}\n{GOOD}", f"{GOOD} {GOOD}", "small_structures;lesion_conspicuity;diagnostic_confidence"),
    ],
)
def test_text_that_does_not_state_the_scores(answer, caption, unparsed, serve, images, tmp_path):
    table = ask(serve(answer), images, tmp_path)
    assert set(table["caption"]) == {caption}
    assert set(table["unparsed"]) == {unparsed}


def refusal(request):
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return 200, "application/json", json.dumps(body).encode()


def filtered(request):
    return 400, "application/json", b'{"error": {"code": "content_filter", "message": "filtered"}}'


@pytest.mark.parametrize(
    ("answer", "caption"),
    [(refusal, "I will not."), (filtered, ""), (lambda request: completion(None, "content_filter"), "")],
)
def test_refusals_are_counted_and_kept(answer, caption, serve, images, tmp_path):
    endpoint = serve(answer)
    table = ask(endpoint, images, tmp_path)
    assert set(table["caption"]) == {caption} and set(table["unparsed"]) == {";".join(KEYS)}
    assert set(read_table(tmp_path / "gpt4v/answers.csv")["kind"]) == {"refusal"}
    asked = len(endpoint.requests)
    ask(endpoint, images, tmp_path)
    assert len(endpoint.requests) == asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda request: (401, "application/json", b'{"error": {"message": "bad key secret-key"}}'),
            r"refused \(.*401.*[*]{3}",
        ),
        (lambda request: (404, "application/json", b"{}"), "refused"),
        (
            lambda request: (400, "application/json", b'{"error": {"message": "no images"}}'),
            "does the model see images",
        ),
        (lambda request: (500, "application/json", b"{}"), "in a row got no answer"),
        (lambda request: (200, "text/html", b"<html>hello</html>"), "in a row got no answer"),
        (lambda request: completion(None), "the answer holds no text"),
    ],
)
def test_an_endpoint_that_does_not_serve_stops_the_stage_soon(answer, message, serve, images, tmp_path):
    endpoint = serve(answer)
    with pytest.raises(InputError, match=message) as caught:
        ask(endpoint, images, tmp_path)
    assert "secret-key" not in str(caught.value)
    assert len(endpoint.requests) <= MOST_FAILURES + PARAMS.parallel
    assert not (tmp_path / "gpt4v").exists()


def test_single_failures_end_the_run_but_nothing_is_asked_twice(serve, images, tmp_path):
    def second_fails(request):
        return (500, "application/json", b"{}") if len(endpoint.requests) == 2 else completion(GOOD)

    endpoint = serve(second_fails)
    with pytest.raises(InputError, match=r"15 of 16 images have an answer .*1 failed.*run again"):
        ask(endpoint, images, tmp_path)
    ask(endpoint, images, tmp_path)
    assert len(endpoint.requests) == len(images.held_out()) + 1


def test_a_call_budget_is_kept_and_continued(serve, images, tmp_path):
    endpoint = serve(GOOD)
    with pytest.raises(InputError, match=r"10 of 16 images have an answer .*max_calls: 10"):
        ask(endpoint, images, tmp_path, max_calls=10)
    assert len(endpoint.requests) == 10
    ask(endpoint, images, tmp_path, max_calls=10)
    assert len(endpoint.requests) == 16


def test_slow_answers_and_the_deadline(serve, images, tmp_path):
    with pytest.raises(InputError, match=r"deadline_s: 0\.5 s are over"):
        ask(serve(lambda request: None), images, tmp_path, timeout_s=0.3, deadline_s=0.5)


def test_an_address_where_nobody_listens(images, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("IQAGPT_ANSWERS", "off")
    with create_artifact(tmp_path / "m", "baseline") as writer, pytest.raises(InputError, match="no answer is kept"):
        fit_predict(PARAMS, images, None, writer)


def test_a_missing_key(images, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with create_artifact(tmp_path / "m", "baseline") as writer, pytest.raises(InputError, match="OPENAI_API_KEY"):
        fit_predict(PARAMS, images, None, writer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allow_images": False}, "allow_images: false, so no image may leave this machine"),
        ({"endpoint": "none"}, "endpoint: not named"),
        ({"model": "none"}, "model: not named"),
    ],
)
def test_nothing_is_sent_without_the_users_word(changes, message, serve, images, tmp_path):
    endpoint = serve(GOOD)
    with create_artifact(tmp_path / "m", "baseline") as writer, pytest.raises(ParamsError) as caught:
        fit_predict(replace(PARAMS, **{"endpoint": endpoint.url, **changes}), images, None, writer)
    assert message in str(caught.value)
    assert endpoint.requests == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": "example.org"}, "endpoint: expected a URL"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"parallel": 0}, "parallel"),
        ({"examples": -1}, "examples"),
    ],
)
def test_wrong_params(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PARAMS, **changes)


def test_the_prompt_gives_every_word_of_every_scale():
    text = instructions()
    for criterion in CRITERIA:
        assert all(f'"{words}"' in text for words in criterion.descriptions)
        assert f"{criterion.title}: DESCRIPTION" in text
    assert '"no lesion"' in text
