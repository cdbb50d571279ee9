"""Sortable tables whose every number says which tracked file and which entry of it it comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from iqagpt.page.markup import Content, Html, element

#: What stands where the table of the paper, or this run, has no number.
ABSENT, UNDEFINED = "–", "undefined"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number is: a file such as ``metrics/evaluate.json``, and the keys that lead to it, or row and column."""

    file: str
    keys: tuple[str, ...]

    @property
    def attributes(self) -> dict[str, str]:
        """For the cell: ``data-from``, and ``data-key`` with a tab between keys."""
        return {"data_from": self.file, "data_key": "\t".join(self.keys)}


def hu(value: float) -> str:
    """Write HU with a minus sign."""
    return f"{value:g}".replace("-", "\u2212")


def number(value: float, place: Place, *, digits: int = 3, text: str | None = None, **attributes: object) -> Html:
    """Write a cell with one number."""
    if pd.isna(value):
        return element("td", UNDEFINED, class_="absent")
    return element("td", text or f"{value:.{digits}f}", data_sort=f"{value:.6g}", **place.attributes, **attributes)


def estimate(
    value: float, lower: float, upper: float, place: Place, *, paper: Sequence[float] = (), absent: str = UNDEFINED
) -> Html:
    """Write a cell with a number, its 95 % interval, and what the paper prints.

    Parameters
    ----------
    value, lower, upper : float
        NaN where not known.
    place : Place
        Of `value`.
    paper : sequence of float
        As printed, and recomputed from its rows if that is another number; NaN where the paper has none.
    absent : str
        Stands for an unknown value.
    """
    lines: list[Content] = []
    if pd.isna(value):
        lines.append(element("span", absent, class_="absent"))
    else:
        lines.append(element("span", f"{value:.3f}", class_="value"))
        if pd.notna(lower):
            lines += [" ", element("span", f"[{lower:.3f}, {upper:.3f}]", class_="interval")]
    known = [part for part in paper if pd.notna(part)]
    if known:
        text = f"paper {known[0]:.3f}"
        if len(known) > 1 and f"{known[1]:.3f}" != f"{known[0]:.3f}":
            text += f" (its rows: {known[1]:.3f})"
        lines += [" ", element("span", text, class_="paper")]
    sort = value if pd.notna(value) else known[0] if known else None
    keys = {} if pd.isna(value) else place.attributes
    return element("td", lines, data_sort=None if sort is None else f"{sort:.6g}", **keys)


def name_cell(text: str, note: str = "") -> Html:
    """Write the cell that names a row."""
    return element("th", text, [" ", element("span", note, class_="note")] if note else None, scope="row")


def table(
    caption: str,
    head: Sequence[Content],
    rows: Iterable[Iterable[Html]],
    *,
    note: Content = None,
    sortable: bool = True,
) -> Html:
    """Write a table in a box that scrolls sideways by itself where the screen is narrow.

    Parameters
    ----------
    caption : str
        States the direction: higher or lower is better.
    head : sequence of Content
        Columns.
    rows : iterable
        Cells, from the functions above.
    note : Content
        Below the table.
    sortable : bool
        Whether clicking a column sorts by it.
    """
    top = element("tr", [element("th", title, scope="col") for title in head])
    body = element("tbody", [element("tr", row) for row in rows])
    content = element(
        "table", element("caption", caption), element("thead", top), body, class_="sortable" if sortable else None
    )
    box = element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return element("div", box, element("p", note, class_="note") if note else None, class_="table")
