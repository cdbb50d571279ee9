"""Fitting: training patients only, the same bytes again, and artifacts that are checked when loaded."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.denoise import fitting, map_nn, red_cnn
from iqagpt.denoise.map_nn import MapNN, MapNNParams
from iqagpt.denoise.red_cnn import RedCNN, RedCNNParams
from iqagpt.errors import ArtifactError, ParamsError

WINDOW_HU = (-160.0, 240.0)
SIDE = 48
#: Slice row -> part; patient "C" is the one that may never be seen.
PARTS = ("train", "train", "val", "test")


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setenv("IQAGPT_DEVICE", "cpu")


@pytest.fixture
def lesions(tmp_path):
    return write_lesions(tmp_path / "lesions")


@pytest.fixture
def split(tmp_path):
    return write_split(tmp_path / "split", PARTS)


def write_lesions(path):
    rng = np.random.default_rng(0)
    scene = 40 + 60 * (np.indices((SIDE, SIDE)).sum(axis=0) % 24 < 12)
    with create_artifact(path, "lesions") as writer:
        ndct = writer.array("ndct", (4, SIDE, SIDE), np.int16)
        ldct = writer.array("ldct", (4, SIDE, SIDE), np.int16)
        ndct[:] = scene
        ldct[:] = scene + rng.normal(0, 30, ldct.shape)
        ids = [f"{patient}_000" for patient in "ABCD"]
        writer.manifest(pd.DataFrame({"slice_id": ids, "patient_id": list("ABCD"), "row": range(4)}))
        writer.info["window_hu"] = list(WINDOW_HU)
    return open_artifact(path, "lesions")


def write_split(path, parts):
    with create_artifact(path, "split") as writer:
        # in another order than the slices: the join is by slice_id
        table = pd.DataFrame({"slice_id": [f"{patient}_000" for patient in "ABCD"], "split": parts})
        writer.manifest(table.iloc[::-1])
    return open_artifact(path, "split")


def red_cnn_params(**changes):
    values = {"weights": "presets/none.txt", "width": 4, "steps": 30, "batch_size": 4, "patch_size": 32}
    return RedCNNParams(**values | {"lr": 2e-3, "final_lr": 1e-3, "seed": 1} | changes)


def map_nn_params(**changes):
    values = {"weights": "presets/none.txt", "levels": 2, "width": 4, "steps": 30, "batch_size": 4, "patch_size": 32}
    values |= {"lr": 2e-3, "steps_per_epoch": 10, "critic_steps": 1, "critic_width": 2, "gradient_penalty": 10.0}
    return MapNNParams(**values | {"mse_weight": 50.0, "edge_weight": 50.0, "seed": 3} | changes)


def make(method, params, lesions, split, path):
    with create_artifact(path, "denoiser") as writer:
        fitting.make_denoiser(method, params, lesions, split, writer)
    return open_artifact(path, "denoiser")


def test_pairs_are_chosen_by_slice_id(lesions, split):
    assert fitting.select_pairs(lesions, split, "train").rows.tolist() == [0, 1]
    assert fitting.select_pairs(lesions, split, "val").rows.tolist() == [2]


def test_patches_are_the_same_place_in_both_doses():
    ndct = np.arange(2 * 40 * 40).reshape(2, 40, 40).astype(np.int16)
    pairs = fitting.Pairs(ndct + 5, ndct, np.array([1]), WINDOW_HU)
    ldct_patches, ndct_patches = pairs.patches(6, 16, np.random.default_rng(0))
    assert ldct_patches.shape == (6, 16, 16)
    assert np.array_equal(ldct_patches, ndct_patches + 5)
    assert (ndct_patches >= 1600).all()
    assert len({patch[0, 0] for patch in ndct_patches}) > 1


def test_patches_of_air_are_drawn_again():
    ndct = np.full((1, 400, 400), -1024, np.int16)
    ndct[:, :, 200:] = 40
    pairs = fitting.Pairs(ndct, ndct, np.array([0]), WINDOW_HU)
    _, patches = pairs.patches(40, 20, np.random.default_rng(0))
    assert ((patches > -200).mean(axis=(1, 2)) >= 0.25).all()


@pytest.mark.parametrize(("method", "params"), [(map_nn, map_nn_params()), (red_cnn, red_cnn_params())])
def test_a_fit_denoises_and_repeats_to_the_byte(method, params, lesions, split, tmp_path):
    first = make(method, params, lesions, split, tmp_path / "a")
    curve = first.table("curve")
    assert curve["step"].iloc[-1] == 30
    assert len(curve) == 10
    assert curve["val_rmse_hu"].iloc[-1] < 0.9 * 30
    assert first.info["source"] == "fitted"
    state = torch.random.get_rng_state()
    make(method, params, lesions, split, tmp_path / "b")
    assert torch.equal(state, torch.random.get_rng_state())
    for name in ("weights.safetensors", "curve.csv", "artifact.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_other_patients_than_train_change_no_weight(lesions, split, tmp_path):
    make(red_cnn, red_cnn_params(steps=3), lesions, split, tmp_path / "a")
    with create_artifact(tmp_path / "other", "lesions") as writer:
        for name in ("ndct", "ldct"):
            writer.array(name, (4, SIDE, SIDE), np.int16)[:2] = lesions.array(name)[:2]
        writer.manifest(lesions.manifest)
        writer.info["window_hu"] = list(WINDOW_HU)
    make(red_cnn, red_cnn_params(steps=3), open_artifact(tmp_path / "other", "lesions"), split, tmp_path / "b")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_without_val_the_curve_has_losses_only(lesions, tmp_path):
    split = write_split(tmp_path / "split", ("train", "train", "test", "test"))
    curve = make(red_cnn, red_cnn_params(steps=2), lesions, split, tmp_path / "a").table("curve")
    assert list(curve.columns) == ["step", "loss"]


def test_faults_of_data_and_params_are_named(lesions, split, tmp_path):
    none = write_split(tmp_path / "none", ("test",) * 4)
    with pytest.raises(ArtifactError, match="has split 'train'"):
        make(red_cnn, red_cnn_params(), lesions, none, tmp_path / "a")
    with pytest.raises(ParamsError, match=r"denoisers\.red_cnn\.patch_size: 64 is more than the slices' 48 px"):
        make(red_cnn, red_cnn_params(patch_size=64), lesions, split, tmp_path / "a")
    with pytest.raises(ParamsError, match=r"denoisers\.map_nn\.lr: the loss became"):
        make(map_nn, map_nn_params(lr=1e30), lesions, split, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_published_weights_are_kept_and_named_by_their_sum(lesions, split, tmp_path):
    file = tmp_path / "ckpt.data-00000-of-00001"
    values = np.random.default_rng(0).normal(0, 0.01, 62_016).astype("<f4")
    file.write_bytes(values.tobytes())
    artifact = make(map_nn, map_nn_params(weights=str(file), width=32), lesions, split, tmp_path / "a")
    assert artifact.info["source"] == "published"
    assert artifact.info["parameters"] == 62_016
    assert len(artifact.info["published_sha256"]) == 64
    assert artifact.table("curve").empty
    model = fitting.load_denoiser(tmp_path / "a", MapNN, window_hu=WINDOW_HU)
    assert model.conv1.weight[3, 0, 0, 0].item() == values[3]


def test_loading_gives_back_the_network(lesions, split, tmp_path):
    make(map_nn, map_nn_params(steps=2), lesions, split, tmp_path / "a")
    model = fitting.load_denoiser(tmp_path / "a", MapNN, window_hu=WINDOW_HU)
    assert (model.width, model.levels, model.training) == (4, 2, False)
    denoised = fitting.denoise_slice(model, lesions.array("ldct")[3])
    assert list(denoised) == ["map_nn_d1", "map_nn_d2"]
    assert denoised["map_nn_d2"].dtype == np.int16
    assert denoised["map_nn_d2"].shape == (SIDE, SIDE)


def test_loading_refuses_what_does_not_belong(lesions, split, tmp_path):
    path = tmp_path / "a"
    make(red_cnn, red_cnn_params(steps=2), lesions, split, path)
    with pytest.raises(ArtifactError, match="holds 'red_cnn', expected 'map_nn'"):
        fitting.load_denoiser(path, MapNN, window_hu=WINDOW_HU)
    with pytest.raises(ArtifactError, match="made for the window"):
        fitting.load_denoiser(path, RedCNN, window_hu=(-1350.0, 150.0))
    weights = path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ArtifactError, match="sha256"):
        fitting.load_denoiser(path, RedCNN, window_hu=WINDOW_HU)
    with pytest.raises(ArtifactError, match="no 'denoiser' artifact"):
        fitting.load_denoiser(tmp_path / "none", RedCNN, window_hu=WINDOW_HU)


def test_configuration_is_plain_and_complete(lesions, split, tmp_path):
    make(red_cnn, red_cnn_params(steps=2), lesions, split, tmp_path / "a")
    info = json.loads((tmp_path / "a" / "artifact.json").read_text())
    assert info["name"] == "red_cnn"
    assert info["width"] == 4
    assert info["window_hu"] == list(WINDOW_HU)
