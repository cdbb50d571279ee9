"""The pages in Chromium: no network, no errors, sorting, window, keys, width of a phone, contrast, print."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAINTED = "() => document.querySelectorAll('.picture canvas').length === document.querySelectorAll('.card').length"
MEAN = """() => {
  const canvas = document.querySelector('.picture canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let place = 0; place < data.length; place += 4) sum += data[place];
  return sum / (data.length / 4);
}"""
#: Least contrast of texts with what is behind them, by the formula of WCAG 2.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
}"""


@pytest.fixture
def opened(browser: "Browser", small_run: Path) -> Iterator[Any]:
    """Open a page of the small run; fail on any request, error or message of the console."""
    context = browser.new_context(viewport=DESKTOP, offline=True)
    complaints: list[str] = []

    def open_page(name: str = "index.html", viewport: dict[str, int] = DESKTOP) -> "Page":
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.set_viewport_size(viewport)
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: asked(request.url, name))
        page.goto((small_run / "page" / name).as_uri())
        page.wait_for_selector("th[aria-sort]", state="attached")
        return page

    def asked(url: str, name: str) -> None:
        if not url.startswith("data:image/") and not url.endswith(f"/{name}"):
            complaints.append(f"request: {url}")

    yield open_page
    context.close()
    assert complaints == []


def column(page: "Page", caption: str, place: int) -> list[str]:
    return page.evaluate(
        """([caption, place]) => [...document.querySelectorAll('table')]
          .find((table) => table.caption.textContent.startsWith(caption)).tBodies[0].rows.length
          && [...[...document.querySelectorAll('table')].find((table) => table.caption.textContent.startsWith(caption))
          .tBodies[0].rows].map((row) => row.cells[place].dataset.sort || row.cells[place].textContent)""",
        [caption, place],
    )


def test_columns_sort_by_mouse_and_keyboard(opened: Any) -> None:
    page = opened()
    before = column(page, "Table 2.", 1)
    head = page.locator("table", has_text="Table 2.").locator("thead th").nth(1)
    button = head.locator("button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    ascending = [float(text) for text in column(page, "Table 2.", 1)]
    assert ascending == sorted(map(float, before))
    assert ascending != [float(text) for text in before], "the test must be able to fail"
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(page, "Table 2.", 1)] == ascending[::-1]
    assert "descending" in page.locator("#said").text_content()
    button.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, "Table 2.", 1) == before


def test_what_has_no_number_sorts_last_either_way(opened: Any) -> None:
    page = opened()
    button = page.locator("table", has_text="Agreement with").locator("thead th").nth(2).locator("button")
    for _ in range(2):
        button.click()
        assert column(page, "Agreement with", 2)[-1] == "undefined"


def test_names_sort_as_text(opened: Any) -> None:
    page = opened()
    page.locator("table", has_text="Table 4.").locator("thead th").first.locator("button").click()
    assert column(page, "Table 4.", 0) == ["LDCT", "MAP-NN(1)", "MAP-NN(5)", "Mean", "NDCT"]


def test_window_changes_the_pixels_of_every_picture(opened: Any) -> None:
    page = opened()
    page.locator("#examples").scroll_into_view_if_needed()
    page.wait_for_function(PAINTED)
    # A flat image of 50 HU: (50 + 160) / 400 of white.
    assert page.evaluate(MEAN) == pytest.approx(255 * 210 / 400, abs=2)
    page.locator("#level").fill("150")
    page.wait_for_timeout(100)
    assert page.evaluate(MEAN) == pytest.approx(255 * 100 / 400, abs=2)
    assert page.locator("#level-value").text_content() == "150"
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_timeout(100)
    assert page.evaluate(MEAN) == pytest.approx(255 * 410 / 800, abs=2)
    page.locator("#width").press("ArrowRight")
    assert page.locator("#width-value").text_content() == "800"


def test_lesions_are_ringed_on_demand_on_the_wall_and_in_the_viewer(opened: Any) -> None:
    page = opened("patient_P6.html")
    rings = page.locator(".wall .ring")
    assert rings.count() == 4, "one slice of the two has a lesion, in four qualities"
    assert not rings.first.is_visible()
    page.locator("#mark").press("Space")
    card = page.locator(".card", has=page.locator(".ring")).first
    box, circle = card.locator(".picture").bounding_box(), card.locator("circle").bounding_box()
    middle = [circle[side] + circle[length] / 2 - box[side] for side, length in (("x", "width"), ("y", "height"))]
    # 7 mm at 0.7 mm a pixel, and 8 px of room: a radius of 13 of 64 px.
    assert [part / box["width"] for part in middle] == pytest.approx([44.5 / 64, 20.5 / 64], abs=0.01)
    assert circle["width"] / box["width"] == pytest.approx(26 / 64, abs=0.02)
    card.locator(".picture").press("Enter")
    page.locator("dialog .ring").wait_for()
    large, circle = page.locator("dialog canvas").bounding_box(), page.locator("dialog circle").bounding_box()
    middle = circle["y"] + circle["height"] / 2 - large["y"]
    assert middle / large["height"] == pytest.approx(20.5 / 64, abs=0.01)
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => !document.querySelector('dialog .ring')")


def test_arrow_keys_move_between_qualities_and_slices(opened: Any) -> None:
    page = opened()
    focused = "() => document.activeElement.closest('.card').dataset.title"
    page.locator(".picture").first.focus()
    for key, title in [
        ("ArrowRight", "MAP-NN(5), slice P6_000"),
        ("ArrowDown", "MAP-NN(5), slice P6_001"),
        ("ArrowLeft", "NDCT, slice P6_001"),
        ("ArrowLeft", "LDCT, slice P6_001"),
        ("ArrowUp", "LDCT, slice P6_000"),
    ]:
        page.keyboard.press(key)
        assert page.evaluate(focused) == title
    assert page.locator(".picture").last.get_attribute("aria-haspopup") == "dialog"


def test_viewer_opens_moves_measures_and_gives_the_focus_back(opened: Any) -> None:
    page = opened("patient_P6.html")
    page.locator(".picture").first.focus()
    page.keyboard.press("Enter")
    title = page.locator("#viewer-title")
    title.wait_for()
    assert title.text_content() == "NDCT, slice P6_000"
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.querySelector('#viewer-title').textContent.includes('P6_001')")
    assert page.locator("dialog .scores").count() == 1
    assert "Research use only" in page.locator("dialog .report").text_content()
    page.locator("dialog canvas").hover()
    text = page.locator("dialog .probe").text_content()
    assert text.endswith("HU ± 1.6")
    assert abs(float(text.split()[0]) - 50) < 40
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("() => document.activeElement.closest('.card').dataset.title") == "NDCT, slice P6_001"
    assert page.locator("#examples #window").count() == 1, "the control is back where it was"


@pytest.mark.parametrize("name", ["index.html", "patient_P6.html"])
def test_a_phone_scrolls_down_only(name: str, opened: Any) -> None:
    page = opened(name, PHONE)
    page.evaluate("() => document.querySelectorAll('details').forEach((block) => { block.open = true; })")
    wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]


@pytest.mark.parametrize("name", ["index.html", "patient_P6.html"])
def test_texts_stand_out(name: str, opened: Any) -> None:
    page = opened(name)
    page.evaluate("() => document.querySelectorAll('details').forEach((block) => { block.open = true; })")
    assert page.evaluate(CONTRAST) >= 4.5


def test_links_and_controls_can_be_reached_by_tab(opened: Any) -> None:
    page = opened("patient_P6.html")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the results"
    reached = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.className"))
    assert {"level", "width", "picture"} <= reached


def test_a_figure_runs_no_script(opened: Any) -> None:
    assert opened().title() == "IQAGPT: results"


def test_print_shows_pictures_and_hides_controls(opened: Any) -> None:
    page = opened()
    page.locator("#examples").scroll_into_view_if_needed()
    page.wait_for_function(PAINTED)
    page.emulate_media(media="print")
    assert page.locator(".picture canvas").first.is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator("#window").is_visible()
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#run .params td").first.is_visible()
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#run .params td").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_script_pictures_have_the_window(browser: "Browser", small_run: Path) -> None:
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto((small_run / "page/index.html").as_uri())
    image = page.locator(".picture img").first
    assert image.is_visible()
    assert not page.locator("#window").is_visible()
    shot = image.screenshot()
    context.close()
    import io

    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("L"), dtype=float)
    assert pixels.mean() == pytest.approx(255 * 210 / 400, abs=3)
