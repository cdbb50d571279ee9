"""The builtin CLIP: what it is told, that it learns it, and that no score reaches it."""

import numpy as np
import pandas as pd
import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.clip.builtin import BuiltinParams, contrastive_loss, fit_builtin
from iqagpt.clip.facts import KINDS, WORDS, FactCrops, Facts
from iqagpt.clip.model import Clip, ImageTower, TextTower
from iqagpt.clip.tokens import word_tokens
from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError, InputError
from iqagpt.scored_images import ScoredImages, open_scored_images

SIZE = 96
PARAMS = dict(width=8, stem=8, embedding=16, crop_px=64, steps=60, batch_size=16, lr=4e-3, seed=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ScoredImages:
    """Eight slices to train and two to validate: liver left, spleen right, a lesion in every other one."""
    root = tmp_path_factory.mktemp("facts")
    rng = np.random.default_rng(0)
    rows = [{"slice_id": f"P{k}_000", "patient_id": f"P{k}", "row": k, "lesion_contrast_hu": 50.0 if k % 2 else None}
            for k in range(10)]  # fmt: skip
    with create_artifact(root / "variants", "variants") as writer:
        ndct, ldct = (writer.array(name, (10, SIZE, SIZE), np.int16) for name in ("ndct", "ldct"))
        mask = writer.array("lesion_mask", (10, SIZE, SIZE), np.uint8)
        flat = np.where(np.arange(SIZE) < SIZE // 2, 20, 130) + np.zeros((SIZE, 1))
        for k in range(10):
            mask[k, 40:52, 20:32] = k % 2
            ndct[k] = np.rint(flat + 50.0 * mask[k] + rng.normal(0, 5, (SIZE, SIZE)))
            ldct[k] = np.rint(ndct[k] + rng.normal(0, 60, (SIZE, SIZE)))
        writer.info.update(window_hu=[-160.0, 240.0], variants=["ndct", "ldct"])
        table = pd.DataFrame([row | {"variant": name} for name in ("ndct", "ldct") for row in rows])
        writer.manifest(table.assign(image_id=table["slice_id"] + "_" + table["variant"], pixel_spacing_mm=0.7))
    with create_artifact(root / "pairs", "pairs") as writer:
        organs = writer.array("organs", (10, SIZE, SIZE), np.uint8)
        organs[:, :, : SIZE // 2], organs[:, :, SIZE // 2 :] = 5, 1
        writer.manifest(pd.DataFrame(rows))
    with create_artifact(root / "split", "split") as writer:
        writer.manifest(pd.DataFrame([row | {"split": "train" if row["row"] < 8 else "val"} for row in rows]))
    return open_scored_images(root / "variants", root / "split", pairs=root / "pairs")


def test_crops_are_what_their_facts_say(images):
    crops = FactCrops(images.subset("train"), 64)
    assert (len(crops), crops.kinds) == (8, KINDS)
    pixels, facts = crops.draw(200, np.random.default_rng(0))
    assert pixels.shape == (200, 1, 64, 64) and pixels.dtype == np.float32
    rough = np.abs(np.diff(pixels[:, 0], axis=2)).mean(axis=(1, 2))

    def mean(**wanted):
        return rough[[all(getattr(fact, k) == v for k, v in wanted.items()) for fact in facts]].mean()

    assert mean(dose="low dose", blur="sharp") > 1.5 * mean(dose="reduced dose", blur="sharp")
    assert mean(dose="reduced dose", blur="sharp") > 2 * mean(dose="normal dose", blur="sharp")
    assert mean(dose="low dose", blur="sharp") > 1.5 * mean(dose="low dose", blur="soft")
    assert {fact.organs for fact in facts} >= {("spleen", "liver")}
    share = np.mean([fact.lesion == "clear lesion" for fact in facts])
    assert 0.2 < share < 0.7 and "faint lesion" not in {fact.lesion for fact in facts}


def test_sentences_tell_what_is_asked_for_in_known_words():
    facts = Facts("soft", "low dose", ("liver", "kidney"), "faint lesion")
    assert facts.text(KINDS) == "soft image of liver, kidney at low dose with faint lesion."
    assert facts.text(["dose"]) == "image at low dose."
    assert Facts("sharp", "low dose", None, None).text(["organs", "lesion"]) == "image."
    assert Facts("sharp", "low dose", (), "no lesion").text(["lesion"]) == "image without lesion."
    word_tokens(WORDS).ids([facts.text(KINDS), "image without lesion."])


def test_it_learns_the_dose_of_unseen_slices(images):
    fitted = fit_builtin(images, BuiltinParams(**PARAMS), torch.device("cpu"))
    clip, curve, known = fitted.clip, fitted.curve, fitted.known
    dose = known.set_index("fact").loc["dose"]
    assert dose["accuracy"] > dose["commonest"] + 0.08, known
    assert (known["commonest"] <= 1).all() and tuple(known["fact"]) == fitted.facts == KINDS
    assert curve["loss"].iloc[-1] < 0.9 * curve["loss"].iloc[0]
    assert not any(parameter.requires_grad for parameter in clip.parameters()) and not clip.training


def test_scores_captions_and_other_variants_change_nothing(images):
    """The same weights, whatever the reader says; with a missing column it would fail if it looked."""
    few = BuiltinParams(**PARAMS | {"steps": 3})
    plain = fit_builtin(images, few, torch.device("cpu")).clip.state_dict()
    scored = ScoredImages(
        images.table.assign(**dict.fromkeys(KEYS, 4), caption="unacceptable"), images.variants, images.pairs
    )
    other = fit_builtin(scored, few, torch.device("cpu")).clip.state_dict()
    assert not set(KEYS) & set(images.table.columns)
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_what_is_not_known_is_not_told(images):
    bare = ScoredImages(images.table, images.variants)
    assert FactCrops(bare.subset("train"), 64).kinds == ("blur", "dose", "lesion")


def test_without_training_images_there_is_nothing_to_learn(images):
    held_out = ScoredImages(images.table[images.table["split"] == "val"], images.variants)
    with pytest.raises(ArtifactError, match="no image is in split 'train'"):
        fit_builtin(held_out, BuiltinParams(**PARAMS), torch.device("cpu"))


def test_equal_sentences_are_one_text_with_several_images():
    torch.manual_seed(0)
    tokens = word_tokens(WORDS)
    clip = Clip(
        ImageTower(8, 8, (1, 1, 1, 1)),
        TextTower(16, 1, 2, 16, 20),
        embedding=8,
        vocabulary_size=tokens.size,
        eos=tokens.end,
    ).eval()
    image = torch.rand(1, 1, 64, 64)
    same = contrastive_loss(clip, tokens, image.expand(4, -1, -1, -1), ["sharp image."] * 4)
    assert same.item() == pytest.approx(0.5 * np.log(4), rel=1e-4)  # one text: only which of four equal images is open


def test_a_word_that_it_was_not_taught_is_named():
    with pytest.raises(InputError, match="does not know 'Good'"):
        word_tokens(WORDS).ids(["Good image."])
