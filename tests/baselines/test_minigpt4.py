"""MiniGPT-4: what is trained, what is learned, what is said, and models from outside."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    BertTokenizerFast,
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipImageProcessor,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaConfig,
    T5Config,
)

from iqagpt.artifacts import create_artifact
from iqagpt.baselines.minigpt4 import BuiltinParams, Params, fit_predict
from iqagpt.baselines.predictions import prediction_table, read_captions
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.criteria import KEYS, all_scores, caption_to_scores, scores_to_caption
from iqagpt.errors import ArtifactError, InputError, ParamsError
from iqagpt.minigpt import prompt
from iqagpt.minigpt.bridge import Bridge, list_trained
from iqagpt.minigpt.builtin import PatchEyes, build_word_tokenizer
from iqagpt.minigpt.fitting import StageTwo, learning_rate
from iqagpt.models import open_model
from iqagpt.scored_images import open_scored_images
from iqagpt.weights import read_weights
from tests.baselines.starts import ENCODER, write_start

NONE = "presets/none.txt"
BUILTIN = dict(
    width=48, layers=2, heads=2, steps=140, batch_size=12, lr=6e-3, first_steps=60, first_lr=6e-3,
)  # fmt: skip
RECIPE = dict(
    epochs=1, iterations=10, batch_size=8, lr=3e-3, min_lr=1e-5, warmup_steps=0, warmup_lr=1e-6, weight_decay=0.05,
    beta2=0.999, max_text=160, seed=1, model=NONE, language_model=NONE, projection=NONE, max_tokens=120, describe_batch=8,
)  # fmt: skip
QUICK = dict(BUILTIN, steps=2, first_steps=1)


def params(builtin=QUICK, **changes):
    return Params(**{**RECIPE, **changes}, builtin=BuiltinParams(**builtin))


def fit(settings, images, folder, **start):
    start = write_start(folder.with_name("start"), **start)
    with create_artifact(folder, "baseline") as writer:
        scores = fit_predict(settings, images, start, writer)
        writer.info.update(name="minigpt4", window_hu=list(images.window_hu))
    return scores


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture(scope="module")
def fitted(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("minigpt4") / "model"
    return fit(params(BUILTIN), images, folder, encoder=EncoderParams("conv", 8, 32, 1, 2)), folder


def test_a_projection_alone_learns_to_tell_noise(fitted, images):
    table = prediction_table(images.held_out(), fitted[0], "minigpt4")
    truth = images.held_out().table
    read = table["noise"].notna()
    assert read.mean() > 0.8
    assert np.corrcoef(table["noise"][read].astype(float), truth["noise"][read].astype(float))[0, 1] > 0.7
    for row in table.to_dict("records"):
        stated = caption_to_scores(row["caption"])
        assert set(filter(None, row["unparsed"].split(";"))) == set(KEYS) - set(stated)


def test_the_opened_model_says_the_same_alone_and_together(fitted, images):
    scorer = open_model(fitted[1]).scorer
    held_out = images.held_out()
    pixels = [held_out.pixels_hu(index) for index in range(len(held_out))]
    assert scorer.score(pixels)["caption"].tolist() == fitted[0]["caption"].tolist()
    assert scorer.score(pixels[-1:])["caption"].tolist() == fitted[0]["caption"].tolist()[-1:]


def test_the_language_models_loss_is_kept_step_by_step_and_falls(fitted):
    curve = pd.read_csv(fitted[1] / "language_model_curve.csv")
    assert curve["step"].tolist() == list(range(1, BUILTIN["steps"] + 1))
    assert curve["loss"].iloc[-10:].mean() < 0.5 * curve["loss"].iloc[0]


def test_only_the_projection_moves(images, tmp_path):
    """The same seeds with another learning rate of the second stage: every tensor but the projection stays."""
    fit(params(), images, tmp_path / "slow")
    fit(params(lr=1e-2), images, tmp_path / "fast")
    slow, fast = (read_weights(_artifact(tmp_path / name)) for name in ("slow", "fast"))
    assert {name for name in slow if not torch.equal(slow[name], fast[name])} == {
        "projection.weight", "projection.bias",
    }  # fmt: skip


def test_the_same_fit_gives_the_same_bytes(images, tmp_path):
    for name in ("one", "two"):
        fit(params(), images, tmp_path / name)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_the_trained_tensors_are_named_at_the_start(images, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "iqagpt"):
        fit(params(), images, tmp_path / "m")
    assert "trained: projection.weight (48, 128), projection.bias (48,)" in caplog.text
    assert "frozen as it is initialised at random" in caplog.text
    assert _artifact(tmp_path / "m").info["trained"] == ["projection.weight", "projection.bias"]


def test_anything_else_trained_is_a_defect(images):
    model = tiny_bridge()
    model.language_model.lm_head.requires_grad_(True)
    with pytest.raises(RuntimeError, match=r"found .*lm_head"):
        list_trained(model)


def test_pretrained_weights_reach_the_image_encoder(images, tmp_path):
    donor = PatchEyes(ENCODER, 64)
    tensors = {name: torch.full_like(t, 0.5) for name, t in donor.state_dict().items()}
    fit(params(), images, tmp_path / "m", tensors=tensors)
    found = read_weights(_artifact(tmp_path / "m"))
    assert all(torch.equal(found[f"eyes.{name}"], tensor) for name, tensor in tensors.items())


def test_features_are_neighbouring_patches_side_by_side():
    eyes = PatchEyes(EncoderParams("conv", 16, 32, 1, 2), 64)

    class Numbered(torch.nn.Module):
        def forward_features(self, images):
            return torch.arange(-1, 16).float()[None, :, None].expand(1, 17, 32)

    eyes.image_encoder = Numbered()
    found = eyes(torch.zeros(1, 1, 64, 64))
    assert found.shape == (1, 4, 128) and (eyes.count, eyes.width) == (4, 128)
    assert found[0, 1, ::32].tolist() == [2, 3, 6, 7]


def tiny_bridge():
    tokenizer = build_word_tokenizer([scores_to_caption(s) for s in all_scores()])
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    from transformers import LlamaForCausalLM

    eyes = torch.nn.Identity()
    eyes.width = 8
    torch.manual_seed(0)
    return Bridge(eyes, LlamaForCausalLM(config), tokenizer).eval()


def test_the_loss_counts_answer_and_end_symbol_only():
    """Against the definition, one caption at a time: the log-likelihood of each token of the answer, given all before."""
    model, features = tiny_bridge(), torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    captions = [scores_to_caption(dict.fromkeys(KEYS, 1)), scores_to_caption(dict.fromkeys(KEYS, 4))]
    tokenizer, instruction = model.tokenizer, prompt.INSTRUCTIONS[2]
    embed = model.language_model.get_input_embeddings()

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    total, count = 0.0, 0
    for seen, caption in zip(features, captions, strict=True):
        before, answer = [tokenizer.bos_token_id, *ids("###Human: <Img>")], ids(caption + "###")
        after = ids(f"</Img> {instruction} ###Assistant: ")
        parts = [embed(torch.tensor(before)), model.projection(seen), embed(torch.tensor([*after, *answer]))]
        logits = model.language_model(inputs_embeds=torch.cat(parts)[None]).logits[0].log_softmax(-1)
        first = len(before) + len(seen) + len(after)
        total -= sum(float(logits[first + i - 1, token].detach()) for i, token in enumerate(answer))
        count += len(answer)
    assert model.loss(features, captions, instruction, 160).item() == pytest.approx(total / count, rel=1e-5)


def test_every_caption_survives_the_tokenizer():
    captions = [scores_to_caption(scores) for scores in all_scores()]
    tokenizer = build_word_tokenizer(captions)
    for caption in captions:
        ids = tokenizer(caption + prompt.END, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert prompt.until_end(tokenizer.decode(ids)) == caption


def test_the_learning_rate_of_stage_two():
    recipe = StageTwo(5, 200, 12, 3e-5, 1e-5, 200, 1e-6, 0.05, 0.999, 160, 1)
    assert learning_rate(recipe, 0) == 1e-6
    assert learning_rate(recipe, 100) == pytest.approx((3e-5 + 1e-6) / 2)
    assert learning_rate(recipe, 200) == pytest.approx(1e-5 + 2e-5 * 0.5 * (1 + np.cos(np.pi * 0.2)))
    assert learning_rate(recipe, 1000) == pytest.approx(1e-5)


def test_free_text_is_read_strictly():
    good = scores_to_caption(dict.fromkeys(KEYS, 2) | {"lesion_conspicuity": None})
    table = read_captions([good, good.replace("no lesion", "nothing seen"), ""])
    assert table["unparsed"].tolist() == ["", "lesion_conspicuity", ";".join(KEYS)]
    assert table["noise"].tolist()[:2] == [2, 2]
    assert table["lesion_conspicuity"].isna().all()


# Models from outside


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory):
    """A tiny BLIP-2 and a tiny InstructBLIP, as transformers saves them."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = build_word_tokenizer([scores_to_caption(s) for s in all_scores()])
    vision = dict(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    qformer = dict(
        hidden_size=12,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        encoder_hidden_size=16,
        vocab_size=40,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    ).to_dict()
    torch.manual_seed(0)
    options = dict(vision_config=vision, qformer_config=qformer, text_config=text, num_query_tokens=4)
    Blip2ForConditionalGeneration(Blip2Config(**options)).save_pretrained(root / "blip2")
    tokenizer.save_pretrained(root / "blip2")
    InstructBlipForConditionalGeneration(InstructBlipConfig(**options)).save_pretrained(root / "instruct")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "describe", "this", "image", "in", "detail", "."]
    (root / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    reader = BertTokenizerFast(vocab=str(root / "vocab.txt"))
    InstructBlipProcessor(BlipImageProcessor(), tokenizer, reader).save_pretrained(root / "instruct")
    small = dict(d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2, vocab_size=32)
    Blip2ForConditionalGeneration(
        Blip2Config(**{**options, "text_config": T5Config(**small).to_dict()})
    ).save_pretrained(root / "t5")
    model = Blip2ForConditionalGeneration.from_pretrained(root / "blip2").language_model
    model.save_pretrained(root / "llama")
    tokenizer.save_pretrained(root / "llama")
    return root


@pytest.mark.parametrize(("model", "language"), [("blip2", None), ("instruct", None), ("t5", "llama")])
def test_a_model_from_a_folder(model, language, blip_folder, images, tmp_path):
    named = NONE if language is None else str(blip_folder / language)
    settings = params(model=str(blip_folder / model), language_model=named, max_tokens=3, epochs=1, iterations=2)
    scores = fit(settings, images, tmp_path / "m")
    stored = read_weights(_artifact(tmp_path / "m"))
    assert {name: tuple(t.shape) for name, t in stored.items()} == {
        "projection.weight": (16, 12), "projection.bias": (16,),
    }  # fmt: skip
    held_out = images.held_out()
    pixels = [held_out.pixels_hu(index) for index in range(len(held_out))]
    assert open_model(tmp_path / "m").scorer.score(pixels)["caption"].tolist() == scores["caption"].tolist()


def test_a_checkpoint_of_minigpt4_starts_the_projection(blip_folder, images, tmp_path):
    weight, bias = torch.full((16, 12), 0.25), torch.full((16,), 0.5)
    torch.save({"model": {"llama_proj.weight": weight, "llama_proj.bias": bias}}, tmp_path / "checkpoint.pth")
    settings = params(
        model=str(blip_folder / "blip2"), projection=str(tmp_path / "checkpoint.pth"), max_tokens=3, epochs=1, iterations=1,
        lr=1e-9, min_lr=0.0,
    )  # fmt: skip
    fit(settings, images, tmp_path / "m")
    stored = read_weights(_artifact(tmp_path / "m"))
    torch.testing.assert_close(stored["projection.weight"], weight, atol=1e-6, rtol=0)
    torch.save({"model": {"llama_proj.weight": torch.zeros(3, 3)}}, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match=r"llama_proj.weight has shape \(3, 3\), expected \(16, 12\)"):
        fit(settings, images, tmp_path / "n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nowhere"}, "nowhere: no model's folder"),
        ({"model": "t5"}, "is not causal"),
        ({"model": "llama"}, "a 'llama' model; baseline.minigpt4.model takes"),
        ({"model": "blip2", "projection": "nowhere.pth"}, "baseline.minigpt4.projection: no such file"),
    ],
)
def test_models_that_do_not_fit(changes, message, blip_folder, images, tmp_path):
    changes = {k: str(blip_folder / v) if (blip_folder / v).exists() else v for k, v in changes.items()}
    with pytest.raises((InputError, ParamsError)) as caught:
        fit(params(**changes), images, tmp_path / "m")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language_model": "vicuna"}, "language_model: 'vicuna' needs baseline.minigpt4.model"),
        ({"beta2": 1.0}, "beta2"),
        ({"lr": 0.0}, "lr: expected a number > 0"),
        ({"builtin": dict(QUICK, heads=5)}, "heads"),
        ({"builtin": dict(QUICK, first_lr=0.0)}, "first_lr"),
    ],
)
def test_wrong_params(changes, message):
    with pytest.raises(ValueError, match=message):
        params(**changes)


def test_without_training_images(images, tmp_path):
    with pytest.raises(ArtifactError, match="no image is in split 'train'"):
        fit(params(), images.held_out(), tmp_path / "m")


def _artifact(folder):
    from iqagpt.artifacts import open_artifact

    return open_artifact(folder, "baseline")
