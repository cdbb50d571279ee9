"""CLIP-IQA and CLIP-IQA+: prompts, direction, learned context, and scoring alike in and out of the pipeline."""

import numpy as np
import pandas as pd
import pytest
import torch

from iqagpt.artifacts import create_artifact, open_artifact, read_json
from iqagpt.baselines import clip_iqa, clip_iqa_plus
from iqagpt.baselines.clip_rivals import ClipParams
from iqagpt.baselines.predictions import prediction_table
from iqagpt.clip.builtin import BuiltinParams
from iqagpt.clip.context import Seen, encode, fit_context
from iqagpt.clip.facts import WORDS
from iqagpt.clip.model import Clip, ImageTower, TextTower
from iqagpt.clip.quality import Prompts, quality_to_score, score_to_quality
from iqagpt.clip.stored import frozen
from iqagpt.clip.tokens import word_tokens
from iqagpt.criteria import KEYS
from iqagpt.errors import ParamsError
from iqagpt.models import open_model
from iqagpt.scored_images import open_scored_images
from iqagpt.training import Recipe

PROMPTS = Prompts(
    noise=("Image at normal dose.", "Image at low dose."),
    small_structures=("Sharp image.", "Blurred image."),
    lesion_conspicuity=("Image with clear lesion.", "Image with faint lesion."),
    diagnostic_confidence=("Sharp image at normal dose.", "Sharp image at low dose."),
)
BUILTIN = BuiltinParams(width=8, stem=8, embedding=16, crop_px=64, steps=80, batch_size=16, lr=4e-3, seed=1)
CLIP = ("builtin", "", BUILTIN, PROMPTS)
RECIPE = dict(
    epochs=10, batch_size=8, lr=3e-2, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.0, beta2=0.95,
    clip_norm=0.0, augment=False, keep="best", seed=1,
)  # fmt: skip
PARAMS = {
    "clip_iqa": clip_iqa.Params(*CLIP, no_lesion="Image without lesion."),
    "clip_iqa_plus": clip_iqa_plus.Params(**RECIPE, context=16, clip=ClipParams(*CLIP)),
}
MODULES = {"clip_iqa": clip_iqa, "clip_iqa_plus": clip_iqa_plus}


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture(scope="module")
def fitted(images, tmp_path_factory):
    root, scores = tmp_path_factory.mktemp("clip_rivals"), {}
    params = PARAMS["clip_iqa"]
    for name, module in MODULES.items():
        with create_artifact(root / name, "baseline") as writer:
            scores[name] = module.fit_predict(params, images, None, writer)
            writer.info.update(name=name, window_hu=list(images.window_hu))
        # The second takes the CLIP that the first has fitted: the same weights in half the time.
        given = ClipParams(str(root / name), writer.info["weights_sha256"], BUILTIN, PROMPTS)
        params = clip_iqa_plus.Params(**RECIPE, context=16, clip=given)
    return root, scores


def correlation(scores, images):
    return np.corrcoef(scores["noise"], images.held_out().table["noise"].astype(float))[0, 1]


def test_zero_shot_scores_rise_with_noise(fitted, images):
    """Score 1 is best and 4 worst, so a noisier image has the higher score, as the reader's."""
    scores = fitted[1]["clip_iqa"]
    assert correlation(scores, images) > 0.5
    assert all(scores[key].between(1, 4).all() for key in ("noise", "small_structures", "diagnostic_confidence"))


def test_learned_context_follows_the_reader(fitted, images):
    scores = fitted[1]["clip_iqa_plus"]
    assert correlation(scores, images) > 0.8
    curve = open_artifact(fitted[0] / "clip_iqa_plus", "baseline").table("curve")
    assert curve["noise_train_loss"].iloc[-1] < curve["noise_train_loss"].iloc[0]
    assert curve.columns.tolist() == ["epoch", *(f"{key}_{part}_loss" for key in KEYS for part in ("train", "val"))]
    assert curve["epoch"].is_monotonic_increasing


@pytest.mark.parametrize("name", MODULES)
def test_scores_alike_in_and_out_of_the_pipeline(name, fitted, images):
    root, scores = fitted
    held_out = images.held_out()
    model = open_model(root / name)
    found = model.scorer.score([held_out.pixels_hu(index) for index in range(len(held_out))])
    assert (model.name, model.scorer.image_size) == (name, None) and model.weights_sha256

    def numbers(table):
        return table[list(KEYS)].astype("Float64").to_numpy(dtype=float, na_value=-1.0)

    np.testing.assert_allclose(numbers(found), numbers(scores[name]), atol=1e-4)
    for shape in ((80, 120), (5, 7), (33, 31)):  # not square, tiny, and constant: no size and no content gives NaN
        assert np.isfinite(numbers(model.scorer.score([np.zeros(shape, np.int16)]))).all()
    table = prediction_table(held_out, scores[name], name)
    assert table["image_id"].tolist() == held_out.table["image_id"].tolist()


def test_the_stored_model_is_called_builtin(fitted):
    first, second = (open_artifact(fitted[0] / name, "baseline").info for name in MODULES)
    assert first["source"] == "builtin"
    assert second["source"] == first["weights_sha256"] == second["weights_sha256"]


def test_a_fitted_clip_serves_as_weights_and_gives_the_same_scores(fitted, images, tmp_path):
    root, scores = fitted
    digest = open_artifact(root / "clip_iqa", "baseline").info["weights_sha256"]
    params = clip_iqa.Params(str(root / "clip_iqa"), digest, BUILTIN, PROMPTS, no_lesion="Image without lesion.")
    with create_artifact(tmp_path / "again", "baseline") as writer:
        again = clip_iqa.fit_predict(params, images, None, writer)
    pd.testing.assert_frame_equal(again, scores["clip_iqa"])


def test_who_was_told_nothing_of_lesions_finds_none(images, tmp_path):
    """The data have no lesion mask, as a reader study, so its texts about lesions mean nothing to it."""
    assert images.table["lesion_conspicuity"].notna().any()
    with create_artifact(tmp_path / "first", "baseline") as writer:
        few = BuiltinParams(8, 8, 16, 64, 2, 16, 4e-3, 1)
        params = clip_iqa.Params("builtin", "", few, PROMPTS, no_lesion="Image without lesion.")
        scores = clip_iqa.fit_predict(params, images, None, writer)
        writer.info.update(name="clip_iqa", window_hu=list(images.window_hu))
    assert scores["lesion_conspicuity"].isna().all() and scores["noise"].notna().all()
    info = open_artifact(tmp_path / "first", "baseline").info
    assert info["facts"] == ["blur", "dose"]
    found = open_model(tmp_path / "first").scorer.score([images.pixels_hu(0)])
    assert found["lesion_conspicuity"].isna().all()
    # Its weights know no more in another folder; those from elsewhere are asked.
    again = clip_iqa.Params(str(tmp_path / "first"), info["weights_sha256"], few, PROMPTS, params.no_lesion)
    with create_artifact(tmp_path / "second", "baseline") as writer:
        pd.testing.assert_frame_equal(clip_iqa.fit_predict(again, images, None, writer), scores)
    clip, tokens = tiny()
    vectors = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert clip_iqa.zero_shot(clip, tokens, PROMPTS, params.no_lesion, vectors)["lesion_conspicuity"].notna().any()


def test_the_direction_turns_in_one_place():
    scores = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(score_to_quality(scores, 4), [1, 2 / 3, 0])
    np.testing.assert_allclose(quality_to_score(score_to_quality(scores, 5), 5), scores)
    assert (quality_to_score(np.array([0.0, 1.0]), 4) == [4, 1]).all()


def tiny():
    torch.manual_seed(0)
    tokens = word_tokens(WORDS)
    tower = ImageTower(8, 8, (1, 1, 1, 1))
    clip = Clip(tower, TextTower(16, 1, 2, 16, 40), embedding=8, vocabulary_size=tokens.size, eos=tokens.end)
    return frozen(clip), tokens


def test_context_stands_half_before_and_half_behind_the_prompt():
    clip, tokens = tiny()
    ids, slots = tokens.ids(["Sharp image.", "Image at low dose."], 16)
    assert slots.sum(dim=1).tolist() == [16, 16]
    assert slots[0].nonzero()[:, 0].tolist() == [*range(1, 9), *range(12, 20)]
    assert ids[0, 21] == tokens.end and not slots[0, 20:].any()
    context = torch.randn(16, 16, requires_grad=True)
    texts = clip.encode_texts(ids, slots, context)
    texts.sum().backward()
    assert (context.grad.abs().sum(dim=1) > 0).all()
    assert not torch.allclose(texts, clip.encode_texts(ids, slots, torch.randn(16, 16)))
    own = clip.text.get_input_embeddings()(ids[:1])[slots[:1]]
    assert torch.allclose(clip.encode_texts(ids[:1], slots[:1], own), clip.encode_texts(ids[:1]), atol=1e-6)


def test_context_learns_what_the_vectors_tell():
    clip, tokens = tiny()
    with torch.no_grad():
        clip.logit_scale.fill_(np.log(20.0))
    rng = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(1, 64, 8, generator=rng), dim=-1)
    seen = Seen(vectors, torch.sigmoid(6 * vectors[0, :, 0]))
    recipe = Recipe(**RECIPE | {"epochs": 40, "keep": "last"})
    _, curve = fit_context(clip, tokens, PROMPTS.noise, train=seen, val=seen, recipe=recipe, count=16, name="noise")
    assert curve["train_loss"].iloc[-1] < 0.6 * curve["train_loss"].iloc[0]


def test_only_the_context_learns_and_the_best_epoch_is_kept(images):
    clip, tokens = tiny()
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    train, val = (
        Seen(encode(clip, part, batch_size=4, device=torch.device("cpu"), views=views), torch.linspace(0, 1, len(part)))
        for part, views in ((images.subset("train"), 8), (images.subset("val"), 1))
    )
    recipe = Recipe(**RECIPE | {"epochs": 4, "augment": True})
    options = dict(train=train, val=val, recipe=recipe, count=16, name="noise")
    context, curve = fit_context(clip, tokens, PROMPTS.noise, **options)
    again, _ = fit_context(clip, tokens, PROMPTS.noise, **options)
    assert torch.equal(context, again)
    assert all(torch.equal(before[name], value) for name, value in clip.state_dict().items())
    assert len(curve) == 4 and curve["val_loss"].notna().all()


def test_views_are_the_turned_and_flipped_images(images):
    clip, _ = tiny()
    part = images.subset("val")
    seen = encode(clip, part, batch_size=3, device=torch.device("cpu"), views=8)
    batch = torch.from_numpy(part.batch(np.arange(len(part))))
    turned = torch.rot90(batch, 1, (2, 3))
    with torch.no_grad():
        assert torch.allclose(seen[0], clip.encode_images(batch), atol=1e-5)
        assert torch.allclose(seen[3], clip.encode_images(turned.flip(3)), atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "digest", "message"),
    [("builtin", "0" * 64, "expected none with weights: builtin"), ("models/rn50", "", "expected the 64 digits")],
)
def test_weights_and_their_hash_go_together(weights, digest, message):
    with pytest.raises(ValueError, match=message):
        ClipParams(weights, digest, BUILTIN, PROMPTS)


def test_equal_prompts_are_refused():
    with pytest.raises(ValueError, match="noise: expected two different texts"):
        Prompts(("a", "a"), ("a", "b"), ("a", "b"), ("a", "b"))


def test_best_epoch_needs_val(images, tmp_path):
    table = images.table.assign(split=images.table["split"].replace("val", "test"))
    lacking = type(images)(table, images.variants)
    with pytest.raises(ParamsError, match="validation patients"), create_artifact(tmp_path / "x", "baseline") as writer:
        clip_iqa_plus.fit_predict(PARAMS["clip_iqa_plus"], lacking, None, writer)


def test_directions_are_two_a_criterion(fitted):
    stored = read_json(fitted[0] / "clip_iqa_plus/directions.json")
    assert {key: np.shape(stored[key]) for key in KEYS} == dict.fromkeys(KEYS, (2, 16))
