"""Example slices: each in every quality, with scores, their probabilities, caption and report."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from iqagpt.criteria import CRITERIA, KEYS
from iqagpt.evaluation.names import SHORT, source_name, variant_name
from iqagpt.page.contents import Run
from iqagpt.page.grid import Place, hu, name_cell, number, table
from iqagpt.page.markup import Html, element
from iqagpt.page.pictures import Box, PageParams, Picture, body_box, draw, step_hu, window_filter
from iqagpt.predictions import NONE, UNPARSED, labels, probability_columns

_PREDICTIONS = "predictions/iqagpt.csv"
_CAPTIONS = "data/captions/manifest.csv"
_SHOWN = {NONE: "none", UNPARSED: "?"}
_LESION = ["lesion_row_px", "lesion_col_px", "lesion_diameter_mm", "pixel_spacing_mm"]
#: Room between a lesion's edge, which is to be judged, and the ring around it, in px of the image.
_ROOM_PX = 8


def examples(run: Run, slices: Sequence[str], params: PageParams) -> Iterator[Html]:
    """Write the control of the window, then a wall of pictures for every slice."""
    images = run.images[run.images["slice_id"].isin(slices)]
    yield element("p", _how_shown(run, images, params))
    yield _still_window(run, params)
    yield _control(run, params)
    for place, slice_id in enumerate(slices):
        rows = images[images["slice_id"] == slice_id]
        head = element("h3", _slice_title(rows.iloc[0]))
        cards = _cards(run, rows, place, params)
        yield element("div", head, element("div", cards, class_="wall"), class_="slice")


def score_table(run: Run, images: pd.DataFrame) -> Html:
    """Write the scores of all images of a patient, beside the reader's."""
    stated = labels(images)
    lines = []
    for index, row in images.iterrows():
        line = [name_cell(row["slice_id"]), element("td", variant_name(row["variant"]))]
        for key in KEYS:
            line.append(_score_cell(stated.loc[index, key], row[f"reader_{key}"], row["image_id"], key))
            line.append(_reader_cell(row[f"reader_{key}"], row["image_id"], key))
        lines.append(line)
    head = ["Slice", "Image quality"]
    for key in KEYS:
        head += [f"{SHORT[key]}, IQAGPT", f"{SHORT[key]}, {source_name(run.score_source)}"]
    return table("Scores of all images of this patient (1 best, 4 worst)", head, lines)


def _how_shown(run: Run, images: pd.DataFrame, params: PageParams) -> str:
    lower, upper = params.range_hu
    text = (
        f'Scores run from 1 (best) to 4 (worst); "none": no lesion; bold: not the {source_name(run.score_source)}\'s. '
        "Slices are chosen by their place in the scan, with and without a lesion, never by a result. "
        f"Pictures are cropped to the body and hold {hu(lower)} to {hu(upper)} HU in 256 steps of "
        f"{step_hu(params.range_hu):.1f} HU; what is beyond is cut off. "
    )
    size = max(run.variants.array(images["variant"].iloc[0]).shape[1:])
    if size > params.size_px:
        text += f"Those larger than {params.size_px} px are averaged down, which hides noise. "
    clipped = [variant_name(variant) for variant in images["variant"].unique() if _is_clipped(run, images, variant)]
    if clipped:
        window = " to ".join(map(hu, run.window_hu))
        text += f"{', '.join(clipped)} hold nothing beyond {window} HU as they are made. "
    return text


def _is_clipped(run: Run, images: pd.DataFrame, variant: str) -> bool:
    lower, upper = run.window_hu
    pixels = run.variants.array(variant)
    rows = images.loc[images["variant"] == variant, "row"]
    return all(pixels[row].min() >= lower and pixels[row].max() <= upper for row in rows)


def _control(run: Run, params: PageParams) -> Html:
    """Write the control of the window, which the script brings to life; without it pictures have the run's window."""
    (lower, upper), (least, most) = run.window_hu, params.range_hu
    step = 5
    level, width = (lower + upper) / 2, upper - lower
    sliders = [
        element("label", "Level ", _slider("level", least, most, level, step), " ", _output("level", level)),
        element("label", "Width ", _slider("width", 4 * step, most - least, width, step), " ", _output("width", width)),
    ]
    presets = [
        element("button", text, type="button", data_level=f"{a:g}", data_width=f"{b:g}")
        for text, a, b in (
            (f"{hu(lower)} to {hu(upper)}", level, width),
            ("Narrow", level, 150),
            ("All", (least + most) / 2, most - least),
        )
    ]
    mark = None
    if set(_LESION) <= set(run.images) and run.images[_LESION].notna().all(axis=1).any():
        mark = element("label", element("input", type="checkbox", id="mark"), "Ring the lesions")
    return element(
        "div", element("span", "Window, HU", class_="label"), sliders, element("span", presets, class_="presets"), mark,
        id="window", class_="window", role="group", aria_label="Window of all pictures", hidden=True,
        data_least=f"{least:g}", data_most=f"{most:g}",
    )  # fmt: skip


def _still_window(run: Run, params: PageParams) -> Html:
    """Write the filter that gives pictures the run's window where no script runs."""
    slope, intercept = window_filter(run.window_hu, params.range_hu)
    values = {"type": "linear", "slope": f"{slope:.5f}", "intercept": f"{intercept:.5f}"}
    transfer = element("feComponentTransfer", [element(f"feFunc{channel}", **values) for channel in "RGB"])
    content = element("filter", transfer, id="shown", color_interpolation_filters="sRGB")
    return element("svg", content, width="0", height="0", aria_hidden="true", class_="hidden")


def _slider(name: str, least: float, most: float, value: float, step: float) -> Html:
    return element(
        "input", type="range", id=name, min=f"{least:g}", max=f"{most:g}", value=f"{value:g}", step=f"{step:g}"
    )


def _output(name: str, value: float) -> Html:
    return element("output", f"{value:g}", for_=name, id=f"{name}-value")


def _slice_title(row: pd.Series) -> str:
    text = f"Slice {row['slice_id']}, patient {row['patient_id']}"
    if "has_lesion" not in row:
        return text
    if not int(row["has_lesion"]):
        return f"{text}: no simulated lesion"
    size = row.get("lesion_diameter_mm")
    contrast = row.get("lesion_contrast_hu")
    facts = [f"{size:.0f} mm"] if pd.notna(size) else []
    facts += [f"{contrast:+.0f} HU to the organ".replace("-", "\u2212")] if pd.notna(contrast) else []
    return f"{text}: simulated lesion{' of ' if facts else ''}{', '.join(facts)}"


def _cards(run: Run, rows: pd.DataFrame, place: int, params: PageParams) -> Iterator[Html]:
    box = body_box(run.variants.array(rows["variant"].iloc[0])[rows["row"].iloc[0]])
    stated = labels(rows)
    for quality, (index, row) in enumerate(rows.iterrows()):
        picture = draw(run.variants.array(row["variant"])[row["row"]], box, params)
        name = variant_name(row["variant"])
        words = ", ".join(
            f"{SHORT[key].lower()} {_SHOWN.get(stated.loc[index, key], stated.loc[index, key])}" for key in KEYS
        )
        image = element(
            "img", src=picture.uri, width=picture.width, height=picture.height, decoding="async",
            alt=f"{name} of slice {row['slice_id']}. Scores by IQAGPT: {words}.",
        )  # fmt: skip
        yield element(
            "article",
            element("h4", name),
            element("button", image, _ring(row, box, picture), type="button", class_="picture", aria_haspopup="dialog"),
            _scores(run, row, stated.loc[index]),
            element("details", element("summary", "Caption, probabilities, report"), _texts(run, row)),
            class_="card", data_slice=place, data_quality=quality, data_title=f"{name}, slice {row['slice_id']}",
        )  # fmt: skip


def _ring(row: pd.Series, box: Box, picture: Picture) -> Html | None:
    """Write the ring around a simulated lesion, which the control shows; None where there is none or its place is not known."""
    facts = [row.get(name) for name in _LESION]
    if any(map(pd.isna, facts)):
        return None
    y, x, diameter_mm, spacing_mm = map(float, facts)
    top, left = (part.start or 0 for part in box)
    sizes = {"cx": x + 0.5 - left, "cy": y + 0.5 - top, "r": diameter_mm / spacing_mm / 2 + _ROOM_PX}
    circle = element("circle", **{name: f"{px / picture.scale:.1f}" for name, px in sizes.items()})
    return element("svg", circle, viewBox=f"0 0 {picture.width} {picture.height}", class_="ring", aria_hidden="true")


def _scores(run: Run, row: pd.Series, stated: pd.Series) -> Html:
    probable = run.has_probabilities
    head = ["", "IQAGPT", *(["prob."] if probable else []), source_name(run.score_source).replace("simulated", "sim.")]
    lines = []
    for key in KEYS:
        line = [name_cell(SHORT[key]), _score_cell(stated[key], row[f"reader_{key}"], row["image_id"], key)]
        if probable:
            line.append(_stated_probability(row, key, stated[key]))
        lines.append(element("tr", line, _reader_cell(row[f"reader_{key}"], row["image_id"], key)))
    caption = element("caption", "Scores, 1 best to 4 worst", class_="hidden")
    top = element("thead", element("tr", [element("th", text, scope="col") for text in head]))
    return element("table", caption, top, element("tbody", lines), class_="scores")


def _score_cell(label: str, reader: Any, image_id: str, key: str) -> Html:
    """Write the score that IQAGPT states, set off where the reader's is another."""
    if label in _SHOWN:
        return element("td", _SHOWN[label], data_sort="9", class_="off" if label != _label(reader) else None)
    off = label != _label(reader)
    return number(int(label), Place(_PREDICTIONS, (image_id, key)), digits=0, class_="off" if off else None)


def _label(score: Any) -> str:
    return NONE if pd.isna(score) else str(int(score))


def _reader_cell(score: Any, image_id: str, key: str) -> Html:
    if pd.isna(score):
        return element("td", _SHOWN[NONE], data_sort="9")
    return number(int(score), Place(_CAPTIONS, (image_id, key)), digits=0)


def _stated_probability(row: pd.Series, key: str, label: str) -> Html:
    column = f"{key}_{NONE}" if label == NONE else f"{key}_p{label}"
    if label == UNPARSED or column not in row:
        return element("td", "")
    return _probability(row, column)


def _probability(row: pd.Series, column: str) -> Html:
    value = float(row[column])
    place = Place(_PREDICTIONS, (row["image_id"], column))
    text = ">99%" if 0.995 <= value < 1 else "<1%" if 0 < value < 0.005 else f"{value:.0%}"
    return number(value, place, text=text, class_=f"p p{min(int(value * 10), 9)}")


def _texts(run: Run, row: pd.Series) -> Iterator[Html]:
    yield element("h5", "Caption")
    yield element("p", row["caption"] or "none")
    if run.has_probabilities:
        yield element("h5", "Probability of every score")
        head = ["", "1", "2", "3", "4", _SHOWN[NONE]]
        lines = []
        for criterion in CRITERIA:
            cells = [_probability(row, column) for column in probability_columns(criterion.key)]
            lines.append(element("tr", name_cell(SHORT[criterion.key]), cells))
        top = element("thead", element("tr", [element("th", text, scope="col") for text in head]))
        caption = element("caption", "Probabilities", class_="hidden")
        yield element("table", caption, top, element("tbody", lines), class_="probabilities")
    yield element("h5", "Report")
    if isinstance(row["report"], str):
        yield element("p", row["report"], class_="report")
        yield element("p", f"Written by: {row['generator']}.", class_="note")
    else:
        yield element("p", "none")
