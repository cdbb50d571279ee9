"""The benchmarks of the simulated reader: their statistics, and the goals on the sets that may steer it."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import spearmanr

from iqagpt.config import load_section
from iqagpt.readers.simulated import ReadParams

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "../shared/data/reader_study"


@pytest.fixture(scope="module")
def realism():
    spec = importlib.util.spec_from_file_location("reader_realism", ROOT / "benchmarks/reader_realism.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_spearman_is_scipys(realism):
    rng = np.random.default_rng(0)
    for levels in (3, 50):
        left, right = rng.integers(levels, size=(2, 40))
        assert realism.spearman(left, right) == pytest.approx(spearmanr(left, right)[0])
    assert np.isnan(realism.spearman(np.ones(5), np.arange(5)))


def test_pooled_and_within_differ_where_sets_differ(realism):
    left = np.array([[1.0, 2, 3], [11, 12, 13]])
    right = np.array([[3.0, 2, 1], [13, 12, 11]])
    assert realism.within(left, right) == -1
    assert realism.pooled(left, right) > 0
    low, high = realism.interval(realism.within, left, right, methods=False, resamples=20)
    assert low == high == -1


def test_targets_point_to_worse(realism):
    rows = [("LDCT", 1, 1, 1), ("smooth", 13, 4, 3), ("NDCT", 7, 5, 5)]
    columns = ["method", "noise_reduction", "contrast_retention", "structure_preservation"]
    truth = realism.targets(pd.DataFrame(rows, columns=columns).assign(set=1)).loc[1]
    assert truth["noise"].to_dict() == {"LDCT": 6, "NDCT": 0, "smooth": 6}
    assert truth["small_structures"].idxmax() == truth["diagnostic_confidence"].idxmax() == "LDCT"


def test_png_becomes_hu(realism, tmp_path):
    Image.fromarray(np.array([[0, 255], [102, 51]], np.uint8)).save(tmp_path / "grey.png")
    assert realism.load_hu(tmp_path / "grey.png").tolist() == [[-160, 240], [0, -80]]
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(SystemExit, match=r"colour.png: expected an 8-bit grey image, got mode RGB"):
        realism.load_hu(tmp_path / "colour.png")


def test_goals_are_reached_on_the_steering_sets(realism):
    if not STUDY.is_dir():
        pytest.skip("the real reader study is not beside the repository")
    params = load_section(ROOT / "params.yaml", "read", ReadParams)
    measured = realism.measure_study(STUDY, 0.742)
    losses, scores = realism.judge(measured[measured["set"].isin(realism.STEERING)], params)
    truth = realism.targets(pd.read_csv(STUDY / "scores.csv"))
    for key, goal in realism.GOALS.items():
        pair = tuple(realism.tables(losses[key], truth[key], realism.STEERING, anchors=True))
        assert realism.pooled(*pair) >= goal
        assert realism.within(*pair) >= goal
    assert (scores.loc[(slice(None), "NDCT"), :] == 1).all(axis=None)
