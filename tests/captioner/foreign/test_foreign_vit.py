"""timm's ViT into the image encoder: the same tokens for the same image."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.foreign.importing import import_checkpoint, save_import
from iqagpt.captioner.foreign.loading import KIND, load_into
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.errors import InputError

TEXT = TextParams(16, 0, 1, 2, 24, 0.0)
MEAN, SD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TOKENIZER = build_tokenizer(CaptionParams("presets/none.txt"))


def vit(**changes) -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 5}
    model = VisionTransformer(**{**sizes, **changes}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def loaded(state: dict, folder: Path, encoder: EncoderParams, size: int, settings: dict | None = None):
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    if settings:
        (folder / "config.json").write_text(json.dumps(settings))
    part = import_checkpoint(folder, "vit")
    with create_artifact(folder / "out", KIND) as writer:
        save_import(writer, [part])
    captioner = Captioner(encoder, TEXT, image_size=size, vocabulary_size=TOKENIZER.size).eval()
    return captioner, load_into(captioner, open_artifact(folder / "out", KIND), TOKENIZER), part


def normalised(image: torch.Tensor) -> torch.Tensor:
    return (image.expand(-1, 3, -1, -1) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize("init_values", [None, 0.5])
def test_tokens_are_timms_with_normalisation_and_layer_scale_folded(init_values, tmp_path):
    theirs = vit(init_values=init_values)
    settings = {"pretrained_cfg": {"mean": MEAN, "std": SD}}
    encoder = EncoderParams("linear", 16, 128, 2, 2)
    ours, report, part = loaded(theirs.state_dict(), tmp_path / "vit", encoder, 64, settings)
    image = torch.rand(2, 1, 64, 64)
    wanted = theirs.forward_features(normalised(image))
    assert torch.allclose(ours.encode_image(image), wanted, atol=1e-4)
    assert "3 channels summed to 1, normalisation folded in" in part.report.text()
    assert {"head.weight", "head.bias"} <= set(part.report.names("dropped"))
    assert all(name.startswith("text.") for name in report.names("missing"))


@torch.no_grad()
def test_heads_follow_the_architecture_that_config_names(tmp_path):
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1).eval()
    settings = {"architecture": "vit_tiny_patch16_224"}
    ours, _, part = loaded(theirs.state_dict(), tmp_path / "vit", EncoderParams("linear", 16, 192, 1, 3), 64, settings)
    assert part.config["encoder"]["heads"] == 3
    image = torch.rand(1, 1, 64, 64)
    assert torch.allclose(ours.encode_image(image), theirs.forward_features(image.expand(1, 3, 64, 64)), atol=1e-4)


def test_other_patch_size_and_grid_are_resized_and_reported(tmp_path):
    _, report, _ = loaded(vit().state_dict(), tmp_path / "vit", EncoderParams("linear", 8, 128, 2, 2), 64)
    assert set(report.names("resized")) == {"image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"}
    assert "4 x 4 to 8 x 8 positions, bicubic" in report.text()
    assert "patches of 16 to 8 px" in report.text()


def test_convolutional_stem_keeps_its_own_and_takes_the_blocks(tmp_path):
    ours, report, part = loaded(vit().state_dict(), tmp_path / "vit", EncoderParams("conv", 16, 128, 2, 2), 64)
    assert "image_encoder.patch_embed.proj.weight" in report.names("dropped")
    assert "image_encoder.patch_embed.structure_proj.weight" in report.names("missing")
    name = "image_encoder.blocks.1.attn.qkv.weight"
    assert torch.equal(ours.state_dict()[name], part.tensors[name])


def test_student_of_a_dino_checkpoint(tmp_path):
    student = {f"module.backbone.{name}": tensor for name, tensor in vit(num_classes=0).state_dict().items()}
    student["module.head.last_layer.weight_g"] = torch.ones(4, 1)
    torch.save({"student": student, "teacher": {}, "epoch": 3}, tmp_path / "checkpoint.pth")
    part = import_checkpoint(tmp_path / "checkpoint.pth", "vit")
    assert part.config["encoder"]["depth"] == 2
    assert part.report.names("dropped") == ["head.last_layer.weight_g"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"qk_norm": True}, r"(q|k)_norm.* which ours lacks"),
     ({"reg_tokens": 4}, "which ours lacks|positions"),
     ({"class_token": False, "global_pool": "avg"}, "no tensor for 'image_encoder.cls_token'"),
     ({"img_size": (64, 32)}, "expected squares and one CLS"),
     ({"mlp_ratio": 2}, "shape")],
)  # fmt: skip
def test_transformers_of_another_kind_are_refused(changes, message, tmp_path):
    save_file(vit(**changes).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=message):
        import_checkpoint(tmp_path, "vit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"architecture": "resnet18"}, "no plain vision transformer"),
     ({"architecture": "vit_of_tomorrow"}, "none of timm's"),
     ({"pretrained_cfg": {"mean": [0.5, 0.5], "std": [0.5, 0.5, 0.5]}}, r"mean and std: expected 3 numbers"),
     ({"pretrained_cfg": {"mean": MEAN, "std": [0.2, 0.2, 0]}}, "std above 0"),
     ({"pretrained_cfg": {"mean": 0.5, "std": SD}}, "mean and std: expected 3 numbers")],
)  # fmt: skip
def test_config_that_does_not_fit_is_named(settings, message, tmp_path):
    save_file(vit().state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message):
        import_checkpoint(tmp_path, "vit")
