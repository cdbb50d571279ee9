from pathlib import Path

import pytest
import torch

from iqagpt.artifacts import create_artifact
from iqagpt.captioner.captioner import Captioner, load_captioner, save_captioner
from iqagpt.captioner.image_encoder import ENERGY_FLOOR, EncoderParams, build_image_encoder, texture_energy
from iqagpt.captioner.pretraining import PretrainParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.config import load_section
from iqagpt.errors import ArtifactError

ENCODER = EncoderParams(stem="conv", patch_size=16, width=16, depth=1, heads=2)
TEXT = TextParams(width=24, text_layers=1, fusion_layers=1, heads=2, intermediate=32, dropout=0.0)
REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def captioner() -> Captioner:
    torch.manual_seed(0)
    return Captioner(ENCODER, TEXT, image_size=64, vocabulary_size=64).eval()


def test_texture_is_the_variance_within_two_by_two_pixels():
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = images.double()
    squares = exact.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    fine = torch.log(torch.nn.functional.avg_pool2d(squares.var(-1, correction=0), 2) + ENERGY_FLOOR) + 9
    blocks = torch.nn.functional.pixel_unshuffle(fine, 4).sort(1).values
    found = texture_energy(images, 16)
    assert found.shape == (2, 5, 4, 4)
    assert torch.allclose(found[:, 0].double(), torch.nn.functional.avg_pool2d(exact, 16)[:, 0] * 4 - 2, atol=1e-5)
    assert torch.allclose(found[:, 1].double(), blocks.mean(1), atol=1e-4)
    assert torch.allclose(found[:, 2].double(), blocks[:, 3], atol=1e-4)


@pytest.mark.parametrize(
    ("file", "vocabulary_size", "image", "text"),
    [
        ("presets/paper.yaml", 30522, 21_787_008, 120_158_778),
        ("presets/medxvl.yaml", 30522, 21_787_008, 51_118_266),
        ("params.yaml", 64, 565_985, 818_496),
    ],
)
def test_presets_have_their_parameters(file, vocabulary_size, image, text):
    section = load_section(REPOSITORY / file, "pretrain", PretrainParams)
    with torch.device("meta"):
        captioner = Captioner(section.encoder, section.text, image_size=512, vocabulary_size=vocabulary_size)
    assert (count(captioner.image_encoder), count(captioner.text)) == (image, text)
    assert captioner.image_encoder.pos_embed.shape[1] == 1 + (512 // section.encoder.patch_size) ** 2


def test_only_the_last_layers_attend_to_the_image(captioner):
    first, last = captioner.text.layers
    assert not hasattr(first, "crossattention")
    assert last.crossattention.self.key.in_features == ENCODER.width


def test_head_is_tied_to_the_word_embeddings(captioner):
    assert captioner.text.head.decoder.weight is captioner.text.embeddings.word_embeddings.weight


def test_logits_depend_on_the_image_and_not_on_later_tokens(captioner):
    images, ids = torch.rand(2, 1, 64, 64), torch.randint(5, 64, (2, 7))
    logits = captioner(images, ids)
    other = ids.clone()
    other[:, 5:] = 6
    assert torch.allclose(captioner(images, other)[:, :5], logits[:, :5], atol=1e-6)
    assert not torch.allclose(captioner(torch.zeros_like(images), ids), logits, atol=1e-4)


def test_decoding_with_a_cache_gives_the_same_logits(captioner):
    ids = torch.randint(5, 64, (2, 7))
    image_tokens = captioner.encode_image(torch.rand(2, 1, 64, 64))
    cache = captioner.text.new_cache()
    steps = [captioner.text(ids[:, i : i + 1], image_tokens, cache) for i in range(7)]
    assert torch.allclose(torch.cat(steps, 1), captioner.text(ids, image_tokens), atol=1e-5)


def test_saved_captioner_gives_the_same_logits(captioner, tmp_path):
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    with create_artifact(tmp_path / "model", "captioner") as writer:
        save_captioner(writer, captioner, tokenizer)
    loaded, _, artifact = load_captioner(tmp_path / "model", CPU)
    images, ids = torch.rand(1, 1, 64, 64), torch.randint(5, 64, (1, 4))
    assert torch.equal(loaded(images, ids), captioner(images, ids))
    assert artifact.info["config"]["encoder"]["width"] == 16


def test_altered_weights_are_refused(captioner, tmp_path):
    with create_artifact(tmp_path / "model", "captioner") as writer:
        save_captioner(writer, captioner, build_tokenizer(CaptionParams("presets/none.txt")))
    with (tmp_path / "model" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(ArtifactError, match="sha256"):
        load_captioner(tmp_path / "model", CPU)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (("conv", 24, 16, 1, 2), "patch_size"),
        (("focal", 4, 16, 1, 2), "patch_size"),
        (("linear", 16, 16, 1, 3), "heads"),
        (("linear", 0, 16, 1, 2), "patch_size"),
    ],
)
def test_impossible_geometry_names_the_key(values, key):
    with pytest.raises(ValueError, match=key):
        EncoderParams(*values)


def test_patch_that_does_not_divide_the_image_names_the_key():
    with pytest.raises(ValueError, match=r"encoder\.patch_size"):
        build_image_encoder(ENCODER, 72)
