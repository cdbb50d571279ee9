"""The cases of a Medical X-VL checkpoint, on synthetic tensors of its names and shapes."""

from pathlib import Path

import pytest
import torch
from checkpoints import State, medical_x_vl

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.foreign.importing import import_checkpoint, save_import
from iqagpt.captioner.foreign.loading import KIND, load_into
from iqagpt.captioner.foreign.medical_x_vl import import_medical_x_vl
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.pretraining import PretrainParams
from iqagpt.captioner.tokenizer import SPECIAL, CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.config import load_section
from iqagpt.criteria import all_scores, scores_to_caption
from iqagpt.errors import InputError

FILE = Path("checkpoint_14.pth")
PRESET = Path(__file__).resolve().parents[3] / "presets/medxvl.yaml"
WORDS = "text.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def published() -> State:
    return medical_x_vl()


@pytest.fixture(scope="module")
def imported(published) -> tuple[State, dict, Report]:
    return convert(published)


def convert(state: State) -> tuple[State, dict, Report]:
    report = Report()
    tensors, config = import_medical_x_vl(FILE, state, {}, report)
    return tensors, config, report


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def vocabulary(folder: Path, size: int) -> Path:
    """A vocab.txt of BERT's form with every word of the template and many others."""
    words = sorted({w for s in all_scores() for w in scores_to_caption(s).lower().replace("-", " - ").split()})
    words = [part for word in words for part in ([word[:-1], word[-1]] if word[-1] in ":;," else [word])]
    tokens = list(dict.fromkeys([*SPECIAL, *words]))
    file = folder / "vocab.txt"
    file.write_text("\n".join([*tokens, *(f"[unused{i}]" for i in range(size - len(tokens)))]) + "\n")
    return file


def test_synthetic_checkpoint_has_the_published_counts(published):
    counts = {part: sum(name.startswith(part + ".") for name in published) for part in (
        "visual_encoder", "visual_encoder_m", "text_encoder", "text_encoder_m"
    )}  # fmt: skip
    assert counts == {"visual_encoder": 151, "visual_encoder_m": 150, "text_encoder": 265, "text_encoder_m": 265}


def test_geometry_is_that_of_the_preset(imported):
    section = load_section(PRESET, "pretrain", PretrainParams)
    _, config, _ = imported
    assert config["encoder"] == {"stem": "linear", "patch_size": 16, "width": 384, "depth": 12, "heads": 6}
    assert config["image_size"] == 224
    assert config["vocabulary_size"] == 30522
    assert all(getattr(section.encoder, key) == value for key, value in config["encoder"].items())
    assert all(getattr(section.text, key) == value for key, value in config["text"].items())


def test_every_tensor_is_accounted_for_by_name(imported, published):
    tensors, _, report = imported
    assert {name for _, name, _, _ in report.lines} == set(published)
    assert len(report.lines) == len(published)
    assert {became for _, _, became, _ in report.lines if became} == set(tensors)
    assert "name not known" not in report.text()
    assert sum(t.numel() for name, t in tensors.items() if name.startswith("text.")) == 51_118_266
    assert sum(t.numel() for name, t in tensors.items() if name.startswith("image_encoder.")) == (
        21_665_664 - 2 * 384 * 16 * 16
    )


def test_a_names_with_and_without_the_crop_wrapper(imported, published):
    plain = {name.replace("visual_encoder.backbone.", "visual_encoder."): t for name, t in published.items()}
    assert "visual_encoder.cls_token" in plain
    assert same(convert(plain)[0], imported[0])


def test_b_weight_norm_of_the_heads_is_dropped_by_name(imported):
    dropped = {name: detail for action, name, _, detail in imported[2].lines if action == "dropped"}
    for name in ("head.last_layer.weight_g", "head.last_layer2.weight_v", "head.mlp.0.weight"):
        assert dropped[name] == "head of masked image modelling"
    assert dropped["head_m.last_layer.weight_v"] == "momentum copy"


def test_c_position_ids_are_dropped_where_given_and_not_missed(imported, published):
    assert "text_encoder.bert.embeddings.position_ids" in imported[2].names("dropped")
    without = {name: t for name, t in published.items() if "position_ids" not in name}
    assert same(convert(without)[0], imported[0])


def test_d_tied_decoder_given_twice_is_loaded_once(imported, published):
    tensors, _, report = imported
    details = {name: detail for _, name, _, detail in report.lines}
    assert details["text_encoder.cls.predictions.decoder.weight"].startswith(f"tied: same as {WORDS}")
    assert details["text_encoder.cls.predictions.decoder.bias"].startswith("tied: same as text.head.bias")
    assert not [name for name in tensors if "decoder" in name]
    without = {name: t for name, t in published.items() if ".decoder." not in name}
    assert same(convert(without)[0], tensors)


def test_d_decoder_alone_stands_for_the_words(imported, published):
    gone = ("text_encoder.bert.embeddings.word_embeddings.weight", "text_encoder.cls.predictions.bias")
    assert same(convert({name: t for name, t in published.items() if name not in gone})[0], imported[0])


def test_e_momentum_copies_change_nothing(imported):
    tensors, _, report = convert(medical_x_vl(momentum=False))
    assert same(tensors, imported[0])
    assert not [name for name in report.names("dropped") if "_m." in name]
    assert len([name for name in imported[2].names("dropped") if "_m." in name]) == 150 + 265 + 4 + 10


def test_three_channels_become_their_sum(imported, published):
    weight = published["visual_encoder.backbone.patch_embed.proj.weight"]
    ours = imported[0]["image_encoder.patch_embed.proj.weight"]
    image = torch.rand(1, 1, 32, 32)
    wanted = torch.conv2d(image.expand(1, 3, 32, 32), weight, stride=16)
    assert torch.allclose(torch.conv2d(image, ours, stride=16), wanted, atol=1e-6)
    assert "visual_encoder.backbone.patch_embed.proj.weight" in imported[2].names("resized")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"fusion_encoder.bert.embeddings.word_embeddings.weight": torch.zeros(2, 768)}, "fusion_encoder"),
        ({"visual_encoder.backbone.cls_token": torch.zeros(1, 1, 768)}, "768 wide"),
        ({"text_encoder.bert.embeddings.word_embeddings.weight": torch.zeros(2, 768)}, "768 wide"),
    ],
)
def test_g_checkpoint_of_2023_is_refused_plainly(change, found, published):
    with pytest.raises(InputError, match=rf"of the 2023 commits \(.*{found}.*expected one of 2022"):
        convert({**published, **change})


def test_incomplete_and_strange_checkpoints_are_refused(published):
    absent = "text_encoder.bert.encoder.layer.7.output.dense.weight"
    with pytest.raises(InputError, match=r"no tensor for 'text\.layers\.7\.output\.dense\.weight'"):
        convert({name: t for name, t in published.items() if name != absent})
    with pytest.raises(InputError, match="which ours lacks"):
        convert({**published, "visual_encoder.backbone.blocks.3.attn.q_norm.weight": torch.ones(64)})
    with pytest.raises(InputError, match="not finite"):
        convert({**published, "visual_encoder.backbone.norm.bias": torch.full((384,), torch.nan)})
    with pytest.raises(InputError, match="not numbered from 0 on"):
        convert({**published, "text_encoder.bert.encoder.layer.14.output.dense.bias": torch.ones(384)})
    with pytest.raises(InputError, match=r"shape \(384,\), expected \(384, 384\)"):
        convert({**published, "text_encoder.bert.encoder.layer.7.crossattention.output.dense.weight": torch.ones(384)})


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory) -> Path:
    """The checkpoint as the repository saves it, imported with a vocabulary of 12,668 tokens."""
    root = tmp_path_factory.mktemp("medical")
    student = {f"module.{name}": t for name, t in published.items() if "_m." not in name and "queue" not in name}
    content = {"model": student, "optimizer": {"state": {}}, "lr_scheduler": {}, "config": {"k": [1, "a"]}, "epoch": 14}
    torch.save(content, root / FILE)
    part = import_checkpoint(root / FILE, "medical-x-vl", vocabulary(root, 12668))
    (root / FILE).unlink()
    with create_artifact(root / "imported", KIND) as writer:
        save_import(writer, [part])
    return root


def build(tokenizer: CaptionTokenizer, image_size: int, device: str = "cpu") -> Captioner:
    section = load_section(PRESET, "pretrain", PretrainParams)
    with torch.device(device):
        return Captioner(section.encoder, section.text, image_size=image_size, vocabulary_size=tokenizer.size)


def test_f_positions_of_another_grid_and_h_another_vocabulary(folder, imported):
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    captioner = build(tokenizer, 256)
    report = load_into(captioner, open_artifact(folder / "imported", KIND), tokenizer)
    assert not report.names("missing")
    assert not report.names("dropped")
    assert set(report.names("resized")) == {"image_encoder.pos_embed", WORDS, "text.head.bias"}
    state, theirs = captioner.state_dict(), imported[0]
    for name in report.names("loaded"):
        assert torch.equal(state[name], theirs[name]), name
    check_positions(state["image_encoder.pos_embed"], theirs["image_encoder.pos_embed"])
    check_words(tokenizer, folder, state[WORDS], theirs[WORDS])
    assert captioner.text.head.decoder.weight.data_ptr() == captioner.text.embeddings.word_embeddings.weight.data_ptr()


def check_positions(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    grid = theirs[:, 1:].reshape(1, 14, 14, 384).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(grid, (16, 16), mode="bicubic", align_corners=False)
    assert torch.equal(ours[:, 0], theirs[:, 0])
    assert torch.allclose(ours[:, 1:], wanted.flatten(2).transpose(1, 2), atol=1e-6)


def check_words(tokenizer: CaptionTokenizer, folder: Path, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    row = {token: index for index, token in enumerate((folder / "vocab.txt").read_text().splitlines())}
    tokens = tokenizer.tokens()
    for token in ("[CLS]", "[SEP]", "noise", "Image"):
        assert torch.equal(ours[tokens.index(token)], theirs[row[token if token in row else token.lower()]]), token
    mixed = next(token for token in tokens if "-" in token)
    first, last = mixed.lower().split("-")
    pieces = torch.stack([theirs[row[piece]] for piece in (first, "-", last)])
    assert torch.allclose(ours[tokens.index(mixed)], pieces.mean(0))


def test_h_own_vocabulary_takes_its_rows_of_a_longer_table(folder, imported):
    tokenizer = build_tokenizer(CaptionParams(str(folder / "vocab.txt")))
    captioner = build(tokenizer, 224)
    report = load_into(captioner, open_artifact(folder / "imported", KIND), tokenizer)
    assert "12668 of 12668 tokens by their text" in report.text()
    assert torch.equal(captioner.text.embeddings.word_embeddings.weight, imported[0][WORDS][:12668])


def test_h_without_vocabulary_other_rows_are_left_and_said(folder, tmp_path):
    artifact = open_artifact(folder / "imported", KIND)
    (folder / "imported/vocab.txt").rename(tmp_path / "vocab.txt")
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    report = load_into(build(tokenizer, 512, "meta"), artifact, tokenizer)
    (tmp_path / "vocab.txt").rename(folder / "imported/vocab.txt")
    assert set(report.names("dropped")) == {WORDS, "text.head.bias"}
    assert "no vocab.txt says which is which; import again with --vocabulary" in report.text()
