"""The HTTP API: what it answers, what it refuses, and that nothing from outside gets through."""

import base64
import gzip
import io
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made_results import TemplateWriter, make_result
from noise_server import ADDRESS, SIZE, NoiseModel, npy, slice_hu
from PIL import Image

from iqagpt.chat.dialogue_answers import RATE_REQUEST, REPORT_REQUEST, rating
from iqagpt.chat.templates import template_report
from iqagpt.criteria import KEYS
from iqagpt.serve.app import Limits, Parts, create_app
from iqagpt.serve.guard import LARGEST_BODY

SCAN = Path(__file__).resolve().parents[2] / "../shared/data/dicom_series"


def assess(client, content=None, name="slice.npy", **fields):
    content = npy(slice_hu(40)) if content is None else content
    return client.post("/api/assess", files={"file": (name, content)}, data=fields)


def opened(client, *args, **kwargs):
    answer = assess(client, *args, **kwargs)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(answer):
    found = [re.fullmatch(r"event: (\w+)\ndata: (.*)", part) for part in answer.text.strip().split("\n\n")]
    return [(match[1], json.loads(match[2])) for match in found]


def chat(client, result, question, **more):
    answer = client.post("/api/chat", json={"image": result["image"], "question": question, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *texts, (last, done) = events(answer)
    assert last == "done" and {name for name, _ in texts} == {"text"}
    return "".join(data["text"] for _, data in texts), done


def test_an_upload_is_assessed(client):
    found = opened(client)
    assert (found["rows"], found["columns"], found["slices"], found["slice"]) == (SIZE, SIZE, 1, 0)
    assert found["scores"] == {
        "noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 3
    }  # fmt: skip
    assert found["descriptions"]["noise"] == "sub-optimal, for limited diagnostic information only"
    assert found["probabilities"]["noise"]["3"] == 0.7
    assert found["warnings"] == ["pixel spacing unknown"]
    assert found["model"]["weights_sha256"] == "0" * 64
    assert found["direction"] == "Scores run from 1 (best) to 4 (worst)."


def test_both_requests_of_the_paper(client):
    found = opened(client)
    assert chat(client, found, RATE_REQUEST)[0] == rating(make_result(3, 2, None, 3))
    text, done = chat(client, found, REPORT_REQUEST)
    assert text == template_report(found["scores"])
    assert done == {"source": "template", "findings": [], "mark": ""}


def test_a_follow_up_is_sent_with_the_questions_before(client):
    found = opened(client)
    text, _ = chat(client, found, "And what does that mean?", previous=["How noisy is it?"])
    assert text.startswith("Image noise and structural fidelity: 1 is better than usual")
    assert text.splitlines()[-2].endswith("This slice: 3.")


def test_the_slices_of_a_volume(client):
    volume = np.stack([slice_hu(level) for level in (5, 20, 40, 80)])
    found = opened(client, npy(volume))
    assert (found["slices"], found["slice"], found["scores"]["noise"]) == (4, 2, 3)
    for index in range(4):
        other = client.get(f"/api/images/{found['image']}", params={"slice": index}).json()
        assert other["scores"]["noise"] == index + 1
        pixels = client.get(f"/api/images/{found['image']}/pixels", params={"slice": index}).content
        assert (np.frombuffer(pixels, "<i2").reshape(SIZE, SIZE) == volume[index]).all()
    assert opened(client, npy(volume), slice="0")["scores"]["noise"] == 1
    assert client.get(f"/api/images/{found['image']}", params={"slice": 4}).json() == {
        "error": "there is no slice 4; this image has slices 0 to 3"
    }


def test_a_slice_is_assessed_once(client, parts):
    found = opened(client)
    for _ in range(3):
        chat(client, found, RATE_REQUEST)
    assert parts.model.calls == 1


def test_maps_of_criteria_and_words(client):
    image = opened(client)["image"]
    for query, place in (("criterion=noise", 0), (f"criterion={KEYS[3]}", 3), ("word=5", 5)):
        answer = client.get(f"/api/images/{image}/map?{query}")
        assert answer.headers["content-type"] == "image/png"
        values = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert values.flat[place] == 255 and values.sum() == 255
    for query, reason in (("", "either"), ("criterion=x", "no map"), ("word=99", "no word"), ("word=-1", "no word")):
        answer = client.get(f"/api/images/{image}/map?{query}")
        assert answer.status_code == 422 and reason in answer.json()["error"]


def test_a_report_on_bare_scores(client):
    scores = {"noise": 1, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 1}
    answer = client.post("/api/report", json={"scores": scores}).json()
    assert (answer["text"], answer["generator"]) == (template_report(scores), "template")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scores": {"noise": 1}},
        {"scores": {"noise": 5, "small_structures": 2, "lesion_conspicuity": 1, "diagnostic_confidence": 1}},
        {"scores": {"noise": None, "small_structures": 2, "lesion_conspicuity": 1, "diagnostic_confidence": 1}},
        {"scores": {"<b>": 1, "noise": 1}},
        {"image": "x", "scores": {}},
        {"image": "x", "more": 1},
    ],
)
def test_reports_on_anything_else_are_refused(client, body):
    answer = client.post("/api/report", json=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "empty.dcm", "empty.dcm"),
        (b"not an image", "text.txt", "not an image of a known kind"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 64, "broken.dcm", "broken.dcm"),
        (b"\x93NUMPY\x01\x00", "cut.npy", "cut.npy"),
        (npy(np.zeros((4, 4), complex)), "complex.npy", "complex"),
        (npy(np.full((SIZE, SIZE), np.nan)), "nan.npy", "NaN"),
        (npy(np.zeros((41, SIZE, SIZE), np.int8)), "long.npy", "at most"),
        (b"\x1f\x8b\x08" + b"junk" * 9, "junk.nii.gz", "junk.nii.gz"),
        (gzip.compress(b"\0" * (5 * 40 * SIZE**2)), "bomb.nii.gz", "unpacked"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "broken.png", "broken.png"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_bad_files_are_refused_with_a_reason(client, content, name, reason):
    answer = assess(client, content, name)
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["error"]
    assert "/tmp" not in answer.text and "upload" not in answer.json()["error"].split(":")[0]


def test_a_picture_needs_a_window(client):
    target = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE), 128, np.uint8)).save(target, "PNG")
    assert "window" in assess(client, target.getvalue(), "a.png").json()["error"]
    found = opened(client, target.getvalue(), "a.png", lower="-160", upper="240")
    assert found["window_hu"] == [-160, 240]
    for lower, upper in (("x", "240"), ("240", "-160"), ("nan", "1"), ("", "240")):
        assert assess(client, target.getvalue(), "a.png", lower=lower, upper=upper).status_code == 422


def test_what_is_too_large_is_refused_before_it_is_read(client, limits):
    def endless():
        yield b"--x\r\n"
        raise AssertionError("the body was read")

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(limits.upload_bytes + 10**6)}
    answer = client.post("/api/assess", content=endless(), headers=headers)
    assert answer.status_code == 413
    answer = client.post("/api/assess", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 411
    assert assess(client, b"\0" * (limits.upload_bytes + 1)).status_code == 413


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"x", "application/octet-stream"),
        (b"x", "multipart/form-data"),
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_other_bodies_are_refused(client, content, kind):
    answer = client.post("/api/assess", content=content, headers={"Content-Type": kind})
    assert answer.status_code in (400, 415)
    assert "error" in answer.json()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
        ("GET", "/app.js/../../app.py", 404),
        ("PUT", "/api/assess", 405),
    ],
)
def test_other_addresses_are_refused_in_the_form_of_all_errors(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


@pytest.mark.parametrize("path", ["/api/report", "/api/chat", "/api/files/0"])
@pytest.mark.parametrize("stated", [True, False])
def test_only_uploads_may_be_large(client, path, stated):
    content = b'{"scores": "' + b"x" * LARGEST_BODY + b'"}'
    body = content if stated else iter([content[:1000], content[1000:]])
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    if path == "/api/files/0":  # takes no body, so none of it is read
        assert answer.status_code == 422
    else:
        assert answer.status_code == 413 and "more than" in answer.json()["error"]


def test_the_longest_dialogue_fits(client):
    longest = "\U0001f50e" * 1000
    body = {"image": opened(client)["image"], "question": longest, "previous": [longest] * 8}
    assert (
        client.post("/api/chat", content=json.dumps(body), headers={"Content-Type": "application/json"}).status_code
        == 200
    )


@pytest.mark.parametrize("score", [True, "1", 1.5, 0, 5])
def test_a_score_is_a_whole_number(client, score):
    scores = {"noise": score, "small_structures": 1, "lesion_conspicuity": None, "diagnostic_confidence": 1}
    assert client.post("/api/report", json={"scores": scores}).status_code == 422


def test_an_upload_never_touches_the_disk(client, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    real = Path.symlink_to

    def watched(path, target):
        real(path, target)
        written.extend(file for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink())

    monkeypatch.setattr(Path, "symlink_to", watched)
    opened(client, npy(np.stack([slice_hu(40)] * 20)))
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_old_images_make_room_and_are_told_gone(client):
    first = opened(client, npy(np.stack([slice_hu(20)] * 30)))
    opened(client, npy(np.stack([slice_hu(20)] * 30)))
    assert client.get(f"/api/images/{first['image']}").status_code == 200
    opened(client, npy(np.stack([slice_hu(20)] * 30)))
    assert len(client.app.state.store) == 2
    opened(client)
    answer = client.get(f"/api/images/{first['image']}")
    assert answer.status_code == 404
    assert "open it again" in answer.json()["error"]


def test_an_image_can_be_forgotten(client):
    image = opened(client)["image"]
    assert client.delete(f"/api/images/{image}").status_code == 204
    assert client.get(f"/api/images/{image}").status_code == 404


def test_offered_files_are_opened_by_number_only(tmp_path):
    np.save(tmp_path / "a.npy", slice_hu(40))
    (tmp_path / "b.dcm").write_bytes(b"no")
    offered = [tmp_path / "a.npy", tmp_path / "b.dcm"]
    client = TestClient(create_app(Parts(NoiseModel(), TemplateWriter(), offered=offered)), base_url=ADDRESS)
    assert client.get("/api/files").json() == [{"index": 0, "name": "a.npy"}, {"index": 1, "name": "b.dcm"}]
    assert client.post("/api/files/0").json()["scores"]["noise"] == 3
    answer = client.post("/api/files/1")
    assert answer.status_code == 422
    assert str(tmp_path) not in answer.text
    for index in ("2", "-1", "../a.npy"):
        assert client.post(f"/api/files/{index}").status_code in (404, 405, 422)


def test_exports(client):
    name = '<img src=x onerror="alert(1)">.npy'
    found = opened(client, npy(slice_hu(40)), name)
    exported = client.get(f"/api/images/{found['image']}/export.json").json()
    assert exported["scores"] == found["scores"]
    assert exported["report"] == template_report(found["scores"])
    assert "image" not in exported
    page = client.get(f"/api/images/{found['image']}/export.html", params={"lower": 0, "upper": 100})
    assert "<img src=x" not in page.text and "&lt;img src=x" in page.text
    assert template_report(found["scores"]).splitlines()[4] in page.text
    assert "<script" not in page.text
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    picture = re.search(r"data:image/png;base64,([\w+/=]+)", page.text)[1]
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
    assert np.abs(values / 255 * 100 - np.clip(slice_hu(40), 0, 100)).max() < 0.3


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"]
)
def test_other_hosts_are_refused(client, host):
    for path in ("/", "/api/info", "/openapi.json", "/api/nothing"):
        assert client.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST:9"])
def test_names_of_this_machine_are_let_in(client, host):
    assert client.get("/api/info", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_web_pages_are_refused(client, headers):
    assert client.post("/api/assess", files={"file": ("a.npy", npy(slice_hu(1)))}, headers=headers).status_code == 403
    assert client.post("/api/report", json={}, headers=headers).status_code == 403
    assert len(client.app.state.store) == 0


def test_every_answer_forbids_the_browser_everything_else(client):
    for path in ("/", "/static/app.js", "/api/info", "/api/nothing", "/static/../app.py"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/").text
    used = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert used and all(address.startswith(("/static/", "data:,")) for address in used)
    for address in used:
        if address.startswith("/"):
            text = client.get(address).text
            assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(r"\son\w+=|<script>|style=|javascript:", page)


def test_a_failure_inside_shows_nothing(client, parts):
    parts.model.assess = lambda *args, **kwargs: 1 / 0
    answer = assess(client)
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed at this; see its terminal"}


def test_the_document_of_the_interface(client):
    document = client.get("/openapi.json").json()
    assert {"/api/assess", "/api/report", "/api/chat"} <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            assert said["summary"] and said["description"], (path, method)
    form = document["paths"]["/api/assess"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert client.get("/docs").status_code == 404


def test_parallel_requests_get_the_answers_of_single_ones(client):
    contents = [npy(slice_hu(level, seed)) for seed, level in enumerate((5, 20, 40, 80, 5, 40, 20, 80))]
    alone = [opened(client, content)["scores"] for content in contents]
    found = [None] * len(contents)

    def work(place):
        result = opened(client, contents[place])
        found[place] = result["scores"], chat(client, result, RATE_REQUEST)[0]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [scores for scores, _ in found] == alone
    assert [text for _, text in found] == [rating(make_result(*scores.values())) for scores in alone]


@pytest.mark.skipif(not SCAN.is_dir(), reason="no real scan beside the repository")
def test_a_real_slice(parts):
    client = TestClient(create_app(parts, Limits()), base_url=ADDRESS)
    file = sorted(SCAN.glob("CT*"))[7]
    found = opened(client, file.read_bytes(), file.name)
    assert (found["rows"], found["columns"]) == (512, 512)
    assert 0.5 < found["pixel_spacing_mm"] < 1
    pixels = np.frombuffer(client.get(f"/api/images/{found['image']}/pixels").content, "<i2")
    assert pixels.min() == -1024 and 20 < np.median(pixels[(pixels > -50) & (pixels < 150)]) < 120
