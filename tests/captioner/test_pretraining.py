import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.baselines.vit_heads import MultiHeadViT
from iqagpt.captioner import pretraining
from iqagpt.captioner.captioner import Captioner, save_captioner
from iqagpt.captioner.fitting import pad
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.masking import WordMask, masked_blocks
from iqagpt.captioner.objectives import Batch, ObjectiveParams, Objectives, Weights, read_text
from iqagpt.captioner.pretrained import KIND, open_pretrained
from iqagpt.captioner.pretraining import PretrainParams, make_pretrained, new_captioner, pretrain_captioner
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.errors import ArtifactError, InputError, ParamsError
from iqagpt.scored_images import ScoredImages, open_scored_images
from iqagpt.training import build_seeded
from iqagpt.weights import save_tensors

CPU = torch.device("cpu")
NAMES = ("contrast", "language", "image", "matching", "lesion")
SETTINGS = ObjectiveParams(
    embedding=16, queue=64, momentum=0.9, distillation=0.4, temperature=0.07, masked_words=0.15, emphasis=6.0,
    masked_patches=0.3,
)  # fmt: skip
PARAMS = PretrainParams(
    source="objectives", weights="presets/none.txt", encoder=EncoderParams("conv", 16, 32, 1, 2),
    text=TextParams(32, 1, 1, 2, 64, 0.0), objectives=Weights(1.0, 1.0, 1.0, 1.0, 0.0), settings=SETTINGS, epochs=20, batch_size=16,
    lr=6e-3, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-5, weight_decay=0.02, beta2=0.95, clip_norm=1.0, seed=1,
)  # fmt: skip

FOCAL = dataclasses.replace(
    PARAMS,
    encoder=EncoderParams("focal", 16, 32, 1, 2),
    objectives=Weights(0.0, 0.0, 0.0, 0.0, 1.0),
    batch_size=4,
)


def only(**weights):
    return Weights(**(dict.fromkeys(NAMES, 0.0) | weights))


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


@pytest.fixture(scope="module")
def tokenizer(scored_run):
    return CaptionTokenizer.load(scored_run / "captions")


@pytest.fixture(scope="module")
def with_lesions(scored_run, tmp_path_factory):
    """The NDCT with a dark square, 60 HU below the rest, in every other slice, each in a place of its own, and its mask."""
    variants = tmp_path_factory.mktemp("with_lesions") / "variants"
    shutil.copytree(scored_run / "variants", variants)
    pixels = np.load(variants / "ndct.npy")
    masks = np.zeros(pixels.shape, np.uint8)
    for row in range(1, len(masks), 2):
        masks[row, 8 : 12 + 4 * row, 40:56] = 1  # more than a turn or a flip can hide
    np.save(variants / "lesion_mask.npy", masks)
    np.save(variants / "ndct.npy", pixels - 60 * masks.astype(np.int16))
    images = open_scored_images(variants, scored_run / "split", scored_run / "captions")
    table = images.table[images.table["variant"] == "ndct"].reset_index(drop=True)
    return dataclasses.replace(images, table=table)


def run(images, tokenizer, **changes):
    return pretrain_captioner(dataclasses.replace(PARAMS, **changes), images, tokenizer, CPU)


def first_weights(images, tokenizer):
    return build_seeded(lambda: new_captioner(PARAMS, images, tokenizer), PARAMS.seed)


def first_batch(images, tokenizer, count=8):
    pixels = torch.from_numpy(images.batch(np.arange(count)))
    captions = images.table["caption"][:count]
    ids = pad(tokenizer.encode(captions.tolist()), tokenizer.pad_id)
    return Batch(pixels, pixels.flip(-1), ids, torch.from_numpy(pd.factorize(captions)[0]))


# What is learnt


@pytest.fixture(scope="module")
def together(images, tokenizer):
    return run(images, tokenizer, objectives=only(contrast=1.0, image=1.0))


@pytest.mark.parametrize(("name", "part"), [("contrast", 0.6), ("image", 0.4)])
def test_losses_of_contrast_and_image_fall(name, part, together):
    curve = together[1][name]
    assert curve.iloc[-3:].mean() < part * curve.iloc[0], curve.round(3).tolist()


def test_losses_of_language_and_matching_fall(images, tokenizer):
    curve = run(images, tokenizer, objectives=only(language=1.0, matching=1.0), epochs=44)[1]
    assert curve["language"].iloc[-1] < 0.4 * curve["language"].iloc[0], curve["language"].round(3).tolist()
    guessing = -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)  # one right pair to two wrong ones
    assert curve["matching"].iloc[-8:].mean() < 0.94 * guessing, curve["matching"].round(3).tolist()


def test_curve_has_a_row_per_epoch_and_a_column_per_objective(together):
    assert list(together[1].columns) == ["epoch", "lr", *NAMES]
    assert together[1]["matching"].isna().all()  # its weight is 0
    assert together[1]["epoch"].tolist() == list(range(1, PARAMS.epochs + 1))


def test_patients_who_test_are_not_seen(images, tokenizer):
    table = images.table.copy()
    table.loc[table["split"].isin(("val", "test")), "row"] = 10**6  # reading their pixels would fail
    table.loc[table["patient_id"] == "P4", "split"] = "pretrain"
    _, curve = run(ScoredImages(table, images.variants), tokenizer, epochs=1)
    assert curve.drop(columns="lesion").notna().all(axis=None)
    none = ScoredImages(table[table["split"] == "test"].reset_index(drop=True), images.variants)
    with pytest.raises(ArtifactError, match="split 'train' or 'pretrain'"):
        run(none, tokenizer)


# Weights of objectives


@pytest.mark.parametrize("name", NAMES[:4])
def test_an_objective_alone_leaves_the_others_parts_untouched(name, images, tokenizer):
    captioner = first_weights(images, tokenizer)
    model = Objectives(captioner, only(**{name: 1.0}), SETTINGS, tokenizer).train()
    losses = model(first_batch(images, tokenizer), trust=0.5, rng=np.random.default_rng(0))
    assert list(losses) == [name]
    model.total(losses).backward()
    moved = {n for n, parameter in model.named_parameters() if parameter.grad is not None}
    own = {"contrast": "contrast.", "language": "student.text.head.", "image": "restore.", "matching": "match."}
    for other, prefix in own.items():
        assert any(n.startswith(prefix) for n in moved) == (other == name), (other, sorted(moved))
    assert not any(n.startswith("teacher.") for n in moved)
    assert any(n.startswith("student.image_encoder.") for n in moved)
    fused = any(".layers.1." in n for n in moved)  # the layer with cross-attention
    assert fused == (name in ("language", "matching"))


def test_weights_scale_the_sum(images, tokenizer):
    model = Objectives(first_weights(images, tokenizer), Weights(2.0, 0.5, 0.0, 0.0, 0.0), SETTINGS, tokenizer)
    assert model.total({"contrast": torch.tensor(3.0), "language": torch.tensor(4.0)}).item() == 8.0


def test_image_alone_changes_no_layer_with_cross_attention(images, tokenizer):
    before = first_weights(images, tokenizer).state_dict()
    model, curve = run(images, tokenizer, objectives=only(image=1.0), epochs=1)
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert curve.columns[curve.notna().all()].tolist() == ["epoch", "lr", "image"]
    assert not any("text.layers.1." in name or "text.head.transform" in name for name in changed)
    assert any(name.startswith("image_encoder.blocks") for name in changed)


def test_equal_seeds_give_equal_bytes(images, tokenizer, tmp_path):
    params = dataclasses.replace(PARAMS, epochs=1)
    for name in ("one", "two"):
        torch.rand(3)  # the global state must not matter
        with create_artifact(tmp_path / name, KIND) as writer:
            make_pretrained(params, images, tokenizer, CPU, writer)
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert sorted(one) == ["artifact.json", "curve.csv", "weights.safetensors"]
    assert one == two


# Lesions


def test_lesion_alone_teaches_the_path_and_nothing_else(with_lesions, tokenizer, monkeypatch):
    monkeypatch.setattr(Captioner, "encode_image", None)  # neither student nor teacher is asked
    before = build_seeded(lambda: new_captioner(FOCAL, with_lesions, tokenizer), FOCAL.seed).state_dict()
    model, curve = pretrain_captioner(FOCAL, with_lesions, tokenizer, CPU)
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    path = {name for name in after if name.startswith("image_encoder.patch_embed.focal.")}
    assert changed == path
    assert curve["lesion"].iloc[-1] < 0.4 * curve["lesion"].iloc[0], curve["lesion"].round(2).tolist()
    assert curve[list(NAMES[:4])].isna().all(axis=None)


def test_masks_are_turned_and_flipped_as_the_images(with_lesions, tokenizer, monkeypatch):
    seen = []
    monkeypatch.setattr(pretraining.Objectives, "forward", lambda self, batch, **_: seen.append(batch) or {})
    monkeypatch.setattr(pretraining.Objectives, "total", lambda self, _: torch.zeros((), requires_grad=True))
    pretrain_captioner(dataclasses.replace(FOCAL, epochs=3), with_lesions, tokenizer, CPU)
    for batch in seen:
        dark = torch.nn.functional.avg_pool2d(batch.images, 8)[:, 0] < (50 - 30 + 160) / 400
        assert torch.equal(dark, batch.lesions)
    assert len({lesions.numpy().tobytes() for batch in seen for lesions in batch.lesions}) > 8


def test_lesion_beside_the_others_leaves_their_gradients_as_they_are(with_lesions, tokenizer):
    gradients = []
    for weights in (only(language=1.0), only(language=1.0, lesion=1.0)):
        captioner = build_seeded(lambda: new_captioner(FOCAL, with_lesions, tokenizer), 1)
        model = Objectives(captioner, weights, SETTINGS, tokenizer).train()
        places = torch.zeros(8, 8, 8, dtype=torch.bool)
        batch = dataclasses.replace(first_batch(with_lesions, tokenizer), lesions=places)
        torch.manual_seed(0)
        losses = model(batch, trust=0.5, rng=np.random.default_rng(0))
        assert set(losses) == set(weights.active)
        model.total(losses).backward()
        gradients.append(model.student.image_encoder.patch_embed.focal_proj.weight.grad)
        assert (captioner.image_encoder.patch_embed.focal.head.bias.grad is not None) == ("lesion" in losses)
        assert not captioner.image_encoder.patch_embed.focal.training
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)


def test_images_without_masks_are_refused(images, tokenizer):
    with pytest.raises(ArtifactError, match=r"lesion_mask\.npy: missing, and pretrain\.objectives\.lesion"):
        pretrain_captioner(FOCAL, images, tokenizer, CPU)


# Parts of the objectives


def test_text_is_read_in_both_directions_and_padding_is_not_seen(images, tokenizer):
    stack = first_weights(images, tokenizer).text.eval()
    short = torch.tensor([[2, 7, 8, 3]])
    padded = torch.tensor([[2, 7, 8, 3, 0, 0]])
    alone = read_text(stack, short, torch.ones_like(short, dtype=torch.bool))
    among = read_text(stack, padded, padded != 0)
    assert torch.allclose(alone, among[:, :4], atol=1e-6)
    other = read_text(stack, torch.tensor([[2, 7, 9, 3]]), torch.ones_like(short, dtype=torch.bool))
    assert not torch.allclose(alone[:, 0], other[:, 0], atol=1e-4)


def test_words_that_carry_scores_are_masked_more_often(tokenizer):
    words = WordMask(tokenizer, SETTINGS.masked_words, SETTINGS.emphasis)
    ids = torch.tensor(tokenizer.encode(["Image noise and structural fidelity: x"])[0][:6])
    assert words.chance[ids[0]] == 0  # [CLS]
    assert words.chance[ids[1:]].tolist() == pytest.approx([0.15] * 5)
    assert words.chance.max().item() == pytest.approx(0.9)
    torch.manual_seed(0)
    many = ids[1:].repeat(2000, 1)
    masked, chosen = words(many)
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(masked[~chosen], many[~chosen])
    assert (masked[chosen] == tokenizer.mask_id).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (masked[chosen] == many[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert words(torch.full((3, 4), tokenizer.pad_id))[1].sum() == 1  # never none, whatever there is


def test_blocks_cover_the_part_asked_for():
    masks = [masked_blocks(16, 0.3, np.random.default_rng(seed)) for seed in range(50)]
    parts = [mask.mean() for mask in masks]
    assert min(parts) >= 0.3 - 0.5 / 256
    assert max(parts) < 0.5
    assert len({mask.tobytes() for mask in masks}) == 50
    assert masked_blocks(1, 0.3, np.random.default_rng(0)).all()


def test_the_queue_keeps_the_latest_and_the_teacher_follows(images, tokenizer):
    settings = dataclasses.replace(SETTINGS, queue=12)
    model = Objectives(first_weights(images, tokenizer), only(contrast=1.0), settings, tokenizer).train()
    batch, rng = first_batch(images, tokenizer), np.random.default_rng(0)
    for _ in range(2):
        model(batch, trust=0.0, rng=rng)
    assert len(model.contrast.image_queue) == len(model.contrast.key_queue) == 12
    assert model.contrast.key_queue.tolist() == [*batch.keys.tolist(), *batch.keys.tolist()[:4]]
    with torch.no_grad():
        model.student.image_encoder.cls_token += 1.0
    before = model.teacher.image_encoder.cls_token.clone()
    model(batch, trust=0.0, rng=rng)
    moved = model.teacher.image_encoder.cls_token - before
    assert torch.allclose(moved, torch.full_like(moved, 0.1), atol=1e-5)


def test_a_batch_of_one_caption_has_no_negatives(images, tokenizer):
    model = Objectives(first_weights(images, tokenizer), only(matching=1.0), SETTINGS, tokenizer)
    batch = dataclasses.replace(first_batch(images, tokenizer), keys=torch.zeros(8, dtype=torch.long))
    assert torch.isfinite(model(batch, trust=0.0, rng=np.random.default_rng(0))["matching"])


# What fine-tuning starts from


def make(tmp_path, images, tokenizer, **changes):
    with create_artifact(tmp_path / "pretrained", KIND) as writer:
        params = dataclasses.replace(PARAMS, epochs=1, **changes)
        return make_pretrained(params, images, tokenizer, CPU, writer)


def test_none_says_so_and_leaves_a_model_as_it_is(images, tokenizer, tmp_path):
    assert make(tmp_path, images, tokenizer, source="none") == {"source": "none"}
    assert sorted(file.name for file in (tmp_path / "pretrained").iterdir()) == ["artifact.json", "curve.csv"]
    start = open_pretrained(tmp_path / "pretrained")
    assert (start.encoder, start.text, start.tensors) == (PARAMS.encoder, PARAMS.text, {})
    model = first_weights(images, tokenizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start.start(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_captioner_and_image_only_models_start_from_the_same_weights(images, tokenizer, tmp_path):
    result = make(tmp_path, images, tokenizer)
    assert set(result["losses"]) == set(NAMES) - {"lesion"}
    start = open_pretrained(tmp_path / "pretrained")
    captioner = new_captioner(PARAMS, images, tokenizer)
    heads = MultiHeadViT(start.encoder, 8, images.image_size, {"noise": 4})
    for model in (captioner, heads):
        start.start(model)
    own = heads.image_encoder.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in captioner.image_encoder.state_dict().items())
    assert all(torch.equal(start.tensors[name], captioner.state_dict()[name]) for name in start.tensors)
    assert torch.equal(captioner.text.head.decoder.weight, captioner.text.embeddings.word_embeddings.weight)


def test_weights_for_another_image_size_are_refused(images, tokenizer, tmp_path):
    make(tmp_path, images, tokenizer)
    start = open_pretrained(tmp_path / "pretrained")
    with pytest.raises(ArtifactError, match=r"image_encoder\.pos_embed"):
        start.start(MultiHeadViT(start.encoder, 8, 2 * images.image_size, {"noise": 4}))


def test_imported_weights_are_loaded_by_name_and_reported(images, tokenizer, tmp_path):
    given = {
        k: (v.detach() + 1.0).contiguous()
        for k, v in first_weights(images, tokenizer).named_parameters()
        if k.startswith("image_enc")
    }
    with create_artifact(tmp_path / "imported", "imported") as writer:
        save_tensors(writer, {**given, "head.weight": torch.zeros(2)})
        writer.info["config"] = {"encoder": dataclasses.asdict(PARAMS.encoder)}
    result = make(tmp_path, images, tokenizer, source="checkpoint", weights=str(tmp_path / "imported"))
    assert result["tensors"]["loaded"] == len(given)
    assert result["tensors"]["dropped"] == 1
    assert result["tensors"]["missing"] > 10
    start = open_pretrained(tmp_path / "pretrained")
    assert all(torch.equal(start.tensors[name], tensor) for name, tensor in given.items())


def test_a_checkpoint_without_the_path_is_refused(images, tokenizer, tmp_path):
    with create_artifact(tmp_path / "imported", "imported") as writer:
        save_tensors(writer, {"image_encoder.cls_token": torch.zeros(1, 1, 32)})
        writer.info["config"] = {"encoder": dataclasses.asdict(PARAMS.encoder)}
    given = {"source": "checkpoint", "weights": str(tmp_path / "imported"), "encoder": FOCAL.encoder}
    with pytest.raises(ParamsError, match=r"encoder\.stem: 'focal' needs weights of its path, which .*imported lacks"):
        make(tmp_path, images, tokenizer, **given)


def test_a_captioner_with_the_path_is_a_checkpoint(with_lesions, tokenizer, tmp_path):
    taught, _ = pretrain_captioner(dataclasses.replace(FOCAL, epochs=1), with_lesions, tokenizer, CPU)
    with create_artifact(tmp_path / "iqagpt", "captioner") as writer:
        save_captioner(writer, taught, tokenizer)
    make(
        tmp_path, with_lesions, tokenizer, source="checkpoint", weights=str(tmp_path / "iqagpt"), encoder=FOCAL.encoder
    )
    heads = MultiHeadViT(FOCAL.encoder, 8, with_lesions.image_size, {"noise": 4})
    open_pretrained(tmp_path / "pretrained").start(heads)
    own = heads.image_encoder.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in taught.image_encoder.state_dict().items())


def test_weights_that_were_not_imported_are_refused(images, tokenizer, tmp_path):
    (tmp_path / "given.pth").touch()
    with pytest.raises(
        InputError, match="no imported weights and no captioner; iqagpt weights import makes the former"
    ):
        make(tmp_path, images, tokenizer, source="checkpoint", weights=str(tmp_path / "given.pth"))
    assert not (tmp_path / "pretrained").exists()


def test_source_checkpoint_needs_a_file(images, tokenizer, tmp_path):
    with pytest.raises(ParamsError, match=r"pretrain\.weights"):
        make(tmp_path, images, tokenizer, source="checkpoint")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": EncoderParams("linear", 12, 32, 1, 2)}, "objectives.image: expected 0 with encoder.patch_size 12"),
        ({"text": TextParams(32, 0, 1, 2, 64, 0.0)}, "text.text_layers: expected at least 1"),
        ({"objectives": Weights(1.0, 1.0, 1.0, 1.0, 0.5)}, "objectives.lesion: expected 0 with encoder.stem 'conv'"),
        ({"encoder": FOCAL.encoder}, "encoder.stem: 'focal' has a path that must be taught"),
        (
            {"source": "none", "encoder": FOCAL.encoder, "objectives": FOCAL.objectives},
            "encoder.stem: 'focal' has a path",
        ),
        ({"lr": 0.0}, "lr: expected"),
        ({"beta2": 1.0}, "beta2: expected"),
    ],
)
def test_impossible_params_name_the_key(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PARAMS, **change)


def test_objectives_without_any_weight_are_refused():
    with pytest.raises(ValueError, match="at least one objective"):
        only()
