"""The page in a browser: everything that a user does with it, with the mouse, with the keyboard alone, and on a phone."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from made_results import TemplateWriter, make_result
from noise_server import NoiseModel, npy, slice_hu

from iqagpt.chat.client import ChatUnavailableError
from iqagpt.chat.dialogue_answers import RATE_REQUEST, REPORT_REQUEST, rating
from iqagpt.chat.templates import template_report
from iqagpt.serve.app import Parts, create_app

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
#: A folder for pictures of the page, for people to look at; none are taken without it.
PICTURES = os.environ.get("IQAGPT_SCREENSHOTS")


class DeadEndpoint:
    """A language model that cannot be reached."""

    def complete(self, messages):
        raise ChatUnavailableError("http://127.0.0.1:9/v1: cannot be reached")


def serving(parts: Parts) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(parts), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(5)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("offered") / "offered.npy"
    np.save(file, slice_hu(80))
    yield from serving(Parts(NoiseModel(), TemplateWriter(), offered=[file]))


@pytest.fixture(scope="module")
def dead_address() -> Iterator[str]:
    yield from serving(Parts(NoiseModel(), TemplateWriter(), DeadEndpoint(), "127.0.0.1 (none)"))


@pytest.fixture
def page(browser, address) -> Iterator["sync_api.Page"]:
    """The page; a script error, a refused resource or a request to elsewhere fails the test."""
    yield from opened_page(browser, address)


def opened_page(browser, address, **options):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    found = context.new_page()
    found.set_default_timeout(20_000)
    wrong = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    found.on(
        "request", lambda sent: wrong.append(sent.url) if not sent.url.startswith((address, "data:", "blob:")) else None
    )
    found.goto(address)
    found.wait_for_selector("#where:not(:empty)")
    yield found
    context.close()
    assert wrong == []


def put(page, content, name="slice.npy"):
    page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})


def last_answer(page) -> str:
    page.wait_for_selector("#log .said.system:last-child:not(.waiting)")
    return page.locator("#log .said.system").last.evaluate("node => node.firstChild.data")


def picture(page, name):
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def grey_values(page):
    read = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    return np.array(page.locator("#canvas").evaluate(read), np.uint8).reshape(64, 64, 4)


def test_upload_both_requests_and_a_follow_up(page):
    assert page.locator("#where").inner_text() == "Nothing leaves this machine."
    put(page, npy(slice_hu(40)))
    page.get_by_role("button", name=RATE_REQUEST).click()
    assert last_answer(page) == rating(make_result(3, 2, None, 3))
    page.get_by_role("button", name=REPORT_REQUEST).click()
    expect(page.locator("#log .said.template")).to_have_count(2)
    assert last_answer(page) == template_report(
        {"noise": 3, "small_structures": 2, "lesion_conspicuity": None, "diagnostic_confidence": 3}
    )
    page.fill("#question", "How noisy is it?")
    page.press("#question", "Enter")
    expect(page.locator("#log .said.template")).to_have_count(3)
    page.fill("#question", "And what does that mean?")
    page.click("#send")
    expect(page.locator("#log .said.template")).to_have_count(4)
    assert "This slice: 3." in last_answer(page)
    # The last question is in sight, at the top of the log or as far up as it goes.
    expect(page.locator("#log .said.user").last).to_be_in_viewport()
    assert page.locator("#log").evaluate("log => log.scrollTop") > 100
    assert [row.inner_text() for row in page.locator(".value").all()] == ["3", "2", "N/A", "3"]
    picture(page, "dialogue")


def test_the_picture_follows_window_and_level(page):
    pixels = slice_hu(40)
    put(page, npy(pixels))
    page.wait_for_selector("#viewer:visible")
    for level, width in ((40, 400), (100, 150)):
        page.locator("#level").fill(str(level))
        page.locator("#width").fill(str(width))
        expected = np.clip((pixels - (level - width / 2)) / width, 0, 1) * 255
        assert np.abs(grey_values(page)[..., 0] - expected).max() <= 0.51
    page.get_by_role("button", name="Lung").click()
    assert page.locator("#level-value").inner_text() == "-500 HU"


def test_where_the_model_looked_is_laid_over(page):
    put(page, npy(slice_hu(40)))
    first = page.locator(".score").first
    first.click()
    page.wait_for_selector("#overlay:visible")
    coloured = np.ptp(grey_values(page)[..., :3].astype(int), axis=2)
    # The small model looks at the top left sixteenth for the first criterion.
    assert coloured[:12, :12].min() > 20 and coloured[32:, 32:].max() == 0
    assert first.get_attribute("aria-pressed") == "true"
    assert "Image noise" in page.locator("#legend").inner_text()
    picture(page, "overlay")
    page.locator(".word").nth(10).click()
    expect(page.locator(".word[aria-pressed=true]")).to_have_count(1)
    coloured = np.ptp(grey_values(page)[..., :3].astype(int), axis=2)
    assert coloured[36:44, 36:44].min() > 20 and coloured[:20, :20].max() == 0
    page.click("#no-overlay")
    assert np.ptp(grey_values(page)[..., :3].astype(int), axis=2).max() == 0


def test_slices_of_a_volume(page):
    put(page, npy(np.stack([slice_hu(level) for level in (5, 20, 80)])), "volume.npy")
    page.wait_for_selector("#slices:visible")
    assert page.locator("#slice-value").inner_text() == "2 of 3"
    page.locator("#slice").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".value").first).to_have_text("4")
    assert page.locator("#slice-value").inner_text() == "3 of 3"


def test_a_bad_file_is_told_and_nothing_is_lost(page):
    put(page, npy(slice_hu(40)), "good.npy")
    page.wait_for_selector("#viewer:visible")
    put(page, b"no image", "<img src=x onerror=alert(1)>.dcm")
    page.wait_for_selector("#alert:visible")
    assert "<img src=x onerror=alert(1)>.dcm: " in page.locator("#alert").inner_text()
    assert page.locator("#images button").first.inner_text() == "good.npy"
    assert page.locator("#alert img").count() == 0
    picture(page, "bad_file")


def test_a_picture_is_asked_for_its_window(page, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(tmp_path / "a.png")
    page.set_input_files("#file", tmp_path / "a.png")
    page.wait_for_selector("#picture:visible")
    picture(page, "picture_window")
    page.fill("#black", "0")
    page.fill("#white", "255")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer:visible")
    page.locator("#level").fill("130")
    page.locator("#width").fill("260")
    assert np.abs(grey_values(page)[..., 0].astype(float) - 128 / 260 * 255).max() <= 0.51


def test_an_offered_image_is_picked_and_closed(page):
    page.select_option("#pick", label="offered.npy")
    page.wait_for_selector("#viewer:visible")
    assert page.locator(".value").first.inner_text() == "4"
    page.get_by_role("button", name="Close offered.npy").click()
    page.wait_for_selector("#viewer", state="hidden")


def test_a_dead_endpoint_is_told_and_replaced(browser, dead_address):
    pages = opened_page(browser, dead_address)
    page = next(pages)
    assert "questions and scores go to 127.0.0.1" in page.locator("#where").inner_text()
    put(page, npy(slice_hu(40)))
    page.fill("#question", "How noisy is it?")
    page.press("#question", "Enter")
    assert last_answer(page).startswith("Image noise and structural fidelity: 3 (sub-optimal")
    assert "cannot be reached" in page.locator("#log .fallback small").inner_text()
    picture(page, "dead_endpoint")
    assert list(pages) == []


def test_a_server_that_is_gone_is_told(browser):
    servers = serving(Parts(NoiseModel(), TemplateWriter()))
    pages = opened_page(browser, next(servers))
    page = next(pages)
    put(page, npy(slice_hu(40)))
    page.wait_for_selector("#dialogue:visible")
    assert list(servers) == []
    page.get_by_role("button", name=RATE_REQUEST).click()
    page.wait_for_selector("#log .failed")
    assert "does not answer" in page.locator("#log .failed").inner_text()
    assert list(pages) == []


def test_exports(page, browser):
    put(page, npy(slice_hu(40)))
    with page.expect_download() as download:
        page.click("#export-json")
    assert '"report": "TECHNIQUE' in Path(download.value.path()).read_text()
    with page.expect_popup() as popup:
        page.click("#export-html")
    popup.value.wait_for_selector("table")
    assert popup.value.locator("td").nth(1).inner_text() == "3"
    assert popup.value.locator("img").evaluate("image => image.naturalWidth") == 64
    picture(popup.value, "printable")


def test_everything_works_with_the_keyboard_alone(page, tmp_path):
    np.save(tmp_path / "slice.npy", slice_hu(40))
    reached = []

    def tab_to(wanted, limit=40):
        for _ in range(limit):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
            if reached[-1] == wanted:
                return
        raise AssertionError(f"{wanted} is not reached; {reached}")

    # Asked for before the first key: a busy browser may otherwise get the key before it knows that the dialog is wanted here.
    with page.expect_file_chooser() as chooser:
        tab_to("file")
        page.keyboard.press("Space")
    chooser.value.set_files(tmp_path / "slice.npy")
    page.wait_for_selector("#dialogue:visible")
    tab_to("level")
    before = page.locator("#level").input_value()
    page.keyboard.press("ArrowRight")
    assert page.locator("#level").input_value() != before
    tab_to("score")
    page.keyboard.press("Enter")
    page.wait_for_selector("#overlay:visible")
    tab_to("word")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.locator(".word").nth(2)).to_have_attribute("aria-pressed", "true")
    picture(page, "keyboard")
    tab_to("question")
    page.keyboard.type(RATE_REQUEST)
    page.keyboard.press("Enter")
    assert last_answer(page) == rating(make_result(3, 2, None, 3))
    assert page.evaluate("document.activeElement.id") == "question"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(browser, address, scheme):
    pages = opened_page(browser, address, device_scale_factor=2, has_touch=True, color_scheme=scheme)
    page = next(pages)
    page.set_viewport_size({"width": 360, "height": 740})
    put(page, npy(slice_hu(40)))
    page.get_by_role("button", name=REPORT_REQUEST).click()
    last_answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = "nodes => nodes.filter(n => n.offsetParent && n.getBoundingClientRect().height < 24).map(n => n.outerHTML)"
    assert page.locator("button, a.button, input[type=range], select").evaluate_all(small) == []
    picture(page, f"phone_{scheme}")
    assert list(pages) == []
