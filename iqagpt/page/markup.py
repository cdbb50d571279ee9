"""HTML elements as text. Whatever is not an element already is escaped, so no patient code or caption becomes markup."""

import html
import re
from collections.abc import Iterable
from typing import Any

_VOID = frozenset({"br", "img", "input", "meta"})
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")


class Html(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


#: What an element may hold: markup, text (escaped), numbers, nothing, or any of these in a row.
Content = Html | str | int | None | Iterable["Content"]


def element(name: str, /, *content: Content, **attributes: Any) -> Html:
    """Write one element.

    Parameters
    ----------
    name : str
        Such as ``td``.
    *content : Content
        What it holds; see `Content`.
    **attributes
        Underscores become hyphens and one at the end goes (``class_``, ``data_sort``). None and False leave an attribute
        out, True writes its name alone.

    Raises
    ------
    ValueError
        If the name is none, or an element that holds nothing is given content.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected an element's name, got {name!r}")
    head = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    if name in _VOID:
        if content:
            raise ValueError(f"<{name}> holds nothing, got {content!r}")
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(content)}</{name}>")


def join(content: Content) -> Html:
    """Write several things one after the other, each escaped unless it is markup."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int | float):
        return Html(html.escape(str(content)))
    return Html("".join(map(join, content)))


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
