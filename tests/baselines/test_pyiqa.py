"""pyiqa's metrics by name: without the package, with another name, and with a stand-in of its interface."""

import sys
import types

import numpy as np
import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.baselines import pyiqa
from iqagpt.baselines.predictions import nearest_score
from iqagpt.errors import InputError
from iqagpt.models import open_model
from iqagpt.scored_images import open_scored_images


@pytest.fixture
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture
def installed(monkeypatch):
    """A module with pyiqa's two calls; its metric measures roughness of three equal channels."""
    package = types.ModuleType("pyiqa")

    def metric(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1] == 3 and images.min() >= 0 and images.max() <= 1
        return images.diff(dim=-1).abs().mean(dim=(1, 2, 3))[:, None]

    def create_metric(name: str, device: torch.device):
        if name == "offline":
            raise OSError("cannot reach the hub")
        return (lambda images: torch.full((len(images),), torch.nan)) if name == "nan" else metric

    package.list_models = lambda metric_mode: ["niqe", "brisque", "offline", "nan"] if metric_mode == "NR" else []
    package.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", package)


def fit(images, folder, metric="brisque"):
    with create_artifact(folder, "baseline") as writer:
        scores = pyiqa.fit_predict(pyiqa.Params(metric, leaves=6, min_leaf=2), images, None, writer)
        writer.info.update(name="pyiqa", window_hu=list(images.window_hu))
    return scores


def test_without_the_package_it_says_what_to_install(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(InputError, match="needs the package pyiqa"):
        fit(images, tmp_path / "pyiqa")
    assert not (tmp_path / "pyiqa").exists()


def test_a_metric_becomes_scores(images, tmp_path, installed):
    scores = fit(images, tmp_path / "pyiqa")
    held_out = images.held_out()
    assert (scores["noise"].map(nearest_score).to_numpy() == held_out.table["noise"].to_numpy()).mean() > 0.9
    found = open_model(tmp_path / "pyiqa").scorer.score([held_out.pixels_hu(k) for k in range(len(held_out))])
    np.testing.assert_array_equal(found["noise"], scores["noise"])


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("brisk", r"no no-reference metric 'brisk' \(did you mean 'brisque'"),
        ("offline", "cannot be opened"),
        ("nan", "not a finite"),
    ],
)
def test_metrics_that_cannot_be_used(metric, message, images, tmp_path, installed):
    with pytest.raises(InputError, match=message):
        fit(images, tmp_path / "pyiqa", metric)
