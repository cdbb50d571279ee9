"""What is gathered: choice of slices, figures, paths, and what does not belong together."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from iqagpt.errors import ArtifactError
from iqagpt.page.contents import Sources, choose_slices, load_run, read_figures, shown_path


def sources(root: Path, **changes: Path) -> Sources:
    names = ("results", "metrics", "captions", "reports", "figures", "variants")
    paths = {name: root / name for name in names}
    return Sources(**paths | {"predictions": root / "predictions/iqagpt.csv", "params": root / "params.yaml"} | changes)


def slices(lesions: str) -> pd.DataFrame:
    """Two images of each slice, L where it has a lesion."""
    names = [f"s{number}" for number in range(len(lesions)) for _ in range(2)]
    return pd.DataFrame({"slice_id": names, "has_lesion": [int(lesions[int(name[1:])] == "L") for name in names]})


@pytest.mark.parametrize(
    ("lesions", "count", "chosen"),
    [
        ("L...L...", 2, ["s4", "s5"]),
        ("........", 2, ["s2", "s6"]),
        ("LLLLLLLL", 2, ["s2", "s6"]),
        ("L.", 9, ["s0", "s1"]),
        (".....L", 4, ["s0", "s2", "s4", "s5"]),
    ],
)
def test_slices_are_chosen_by_place_with_and_without_lesion(lesions: str, count: int, chosen: list[str]) -> None:
    assert choose_slices(slices(lesions), count) == chosen


def test_slices_without_a_column_of_lesions() -> None:
    assert choose_slices(slices("...").drop(columns="has_lesion"), 1) == ["s1"]


def test_images_have_pixels_scores_truth_and_report(small_run: Path) -> None:
    run = load_run(sources(small_run))
    assert list(run.images["variant"][:4]) == ["ndct", "map_nn_d5", "map_nn_d1", "ldct"], (
        "as the variants artifact has them"
    )
    assert set(run.images["patient_id"]) == {"P5", "P6"}
    assert run.images["report"].str.contains("Research use only").all()
    assert (run.images["reader_noise"] == run.images["noise"]).all()
    assert run.has_probabilities
    assert run.window_hu == (-160.0, 240.0)
    assert set(run.metrics) == {"evaluate", "by_variant", "explain", "read", "report", "train"}


def test_missing_image_is_named(small_run: Path, tmp_path: Path) -> None:
    captions = shutil.copytree(small_run / "captions", tmp_path / "captions")
    lines = (captions / "manifest.csv").read_text().splitlines(keepends=True)
    (captions / "manifest.csv").write_text("".join(line for line in lines if "P6_001_ldct" not in line))
    with pytest.raises(ArtifactError, match=r"image 'P6_001_ldct' of .*iqagpt\.csv is not there"):
        load_run(sources(small_run, captions=captions))


def test_broken_reports_are_refused(small_run: Path, tmp_path: Path) -> None:
    reports = shutil.copytree(small_run / "reports", tmp_path / "reports")
    (reports / "reports.jsonl").write_text('{"image_id": "P6_000_ndct"}\n')
    with pytest.raises(ArtifactError, match=r"reports\.jsonl: not a file of reports"):
        load_run(sources(small_run, reports=reports))


def test_figures_come_in_their_order_with_their_size(small_run: Path) -> None:
    (figure,) = read_figures(small_run / "figures")
    assert (figure.title, figure.alt, figure.size) == ("Fig. 6 <i>", "A blue box", (400, 200))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"file": "../secret.svg", "title": "", "caption": "", "alt": ""}], "path of an SVG"),
        ([{"file": "/etc/secret.svg", "title": "", "caption": "", "alt": ""}], "path of an SVG"),
        ([{"file": "a.png", "title": "", "caption": "", "alt": ""}], "path of an SVG"),
        ([{"file": "lost.svg", "title": "", "caption": "", "alt": ""}], "lost.svg: cannot be read"),
        ([{"file": "text.svg", "title": "", "caption": "", "alt": ""}], "text.svg is no SVG"),
        ([{"file": "text.svg"}], "not a list of figures"),
        (3, "not a list of figures"),
    ],
)
def test_bad_figures_are_refused(entries: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(entries))
    (tmp_path / "text.svg").write_text("plain text")
    with pytest.raises(ArtifactError, match=message):
        read_figures(tmp_path)


def test_no_figures_at_all(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text("[]")
    assert read_figures(tmp_path) == []
    with pytest.raises(ArtifactError, match="dvc repro explain"):
        read_figures(tmp_path / "nowhere")


def test_absolute_paths_are_shortened() -> None:
    assert shown_path("data/phantom") == "data/phantom"
    for text in ("/home/jane/scans", "~/scans/", r"C:\Users\jane\scans", r"\\server\jane\scans"):
        assert shown_path(text) == ".../scans"
