"""One file that needs no other: markup, style and script in it, and a policy that forbids it to fetch anything."""

import base64
import hashlib
from importlib.resources import files

from iqagpt.page.markup import Content, Html, element, join

DISCLAIMER = "Research use only; not for diagnosis."


def document(title: str, *body: Content) -> str:
    """Write a whole HTML file.

    Parameters
    ----------
    title : str
        Of the browser's tab.
    *body : Content
        From `iqagpt.page.markup.element`.

    Returns
    -------
    str
        The Content-Security-Policy allows pictures within the file, and the style and script that are in it, by their
        hashes: no inline ``style=`` or ``on...=`` attribute works, and nothing is ever fetched.
    """
    style, script = (
        files("iqagpt.page").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Html(style)),
    )
    page = element("html", head, element("body", *body, element("script", Html(script))), lang="en")
    return f"<!doctype html>\n{page}\n"


def section(anchor: str, title: str, *content: Content) -> Html:
    """Write a part of a page with a heading that links can name."""
    return element(
        "section", element("h2", title, id=f"{anchor}-title"), content, id=anchor, aria_labelledby=f"{anchor}-title"
    )


def page_body(
    *, title: str, facts: Content, links: list[tuple[str, str]], sections: list[Html], above: Content = None
) -> Html:
    """Write what every page has: a way past the links, the head with the disclaimer, links, sections, foot."""
    menu = element("ul", [element("li", element("a", text, href=target)) for target, text in links])
    return join(
        [
            element("a", "Skip to the results", href="#main", class_="skip"),
            element("header", above, element("h1", title), element("p", DISCLAIMER, class_="disclaimer"), facts),
            element("nav", menu, aria_label="On this page"),
            element("main", sections, id="main", tabindex="-1"),
            element("footer", element("p", DISCLAIMER)),
            element("p", role="status", aria_live="polite", class_="hidden", id="said"),
        ]
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
