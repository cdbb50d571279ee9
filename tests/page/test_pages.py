"""The pages: every number is the tracked one, nothing is fetched, everything is escaped, equal runs give equal bytes."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from iqagpt.artifacts import open_artifact, read_table
from iqagpt.evaluation import paper
from iqagpt.page.pages import patient_files
from tests.page.conftest import build_page
from tests.page.page_parser import Node, parse

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
INTERVAL = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")


@pytest.fixture(scope="session")
def pages(small_run: Path) -> dict[str, Node]:
    return {file.name: parse(file.read_text()) for file in (small_run / "page").glob("*.html")}


def cells(page: Node) -> Iterator[Node]:
    for table in page.all("table"):
        yield from table.all("td")


@cache
def content(file: Path) -> Any:
    """Read a metrics file, or a table by image or by the number of its rows."""
    if file.suffix == ".json":
        return json.loads(file.read_text())
    table = read_table(file)
    rows = table.set_index("image_id") if "image_id" in table else table.set_index(table.index.astype(str))
    return rows.to_dict("index")


def tracked(root: Path, cell: Node) -> Any:
    """Look a cell's number up where the cell says that it is."""
    found = content(root / cell.attributes["data-from"].removeprefix("data/"))
    for key in cell.attributes["data-key"].split("\t"):
        found = found[key]
    return found


def check_number(root: Path, cell: Node) -> None:
    value, text = float(tracked(root, cell)), cell.text.strip()
    assert float(cell.attributes["data-sort"]) == pytest.approx(value, rel=1e-5)
    if text.endswith("%"):
        assert text in (f"{value:.0%}", ">99%" if value >= 0.995 else "<1%")
        return
    shown = NUMBER.match(text)[0]
    digits = len(shown.partition(".")[2])
    assert float(shown) == pytest.approx(value, abs=0.5 * 10**-digits + 1e-6), cell.attributes


def test_every_number_of_every_table_is_the_tracked_one(small_run: Path, pages: dict[str, Node]) -> None:
    files = set()
    for page in pages.values():
        for cell in cells(page):
            if "data-from" in cell.attributes:
                check_number(small_run, cell)
                files.add(cell.attributes["data-from"])
    assert files >= {
        "metrics/evaluate.json", "metrics/by_variant.json", "metrics/read.json", "metrics/train.json", "metrics/report.json",
        "metrics/explain.json",
        "predictions/iqagpt.csv", "data/captions/manifest.csv", "results/confusion_matrices.csv", "results/patients.csv",
        "results/levels.csv",
    }  # fmt: skip


def test_a_number_without_a_place_is_the_papers_or_a_parameter(pages: dict[str, Node]) -> None:
    printed = json.dumps([paper.PRINTED, paper.PRINTED_BY_VARIANT])
    recomputed = json.dumps(paper.recomputed_by_variant())
    for page in pages.values():
        parameters = [cell for block in page.all("details", **{"class": "params"}) for cell in block.all("td")]
        for cell in cells(page):
            for part in cell.all("span", **{"class": "paper"}):
                figure, *rest = NUMBER.findall(part.text)
                assert str(float(figure)) in printed
                assert all(any(f"{float(x):.3f}" == r for x in NUMBER.findall(recomputed + printed)) or r for r in rest)
            if "data-from" in cell.attributes or any(cell is other for other in parameters):
                continue
            without = cell.text
            for part in cell.all("span", **{"class": "paper"}):
                without = without.replace(part.text, "")
            assert not NUMBER.search(without) or without == "0" or "MAP-NN" in without, cell.text


def test_intervals_are_those_of_the_metrics(small_run: Path, pages: dict[str, Node]) -> None:
    evaluate = json.loads((small_run / "metrics/evaluate.json").read_text())
    checked = 0
    for cell in cells(pages["index.html"]):
        found = INTERVAL.search(cell.text)
        if found and cell.attributes["data-from"] == "metrics/evaluate.json":
            method, *keys = cell.attributes["data-key"].split("\t")
            node = evaluate[method] if keys[0] == "behind_iqagpt" else evaluate[method]["interval"]
            for key in keys[:1] if keys[0] == "behind_iqagpt" else keys:
                node = node[key]
            shown = tuple(map(float, found.groups()))
            assert shown == pytest.approx((node["lower"], node["upper"]), abs=5.1e-4)
            checked += 1
    assert checked > 60


def test_parameters_are_those_of_the_file(small_run: Path, pages: dict[str, Node]) -> None:
    params = yaml.safe_load((small_run / "params.yaml").read_text())
    blocks = pages["index.html"].all("details", **{"class": "params"})
    assert [block.all("summary")[0].text.split()[0] for block in blocks] == list(params)
    train = {row.all("th")[0].text: row.all("td")[0].text for row in blocks[1].all("tr")}
    assert train == {"lr": "1e-05", "augment": "true", "exclude": "none"}


def test_tables_of_the_paper_have_all_methods(small_run: Path, pages: dict[str, Node]) -> None:
    tables = {table.all("caption")[0].text: table for table in pages["index.html"].all("table")}
    for number in range(1, 5):
        (title,) = [name for name in tables if name.startswith(f"Table {number}.")]
        rows = read_table(small_run / f"results/table{number}.csv")
        by = ["variant"] if number == 4 else ["method", "measure"] if number == 3 else ["method"]
        assert len(tables[title].all("tbody")[0].all("tr")) == len(rows.drop_duplicates(by)), title
    assert "paper 0.765" in tables["Table 2. Accuracy (higher is better)"].text


def test_what_figures_claim_stands_in_numbers_beside_them(pages: dict[str, Node]) -> None:
    (section,) = [part for part in pages["index.html"].all("section") if part.attributes["id"] == "figures"]
    features, lesion, words = [[row.text for row in table.all("tbody")[0].all("tr")] for table in section.all("table")]
    assert features == ["IQAGPT-0.075-0.042undefinedundefined"]
    assert lesion == ["simulated reader80.0090.3130.025", "IQAGPT80.009undefinedundefined"]
    assert words[1] == "simulated readerLesion0.0080.8620.934"
    assert len(words) == 3


def test_sources_and_purpose_are_in_plain_view(pages: dict[str, Node]) -> None:
    for page in pages.values():
        (header,) = page.all("header")
        assert "Research use only; not for diagnosis." in header.text
        assert "SIMULATED reader, not a radiologist" in header.text
        assert "SYNTHETIC" in header.text
    assert "Only 2 test patients:" in pages["index.html"].text


def test_pages_need_nothing_but_themselves(small_run: Path, pages: dict[str, Node]) -> None:
    for name, page in pages.items():
        text = (small_run / "page" / name).read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/)", re.sub(r"data:[^\"]*", "", text)) or "localhost" in text
        assert not page.all("link") and not page.all("iframe")
        assert all("src" not in script.attributes for script in page.all("script"))
        for image in page.all("img"):
            assert image.attributes["src"].startswith("data:image/")
            assert image.attributes["alt"].strip()
        (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
        assert policy.attributes["content"].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        assert "unsafe" not in policy.attributes["content"]
        for anchor in page.all("a"):
            target = anchor.attributes["href"]
            ids = {node.attributes["id"] for node in every(page) if "id" in node.attributes}
            assert target[1:] in ids if target.startswith("#") else target in pages
    assert {"index.html", "patient_P5.html", "patient_P6.html"} == set(pages)


def test_ids_are_unique_and_every_control_has_a_name(pages: dict[str, Node]) -> None:
    for page in pages.values():
        ids = [node.attributes["id"] for node in every(page) if "id" in node.attributes]
        assert len(ids) == len(set(ids))
        for button in page.all("button"):
            assert button.text.strip() or button.all("img")[0].attributes["alt"]
        assert all("style" not in node.attributes for node in every(page)), "the policy forbids it"


def every(node: Node) -> Iterator[Node]:
    for child in node.children:
        if isinstance(child, Node):
            yield child
            yield from every(child)


def test_equal_inputs_give_equal_bytes(small_run: Path) -> None:
    assert build_page(small_run, "again").exit_code == 0
    for file in (small_run / "page").iterdir():
        assert file.read_bytes() == (small_run / "again" / file.name).read_bytes()
    listed = open_artifact(small_run / "page", "page").manifest["file"]
    assert {file.name for file in (small_run / "page").iterdir()} == {*listed, "artifact.json", "manifest.csv"}


def test_hostile_names_and_texts_stay_text(small_run: Path, tmp_path: Path) -> None:
    code = "P6<img src=x onerror=alert(1)>&'../.."
    root = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("page", "again"))
    for file in [*root.rglob("*.csv"), *root.rglob("*.jsonl")]:
        text = file.read_text().replace("P6", code)
        file.write_text(text.replace("Image noise and", "</td></table><script>alert(2)</script> Image noise and"))
    result = build_page(root)
    assert result.exit_code == 0, result.output
    (name,) = [file.name for file in (root / "page").glob("patient_P6*.html")]
    assert re.fullmatch(r"patient_P6_img_src_x_onerror_alert_1_[_0-9a-f]+\.html", name)
    for file in (root / "page").glob("*.html"):
        page = parse(file.read_text())
        assert len(page.all("script")) == 1
        assert all("onerror" not in node.attributes for node in every(page))
        assert code in page.text or "P5" in file.name
        assert "<script>alert(2)</script>" in page.text


def test_patients_have_files_of_their_own() -> None:
    names = patient_files(["L009", "l009", "a/b", "a b", "ä", ""])
    assert names["L009"] == "patient_L009.html"
    assert len({name.lower() for name in names.values()}) == 6
    assert all(re.fullmatch(r"patient_[A-Za-z0-9_-]+\.html", name) for name in names.values())


def test_without_probabilities_and_figures_the_page_says_so(small_run: Path, tmp_path: Path) -> None:
    root = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("page", "again"))
    table = pd.read_csv(root / "predictions/iqagpt.csv", keep_default_na=False)
    table[[c for c in table if not re.search(r"_(p\d|none)$", c)]].to_csv(root / "predictions/iqagpt.csv", index=False)
    (root / "figures/figures.json").write_text("[]")
    assert build_page(root).exit_code == 0
    text = (root / "page/index.html").read_text()
    assert "lists no figures" in text
    assert "prob." not in text
