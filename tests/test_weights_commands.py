"""``iqagpt weights import``: exit codes, what is printed, what is written. Red-CNN is tested beside its module."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from iqagpt.cli import app
from iqagpt.criteria import all_scores, scores_to_caption

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    config = BertConfig(vocab_size=12, hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=1)
    BertModel(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["weights", "import", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def params(file: Path, **text: int) -> Path:
    content = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    content["pretrain"]["text"] |= text
    file.write_text(yaml.safe_dump(content))
    return file


def test_import_prints_names_and_writes_an_artifact(bert, tmp_path):
    file = params(tmp_path / "params.yaml", width=16, heads=2, intermediate=24)
    code, out, _ = run(tmp_path / "out", "--bert", bert, "--params", file)
    assert code == 0, out
    assert "  encoder.layer.0.output.dense.weight\n" in out
    assert "  pooler.dense.weight: pooler\n" in out
    assert f"into the captioner of {file}:" in out
    assert "no vocab.txt says which is which" in out
    assert f"pretrain.weights to {tmp_path / 'out'}" in out
    weights = (tmp_path / "out/weights.safetensors").read_bytes()
    info = json.loads((tmp_path / "out/artifact.json").read_text())
    assert info["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert info["weights_sha256"] in out
    assert info["sources"][0]["sha256"] == hashlib.sha256((bert / "model.safetensors").read_bytes()).hexdigest()
    assert str(tmp_path) not in (tmp_path / "out/artifact.json").read_text()


def test_import_twice_gives_the_same_bytes(bert, tmp_path):
    for name in ("one", "two"):
        assert run(tmp_path / name, "--bert", bert)[0] == 0
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_captioner_of_another_geometry_is_a_warning_that_names_the_keys(bert, tmp_path):
    code, _, err = run(tmp_path / "out", "--bert", bert, "--params", REPOSITORY / "params.yaml")
    assert code == 0
    assert "pretrain.text.width 16 (now 128), pretrain.text.heads 2 (now 4)" in err
    assert (tmp_path / "out/artifact.json").is_file()


def test_nothing_given_and_both_halves_twice(bert, tmp_path):
    assert run(tmp_path / "out")[0] == 2
    assert run(tmp_path / "out", "--bert", tmp_path / "absent")[0] == 1
    assert not (tmp_path / "out").exists()


def test_refused_pickle_is_one_line_and_keeps_what_was_there(bert, tmp_path):
    run(tmp_path / "out", "--bert", bert)
    before = (tmp_path / "out/artifact.json").read_bytes()
    (bert / "model.safetensors").unlink()
    torch.save({"model": os.mkdir}, bert / "pytorch_model.bin")
    code, _, err = run(tmp_path / "out", "--bert", bert)
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "posix.mkdir" in err
    assert (tmp_path / "out/artifact.json").read_bytes() == before


def test_vocabulary_from_elsewhere_matches_words(bert, tmp_path):
    words = scores_to_caption(next(iter(all_scores()))).lower().split()[:7]
    file = tmp_path / "words.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    settings = params(tmp_path / "params.yaml", width=16, heads=2, intermediate=24)
    code, out, _ = run(tmp_path / "out", "--bert", bert, "--vocabulary", file, "--params", settings)
    assert code == 0, out
    assert (tmp_path / "out/vocab.txt").read_text() == file.read_text()
    assert "tokens by their text" in out
