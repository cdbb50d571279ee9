import dataclasses

import pandas as pd
import pytest
import torch

from iqagpt.captioner.decoding import PredictParams, generate, predict_table
from iqagpt.captioner.fitting import TrainParams, caption_loss, fit_captioner, pad
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS
from iqagpt.predictions import expected_scores
from iqagpt.scored_images import open_scored_images

START = Pretrained(EncoderParams("conv", 16, 32, 1, 2), TextParams(32, 1, 1, 2, 64, 0.0), {})
CPU = torch.device("cpu")
GREEDY = PredictParams("greedy", beams=1, probabilities="conditional", max_tokens=80, batch_size=5)
PARAMS = TrainParams(
    epochs=60, batch_size=8, lr=6e-3, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="last", seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture(scope="module")
def tokenizer(scored_run):
    return CaptionTokenizer.load(scored_run / "captions")


@pytest.fixture(scope="module")
def fitted(images, tokenizer):
    return fit_captioner(PARAMS, images, tokenizer, START, CPU)


def test_loss_is_the_summed_negative_log_likelihood(images, tokenizer):
    train = images.subset("train")
    uniform = lambda batch, ids: torch.zeros(*ids.shape, tokenizer.size)  # noqa: E731
    loss = caption_loss(train, tokenizer, CPU)(uniform, torch.zeros(2, 1, 1, 1), [0, 1])
    tokens = [len(ids) - 1 for ids in tokenizer.encode(train.table["caption"].tolist()[:2])]
    assert loss.item() == pytest.approx(sum(tokens) / 2 * torch.log(torch.tensor(tokenizer.size)).item(), rel=1e-5)


def test_captioner_learns_the_noise_of_unseen_patients(fitted, images, tokenizer):
    model, curve = fitted
    assert curve["train_loss"].iloc[-1] < 0.1 * curve["train_loss"].iloc[0]
    table, valid = predict_table(model, tokenizer, images.held_out(), GREEDY, "iqagpt")
    truth = images.held_out().table
    assert (table["unparsed"] == "").all()
    assert valid == {"valid_free_captions": 1.0}
    assert (table["noise"] == truth["noise"]).mean() >= 0.9
    assert table["image_id"].tolist() == truth["image_id"].tolist()
    assert set(KEYS) < set(table)


@pytest.mark.parametrize("decoding", ["template", "marginal", "greedy", "beam"])
def test_captions_do_not_depend_on_the_batch(decoding, fitted, images, tokenizer):
    given = dataclasses.replace(GREEDY, decoding=decoding, probabilities="marginal", beams=3)
    params = [dataclasses.replace(given, batch_size=n) for n in (1, 16)]
    one, all_ = (predict_table(fitted[0], tokenizer, images.subset("test"), p, "iqagpt")[0] for p in params)
    assert one["caption"].tolist() == all_["caption"].tolist()
    pd.testing.assert_frame_equal(one, all_, atol=1e-4)


def test_a_fitted_model_says_the_same_in_every_way(fitted, images, tokenizer):
    given = dataclasses.replace(GREEDY, probabilities="marginal", beams=3)
    ways = {d: dataclasses.replace(given, decoding=d) for d in ("template", "marginal", "greedy", "beam")}
    found = {d: predict_table(fitted[0], tokenizer, images.subset("test"), p, "x")[0] for d, p in ways.items()}
    said = [table["noise"].tolist() for table in found.values()]
    assert said == said[:1] * len(ways)
    assert (found["beam"]["unparsed"] == "").all()
    assert (expected_scores(found["template"])["noise"] - found["template"]["noise"]).abs().max() < 1


def test_a_caption_that_is_cut_short_is_unparsed_not_guessed(fitted, images, tokenizer):
    cut = dataclasses.replace(GREEDY, max_tokens=10)
    table, valid = predict_table(fitted[0], tokenizer, images.subset("test"), cut, "iqagpt")
    assert valid == {"valid_free_captions": 0.0}
    assert table["diagnostic_confidence"].isna().all()
    assert table["unparsed"].str.contains("diagnostic_confidence").all()


def test_generation_stops_at_the_end_token(fitted, images, tokenizer):
    with torch.no_grad():
        batch = fitted[0].encode_image(torch.from_numpy(images.subset("test").batch([0])))
    assert generate(fitted[0], tokenizer, batch, max_tokens=500) == generate(fitted[0], tokenizer, batch, max_tokens=80)


def test_fitting_is_reproducible(images, tokenizer):
    params = dataclasses.replace(PARAMS, epochs=1)
    first, again = (fit_captioner(params, images, tokenizer, START, CPU)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_padding_is_on_the_right():
    assert pad([[1, 2], [3]], 0).tolist() == [[1, 2], [3, 0]]
