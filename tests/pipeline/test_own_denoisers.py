"""Denoisers of the user's own through the stages: denoise, read, caption, train, predict, baseline, evaluate.

A function and a folder of images are named in params; no code is changed. The stages run in this process, on slices of 64 px.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy import ndimage
from typer.testing import CliRunner
from workspace import REPOSITORY, read_yaml

from iqagpt.artifacts import create_artifact, open_artifact, read_table
from iqagpt.evaluation import comparison
from stages import baseline, caption, denoise, denoisers, evaluate, predict, pretrain, read, train
from tests.evaluation.prediction_tables import count_equal

SIDE = 64
EIGHT = ["ndct", "ldct", *(f"map_nn_d{level}" for level in range(1, 6)), "red_cnn"]
FURTHER = ["my_median", "tv", "elsewhere"]
CODE = """
from scipy.ndimage import median_filter

def my_median(ldct, *, pixel_spacing_mm):
    return median_filter(ldct, round(2.1 / pixel_spacing_mm))
"""


def run(app: Any, root: Path, *words: str, **options: str) -> None:
    given = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(root / value))]
    result = CliRunner().invoke(app, [*words, *given, "--params", str(root / "params.yaml")])
    assert result.exit_code == 0, result.output


def write_params(root: Path) -> None:
    """Take the smoke preset, smaller still, and name the user's code and folder."""
    params = read_yaml(REPOSITORY / "presets/smoke.yaml")
    for name, patch in (("map_nn", 24), ("red_cnn", 32)):
        params["denoisers"][name] |= {"steps": 2, "batch_size": 1, "patch_size": patch, "width": 2}
    params["denoise"] = {"extra": ["my_median", "tv"], "code": str(root / "mine.py"), "folder": str(root / "images")}
    params["train"] |= {"epochs": 1, "keep": "last"}
    params["evaluate"]["baselines"] = ["majority", "majority_by_variant"]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "mine.py").write_text(CODE)


def write_slices(root: Path) -> None:
    """Write six slices of three patients: an organ with a bright edge, noise of two doses, a lesion in each other."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    scene = np.where(np.hypot(rows, cols) < 28, 60.0, -80.0) + 50 * (np.hypot(rows, cols - 8) < 12)
    ids = [f"L00{patient}_{k:03d}" for patient in (1, 2, 3) for k in range(2)]
    with create_artifact(root / "lesions", "lesions") as writer:
        shape = (len(ids), SIDE, SIDE)
        mask = writer.array("lesion_mask", shape, np.uint8)
        mask[1::2, 28:36, 20:28] = 1
        for name, noise_hu in (("ndct", 8), ("ldct", 40)):
            noise = noise_hu * rng.standard_normal(shape)
            writer.array(name, shape, np.int16)[:] = scene - 40 * mask.astype(float) + noise
        table = {"slice_id": ids, "patient_id": [name[:4] for name in ids], "row": range(len(ids))}
        writer.manifest(
            pd.DataFrame(
                table | {"has_lesion": [0, 1] * 3, "lesion_contrast_hu": [None, -40.0] * 3, "pixel_spacing_mm": 0.7}
            )
        )
        writer.info |= {"window_hu": [-160.0, 240.0], "data_source": "made for tests"}
    parts = ["train", "train", "val", "val", "test", "test"]
    with create_artifact(root / "split", "split") as writer:
        writer.manifest(pd.DataFrame({"slice_id": ids, "patient_id": table["patient_id"], "split": parts}))
    (root / "images/elsewhere").mkdir(parents=True)
    for name, ldct in zip(ids, open_artifact(root / "lesions", "lesions").array("ldct"), strict=True):
        np.save(root / f"images/elsewhere/{name}.npy", ndimage.uniform_filter(ldct.astype(np.float32), 3))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything has run."""
    root = tmp_path_factory.mktemp("own_denoisers")
    write_slices(root)
    write_params(root)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQAGPT_DEVICE", "cpu")
        patch.chdir(REPOSITORY)
        patch.setattr(comparison, "count_captions", count_equal)
        for name in ("map_nn", "red_cnn"):
            run(denoisers.app, root, name, lesions="lesions", split="split", output=f"denoisers/{name}")
        run(denoise.app, root, lesions="lesions", denoisers="denoisers", output="variants", metrics="denoise.json")
        run(read.app, root, variants="variants", output="scores", metrics="read.json")
        run(caption.app, root, scores="scores", output="captions")
        inputs = {"variants": "variants", "captions": "captions", "split": "split"}
        run(pretrain.app, root, **inputs, output="pretrained", metrics="pretrain.json")
        fitted = inputs | {"pretrained": "pretrained"}
        run(train.app, root, **fitted, output="iqagpt", metrics="train.json")
        asked = {"variants": "variants", "split": "split", "output": "predictions/iqagpt.csv"}
        run(predict.app, root, model="iqagpt", metrics="predict.json", **asked)
        for name in ("majority", "majority_by_variant"):
            table = f"predictions/{name}.csv"
            run(baseline.app, root, name, **fitted, output=f"baseline/{name}", predictions=table)
        inputs |= {"predictions": "predictions"}
        run(evaluate.app, root, **inputs, output="results", metrics="evaluate.json", by_variant="by_variant.json")
    torch.set_num_threads(threads)
    return root


def test_every_image_is_scored_captioned_and_predicted(root: Path) -> None:
    kinds = [*EIGHT, *FURTHER]
    assert open_artifact(root / "variants", "variants").info["variants"] == kinds
    for name in ("scores", "captions"):
        images = open_artifact(root / name, name).manifest.drop_duplicates("image_id")  # several readers score each
        assert images["variant"].value_counts().to_dict() == dict.fromkeys(kinds, 6)
    predicted = read_table(root / "predictions/iqagpt.csv")
    assert {f"L003_001_{kind}" for kind in kinds} <= set(predicted.loc[predicted["split"] == "test", "image_id"])


def test_further_variants_are_measured_and_help(root: Path) -> None:
    metrics = json.loads((root / "denoise.json").read_text())
    assert set(metrics) == {*EIGHT[1:], *FURTHER, "window_hu"}
    for name in FURTHER:
        assert metrics[name]["rmse_hu"] < 0.7 * metrics["ldct"]["rmse_hu"]


def test_evaluation_has_a_row_for_each(root: Path) -> None:
    by_variant = json.loads((root / "by_variant.json").read_text())
    for method in ("iqagpt", "majority", "majority_by_variant"):
        assert set(by_variant[method]) == {*EIGHT, *FURTHER}
    assert json.loads((root / "evaluate.json").read_text())["n_images"] == 2 * 11


def test_tables_name_them_as_not_in_the_paper(root: Path) -> None:
    results = open_artifact(root / "results", "results")
    table = results.table("table4").set_index(["variant", "criterion"])
    assert table["here"].notna().all()
    for name in FURTHER:
        assert pd.isna(table.loc[(name, "noise"), "paper_printed"])
    text = (results.path / "tables.md").read_text()
    assert "* Image qualities that are not in the paper, in all numbers here: my_median, tv, elsewhere" in text
    assert "| elsewhere" in text
    assert set(results.table("accuracy_by_variant")["variant"]) == {*EIGHT, *FURTHER}
