"""The files of the folder ``page``: the first page, and one for every test patient."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from iqagpt.artifacts import create_artifact
from iqagpt.criteria import KEYS
from iqagpt.evaluation import paper
from iqagpt.evaluation.names import SHORT, method_name, source_name
from iqagpt.page.claim_tables import claims
from iqagpt.page.contents import Run, choose_slices, shown_path
from iqagpt.page.document import document, page_body, section
from iqagpt.page.examples import examples, score_table
from iqagpt.page.further_tables import audits, other_metrics, statistics
from iqagpt.page.grid import Place, estimate, hu, name_cell, number, table
from iqagpt.page.markup import Content, Html, element
from iqagpt.page.paper_tables import paper_tables, reading_help
from iqagpt.page.pictures import PageParams, check_range, data_uri

logger = logging.getLogger(__name__)

#: A file that is larger opens slowly on a phone.
_LARGE_BYTES = 8_000_000
_SOURCES = {"simulated": "SIMULATED reader, not a radiologist", "reader": "a reader's own table (read.table)"}
_GLANCE = (("accuracy", "mean"), ("plcc", "mean"), ("srocc", "mean"))
_GLANCE_TITLES = ("Accuracy, mean of four criteria", "PLCC, mean of three", "SROCC, mean of three")


def write_pages(path: Path, run: Run, params: PageParams) -> None:
    """Write the folder ``page``.

    Parameters
    ----------
    path : path
        The folder; replaced.
    run : Run
        From `iqagpt.page.contents.load_run`.
    params : PageParams

    Raises
    ------
    ParamsError
        If ``range_hu`` does not include the display window.
    """
    check_range(params, run.window_hu)
    names = patient_files(run.images["patient_id"].unique())
    pages = {"index.html": ("First page", first_page(run, params, names))}
    for patient, name in names.items():
        pages[name] = (f"Patient {patient}", patient_page(run, params, patient))
    with create_artifact(path, "page") as writer:
        writer.info["score_source"] = run.score_source
        writer.manifest(pd.DataFrame({"file": pages.keys(), "content": [title for title, _ in pages.values()]}))
        for name, (_, text) in pages.items():
            content = text.encode("utf-8")
            (writer.path / name).write_bytes(content)
            logger.info("%s: %.1f MB", name, len(content) / 1e6)
            if len(content) > _LARGE_BYTES:
                logger.warning("%s is large: lower page.slices, page.slices_per_patient or page.size_px", name)


def patient_files(patients: Iterable[str]) -> dict[str, str]:
    """Name the file of every patient, ``patient_<code>.html``.

    Codes with other signs than letters, digits, ``_`` and ``-``, and those that differ in case alone, end in a hash.
    """
    files: dict[str, str] = {}
    for patient in patients:
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", patient)[:60]
        if not name or name != patient or f"patient_{name}.html".lower() in {file.lower() for file in files.values()}:
            name += f"_{hashlib.sha256(patient.encode('utf-8')).hexdigest()[:8]}"
        files[patient] = f"patient_{name}.html"
    return files


def first_page(run: Run, params: PageParams, names: dict[str, str]) -> str:
    """Write ``index.html``."""
    sections = [
        section("glance", "At a glance", _glance(run)),
        section("tables", "Tables 1 to 4, beside the paper", reading_help(run), paper_tables(run)),
        section("figures", "Figures", _figures(run), claims(run)),
        section("examples", "Example slices", examples(run, choose_slices(run.images, params.slices), params)),
        section("patients", "Patients", _patients(run, names)),
        section("statistics", "Further statistics", statistics(run)),
        section("audits", "Audits", audits(run)),
        section("run", "What was run", _what_was_run(run)),
    ]
    titles = ("At a glance", "Tables 1–4", "Figures", "Examples", "Patients", "Statistics", "Audits", "What was run")
    anchors = ("glance", "tables", "figures", "examples", "patients", "statistics", "audits", "run")
    links = [(f"#{anchor}", title) for anchor, title in zip(anchors, titles, strict=True)]
    return document(
        "IQAGPT: results",
        page_body(title="IQAGPT: results of this run", facts=_facts(run), links=links, sections=sections),
    )


def patient_page(run: Run, params: PageParams, patient: str) -> str:
    """Write the page of one patient."""
    images = run.images[run.images["patient_id"] == patient]
    slices = choose_slices(images, params.slices_per_patient)
    sections = [
        section("examples", "Slices", examples(run, slices, params)),
        section("scores", "Scores of all images", score_table(run, images)),
    ]
    links = [("index.html", "All results"), ("#examples", "Slices"), ("#scores", "Scores of all images")]
    facts = element("dl", _fact("Scores to match", _source(run)), _fact("Images", run.variants.info["data_source"]))
    count = (
        f"{len(slices)} of {images['slice_id'].nunique()} slices are shown, with scores and reports; the table has all."
    )
    body = page_body(
        title=f"IQAGPT: patient {patient}", facts=[facts, element("p", count)], links=links, sections=sections
    )
    return document(f"IQAGPT: patient {patient}", body)


def _facts(run: Run) -> Html:
    metrics = run.metrics["evaluate"]
    slices = run.images["slice_id"].nunique()
    lower, upper = run.window_hu
    return element(
        "dl",
        _fact("Scores to match", element("strong", _source(run))),
        _fact("Images", run.variants.info["data_source"]),
        _fact("Test set", f"{metrics['n_images']} images, {slices} slices, {metrics['n_patients']} patients"),
        _fact("Paper's test set", "200 images, 25 slices, 2 patients of the AAPM data, one radiologist"),
        _fact("Scores", "1 (best) to 4 (worst)"),
        _fact("Window", f"{hu(lower)} to {hu(upper)} HU"),
    )


def _fact(name: str, content: Content) -> Html:
    return element("div", element("dt", name), element("dd", content))


def _source(run: Run) -> str:
    return _SOURCES.get(run.score_source, run.score_source)


def _glance(run: Run) -> Iterator[Html]:
    metrics = run.metrics["evaluate"]
    methods = [name for name in dict.fromkeys(run.results.table("estimates")["method"]) if name in metrics]
    lines = []
    for method in methods:
        line = [name_cell(method_name(method), "oracle" if method == "majority_by_variant" else "")]
        for measure, key in _GLANCE:
            value = metrics[method].get(measure, {}).get(key, float("nan"))
            interval = metrics[method].get("interval", {}).get(measure, {}).get(key, {})
            place = Place("metrics/evaluate.json", (method, measure, key))
            bounds = (interval.get(name, float("nan")) for name in ("lower", "upper"))
            printed = paper.PRINTED.get(method, {}).get(measure, {}).get(key, float("nan"))
            line.append(estimate(value, *bounds, place, paper=[printed]))
        lines.append(line)
    ceiling = run.metrics.get("read", {}).get(run.score_source, {}).get("ceiling")
    if ceiling:
        cells = []
        for measure, key in _GLANCE:
            place = Place("metrics/read.json", (run.score_source, "ceiling", measure, key))
            cells.append(number(ceiling.get(measure, {}).get(key, float("nan")), place))
        lines.append([name_cell("noise-free reader", "ceiling"), *cells])
    yield table(
        f"Agreement with the {source_name(run.score_source)} on the test patients, 95 % interval (higher is better)",
        ["Method", *_GLANCE_TITLES],
        lines,
    )


def _figures(run: Run) -> Iterator[Html]:
    if not run.figures:
        yield element("p", "The stage explain lists no figures in figures/figures.json.")
    for figure in run.figures:
        width, height = figure.size or (None, None)
        image = element(
            "img",
            src=data_uri(figure.svg, "image/svg+xml"),
            alt=figure.alt,
            width=width,
            height=height,
            decoding="async",
        )
        frame = element("div", image, class_="scroll", tabindex="0", role="region", aria_label=figure.title)
        caption = element("figcaption", element("strong", figure.title), " ", figure.caption)
        yield element("figure", frame, caption)


def _patients(run: Run, names: dict[str, str]) -> Html:
    right = run.results.table("patients")
    right = right[right["method"] == "iqagpt"]
    lines = []
    for row in right.itertuples():
        patient = str(row.patient_id)
        link = element("a", patient, href=names[patient]) if patient in names else patient
        counts = [
            number(getattr(row, name), Place("results/patients.csv", (str(row.Index), name)), digits=0)
            for name in ("images", *KEYS)
        ]
        lines.append([element("th", link, scope="row"), *counts])
    head = ["Patient", "Images", *(f"{SHORT[key]}: right" for key in KEYS)]
    return table(
        "Test patients: images, and how many scores are right", head, lines, note="Every code leads to its page."
    )


def _what_was_run(run: Run) -> Iterator[Html]:
    yield element(
        "p",
        "The pipeline is described in dvc.yaml; these are its parameters (params.yaml) and the numbers of its stages.",
    )
    for name, content in run.params.items():
        leaves = list(_leaves(content))
        lines = [element("tr", name_cell(".".join(keys) or name), element("td", value)) for keys, value in leaves]
        body = element("table", element("caption", f"Parameters of {name}", class_="hidden"), element("tbody", lines))
        summary = element("summary", name, element("span", f" {len(leaves)} parameters", class_="note"))
        yield element("details", summary, element("div", body, class_="scroll"), class_="params")
    yield element("details", element("summary", "Numbers of the stages"), other_metrics(run))


def _leaves(node: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, (*keys, str(key)))
    else:
        yield keys, _shown(node)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return shown_path(value) if isinstance(value, str) else "none" if value == {} else str(value)
