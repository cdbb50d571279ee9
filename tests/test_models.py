"""Every fitted model opened from its folder: it says of an image what the pipeline said."""

from importlib import import_module

import numpy as np
import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.baselines.predictions import nearest_score
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.decoding import PredictParams, predict_table
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError
from iqagpt.models import open_model
from iqagpt.predictions import expected_scores
from iqagpt.scored_images import open_scored_images
from tests.baselines.starts import write_start

RECIPE = dict(
    epochs=1, batch_size=8, lr=3e-3, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="last", seed=1, hidden=16,
)  # fmt: skip
PARAMS = {
    "vit_c": RECIPE,
    "vit_r": RECIPE,
    "noise_sd": dict(bands_px=(0.7, 1.4), leaves=6, min_leaf=2),
    "majority": {},
    "majority_by_variant": {},
}


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


def fit(name, images, folder):
    module = import_module(f"iqagpt.baselines.{name}")
    start = write_start(folder.with_name("start"))
    with create_artifact(folder, "baseline") as writer:
        scores = module.fit_predict(module.Params(**PARAMS[name]), images, start, writer)
        writer.info.update(name=name, window_hu=list(images.window_hu))
    return scores


def numbers(table):
    return table[list(KEYS)].astype("Float64").to_numpy(dtype=float, na_value=-1.0)


@pytest.mark.parametrize("name", ["vit_c", "vit_r", "noise_sd", "majority"])
def test_baselines_score_alike_in_and_out_of_the_pipeline(name, images, tmp_path):
    expected = fit(name, images, tmp_path / name)
    model = open_model(tmp_path / name)
    held_out = images.held_out()
    pixels = [held_out.pixels_hu(index) for index in range(len(held_out))]
    assert model.name == name
    np.testing.assert_allclose(numbers(model.scorer.score(pixels)), numbers(expected), atol=1e-5)
    alone = [numbers(model.scorer.score([image]))[0] for image in pixels[:3]]
    np.testing.assert_allclose(alone, numbers(expected)[:3], atol=1e-5)


def test_the_noise_tree_is_kept_exactly(images, tmp_path):
    expected = fit("noise_sd", images, tmp_path / "noise_sd")
    assert len(expected["noise"].unique()) > 2
    truth = images.held_out().table["noise"]
    assert (expected["noise"].map(nearest_score).to_numpy() == truth.to_numpy()).mean() > 0.7


def test_the_captioner_scores_alike(images, scored_run, tmp_path):
    torch.manual_seed(0)
    tokenizer = CaptionTokenizer.load(scored_run / "captions")
    text = TextParams(width=24, text_layers=1, fusion_layers=1, heads=2, intermediate=32, dropout=0.0)
    model = Captioner(EncoderParams("conv", 16, 16, 1, 2), text, image_size=64, vocabulary_size=tokenizer.size).eval()
    with create_artifact(tmp_path / "iqagpt", "captioner") as writer:
        save_captioner(writer, model, tokenizer)
        writer.info["window_hu"] = list(images.window_hu)
    params = PredictParams("template", beams=1, probabilities="conditional", max_tokens=80, batch_size=8)
    predicted, _ = predict_table(model, tokenizer, images.held_out(), params, "iqagpt")
    opened = open_model(tmp_path / "iqagpt")
    held_out = images.held_out()
    found = opened.scorer.score([held_out.pixels_hu(index) for index in range(len(held_out))])
    assert (opened.name, opened.scorer.image_size) == ("iqagpt", 64) and opened.weights_sha256
    assert found["caption"].tolist() == predicted["caption"].tolist()
    assert (found["unparsed"] == "").all()
    expected = expected_scores(predicted).astype("Float64")
    expected["lesion_conspicuity"] = expected["lesion_conspicuity"].mask(predicted["lesion_conspicuity"].isna())
    np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-4)


def test_the_oracle_scores_nothing_from_outside(images, tmp_path):
    fit("majority_by_variant", images, tmp_path / "oracle")
    with pytest.raises(ArtifactError, match="cannot score images from outside"):
        open_model(tmp_path / "oracle")


@pytest.mark.parametrize(
    ("kind", "info", "message"),
    [
        (None, {}, "no model (artifact.json is missing)"),
        ("pairs", {}, "no model (found 'pairs')"),
        ("baseline", {}, "does not name the baseline"),
        ("baseline", {"name": "os"}, "does not name the baseline"),
        ("baseline", {"name": "vit_c"}, "no configuration in artifact.json"),
    ],
)
def test_what_is_no_model(tmp_path, kind, info, message):
    if kind:
        with create_artifact(tmp_path / "m", kind) as writer:
            writer.info.update(info)
    with pytest.raises(ArtifactError) as caught:
        open_model(tmp_path / "m")
    assert message in str(caught.value)
