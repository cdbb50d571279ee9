"""A small run with its results page, made by the stages themselves, and a browser without a network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import stages.evaluate
import stages.page
import stages.report
from iqagpt.artifacts import read_table, write_metrics, write_table
from iqagpt.criteria import KEYS
from iqagpt.evaluation import comparison
from iqagpt.predictions import probability_columns
from tests.evaluation.prediction_tables import METHODS, count_equal, write_predictions

SETTINGS = {"slices": 2, "slices_per_patient": 2, "size_px": 512, "range_hu": [-360.0, 440.0]}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 150"><rect width="300" height="150" fill="#08c"/>'
    "<script>document.title = 'run by a figure'</script></svg>"
)


#: As the stage ``explain`` writes it; one run of t-SNE had no neighbours, no caption of IQAGPT states a lesion.
EXPLAIN = {
    "features": {"iqagpt": {"silhouette": {"mean": -0.07488, "sd": 0.0017, "features": -0.04164}, "neighbours": {}}},
    "grad_cam": {
        "reader": {
            "images": 8, "patients": 2, "area_share": 0.00898, "above_area": 0.3126, "noise_flatter": 0.025,
            "noise": {"share": 0.02498, "gain": 2.78042, "flatness": 0.73975},
            "lesion_conspicuity": {"share": 0.00774, "gain": 0.86198, "flatness": 0.93373},
        },
        "iqagpt": {"images": 8, "patients": 2, "area_share": 0.00898, "noise": {"share": 0.0254, "gain": 2.83, "flatness": 0.697}},
    },
}  # fmt: skip


def invoke(app: object, **options: object) -> Result:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return CliRunner().invoke(app, words)


def build_page(root: Path, output: str = "page", **changes: object) -> Result:
    """Run the stage ``page`` on the run in a folder."""
    params = root / "params.yaml"
    content = {
        "ingest": {"root": "data/phantom", "low_dose": "given"},
        "train": {"lr": 1e-5, "augment": True, "exclude": []},
        "page": SETTINGS | changes,
    }
    params.write_text(json.dumps(content))
    return invoke(
        stages.page.app, results=root / "results", metrics=root / "metrics", predictions=root / "predictions/iqagpt.csv",
        captions=root / "captions", reports=root / "reports", figures=root / "figures", variants=root / "variants",
        params=params, output=root / output,
    )  # fmt: skip


def write_figures(folder: Path) -> None:
    folder.mkdir()
    (folder / "fig6.svg").write_text(SVG)
    entry = {"file": "fig6.svg", "title": "Fig. 6 <i>", "caption": "Scores & truth.", "alt": "A blue box"}
    (folder / "figures.json").write_text(json.dumps([entry]))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, scored_run: Path) -> Path:
    """A folder with what the stage ``page`` reads, and its ``page``: patients P5 and P6, two slices, four qualities."""
    root = tmp_path_factory.mktemp("page_run")
    for name in ("variants", "captions", "split"):
        shutil.copytree(scored_run / name, root / name)
    sides = (root / "split/manifest.csv").read_text().replace("P5,val", "P5,test").replace("P4,train", "P4,val")
    (root / "split/manifest.csv").write_text(sides)
    add_places(root / "variants/manifest.csv")
    write_predictions(root / "predictions", root)
    add_probabilities(root / "predictions/iqagpt.csv")
    params = root / "params.yaml"
    sections = {
        "evaluate": {"baselines": list(METHODS[1:]), "draws": 200, "seed": 1},
        "report": {
            "generator": "template",
            "space": "presets/none.txt",
            "endpoint": "http://localhost/v1",
            "model": "m",
            "allow_remote": False,
            "timeout_s": 1,
            "max_retries": 0,
            "rate": False,
        },
    }  # fmt: skip
    params.write_text(json.dumps(sections))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "count_captions", count_equal)
        result = invoke(
            stages.evaluate.app, predictions=root / "predictions", captions=root / "captions", split=root / "split",
            variants=root / "variants", output=root / "results", metrics=root / "metrics/evaluate.json",
            by_variant=root / "metrics/by_variant.json", params=params,
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    result = invoke(
        stages.report.app, predictions=root / "predictions/iqagpt.csv", output=root / "reports",
        metrics=root / "metrics/report.json", params=params,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    ceiling = {name: {"mean": value} for name, value in (("accuracy", 0.914), ("plcc", 0.9579), ("srocc", 0.9557))}
    write_metrics(root / "metrics/read.json", {"simulated": {"ceiling": ceiling, "readers": 1}})
    write_metrics(root / "metrics/train.json", {"epoch": 7, "val_loss": 2.27403})
    write_metrics(root / "metrics/explain.json", EXPLAIN)
    write_figures(root / "figures")
    result = build_page(root)
    assert result.exit_code == 0, result.output
    return root


def add_places(file: Path) -> None:
    """Say of every lesion where it is, and how large."""
    table = read_table(file)
    for name, value in (("lesion_row_px", 20), ("lesion_col_px", 44), ("lesion_diameter_mm", 7.0)):
        table[name] = [value if lesion else None for lesion in table["has_lesion"]]
    write_table(file, table)


def add_probabilities(file: Path) -> None:
    """Give every score of a table a probability, the stated one the largest."""
    table = read_table(file)
    rng = np.random.default_rng(5)
    for key in KEYS:
        columns = probability_columns(key)
        shares = rng.dirichlet(np.ones(len(columns)), len(table))
        table[columns] = np.sort(shares, axis=1)
    write_table(file, table)
