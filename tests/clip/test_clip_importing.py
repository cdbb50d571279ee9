"""Published CLIP ResNets: the same vectors as their own arithmetic gives; names and shapes of RN50; files that are none."""

import hashlib

import pytest
import torch
from published_clip import RN50, SMALL, PublishedClip, write_checkpoint
from typer.testing import CliRunner

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.cli import app
from iqagpt.clip.importing import RULES, import_clip
from iqagpt.clip.model import MEAN, SD, Clip
from iqagpt.clip.stored import KIND, load_clip, open_clip
from iqagpt.errors import ArtifactError, InputError


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    model = PublishedClip(**SMALL).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("published") / "rn", published.state_dict())


@pytest.fixture(scope="module")
def imported(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("imported") / "clip"
    with create_artifact(target, KIND) as writer:
        import_clip(str(folder), writer)
    return target


@torch.no_grad()
@pytest.mark.parametrize("shape", [(224, 224), (96, 160)])
def test_images_have_the_published_vectors_without_positions(shape, published, imported):
    clip, _ = load_clip(open_artifact(imported, KIND))
    images = torch.stack([torch.rand(1, *shape), torch.zeros(1, *shape)])
    normal = (images.expand(-1, 3, -1, -1) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None]
    wanted = torch.nn.functional.normalize(published.visual(normal), dim=-1)
    assert torch.allclose(clip.encode_images(images), wanted, atol=2e-6)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-4


@torch.no_grad()
def test_texts_have_the_published_vectors(published, imported):
    clip, tokens = load_clip(open_artifact(imported, KIND))
    ids, _ = tokens.ids(["im ab.", "b"])
    assert ids.tolist()[0] == [12, 2, 11, 4, 13]
    wanted = torch.nn.functional.normalize(published.encode_text(ids, tokens.end), dim=-1)
    assert torch.allclose(clip.encode_texts(ids), wanted, atol=1e-5)
    assert clip.logit_scale.exp().item() == pytest.approx(100, rel=1e-4)


def test_rn50_has_the_names_and_shapes_of_our_modules():
    """Every tensor of RN50 as published (meta: shapes only) is dropped by name, or is ours in its own shape."""
    import re

    with torch.device("meta"):
        theirs = PublishedClip(**RN50).state_dict()
        config = {
            "image": {"width": 64, "stem": 64, "depths": [3, 4, 6, 3]},
            "text": {"width": 512, "layers": 12, "heads": 8, "intermediate": 2048, "positions": 77},
            "embedding": 1024, "vocabulary_size": 49408, "eos": 49407,
        }  # fmt: skip
        ours = Clip.from_config(config).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in ours.items() if "num_batches" not in name}
    found = {}
    for name, tensor in theirs.items():
        pattern, became, _ = next(rule for rule in RULES if re.match(rule[0], name))
        if became is None:
            assert "num_batches" in name or name == "visual.attnpool.positional_embedding"
            continue
        new, shape = re.sub(pattern, became, name, count=1), tuple(tensor.shape)
        if "in_proj_" in new:
            for part in "qkv":
                found[new.replace("in_proj_", f"{part}_proj.")] = (shape[0] // 3, *shape[1:])
        else:
            found[new] = shape[::-1] if new.startswith("text.text_projection") else shape
    assert found == wanted
    assert sum(tensor.numel() for tensor in theirs.values() if tensor.is_floating_point()) > 102_000_000


def test_command_prints_what_to_set_and_says_what_was_dropped(folder, tmp_path):
    result = CliRunner().invoke(app, ["weights", "import", str(tmp_path / "out"), "--clip", str(folder)])
    assert result.exit_code == 0, result.output
    assert "visual.attnpool.positional_embedding: positions of the pooling" in result.stdout
    assert "in_proj_weight: split into query, key and value" in result.stdout
    digest = hashlib.sha256((tmp_path / "out/weights.safetensors").read_bytes()).hexdigest()
    assert f"weights_sha256 to {digest}" in result.stdout
    open_clip(str(tmp_path / "out"), digest)
    with pytest.raises(InputError, match="weights_sha256"):
        open_clip(str(tmp_path / "out"), "0" * 64)


def test_clip_is_imported_alone(folder, tmp_path):
    result = CliRunner().invoke(
        app, ["weights", "import", str(tmp_path / "out"), "--clip", str(folder), "--bert", str(folder)]
    )
    assert result.exit_code == 2
    assert "--clip alone" in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.layer2.0.conv2.weight"), "no tensor for"),
        (lambda s: s.pop("text_projection"), "no tensor for 'text.text_projection.weight'"),
        (lambda s: [s.pop("visual.layer3.0.conv1.weight"), s.pop("visual.conv1.weight")], "no tensor for"),
        (lambda s: s.update({"visual.layer4.0.conv3.weight": torch.zeros(3, 3, 1, 1)}), "has shape"),
        (lambda s: s.update({"visual.layer1.7.conv3.bias": torch.zeros(3)}), "which ours lacks"),
        (lambda s: s.update({"ln_final.bias": torch.full((128,), float("nan"))}), "not finite"),
        (lambda s: s.update({"token_embedding.weight": torch.zeros(5, 128)}), "get both from one place"),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("visual.layer1.")], "no tensor for"),
    ],
)
def test_what_is_no_clip_resnet(change, message, published, tmp_path):
    state = dict(published.state_dict())
    change(state)
    source = write_checkpoint(tmp_path / "bad", state)
    with pytest.raises(InputError, match=message), create_artifact(tmp_path / "out", KIND) as writer:
        import_clip(str(source), writer)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_its_tokenizer(folder, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/open_clip_model.safetensors").symlink_to(folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"no tokenizer\.json"), create_artifact(tmp_path / "out", KIND) as writer:
        import_clip(str(tmp_path / "bare"), writer)


def test_weights_that_were_altered_are_refused(folder, tmp_path):
    with create_artifact(tmp_path / "clip", KIND) as writer:
        import_clip(str(folder), writer)
    file = tmp_path / "clip/weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_clip(open_artifact(tmp_path / "clip", KIND))


def test_a_folder_that_is_no_clip(tmp_path):
    with pytest.raises(InputError, match="expected 'builtin' or a folder"):
        open_clip(str(tmp_path), "0" * 64)
