"""From a foreign checkpoint to a fine-tuned captioner: import, ``pretrain``, ``train``."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

import stages.pretrain
import stages.train
from iqagpt.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
LAYER = "text.layers.0.intermediate.dense.weight"


def run(command, *words: object) -> str:
    result = CliRunner().invoke(command, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def params(tmp_path: Path) -> Path:
    content = yaml.safe_load((REPOSITORY / "presets/smoke.yaml").read_text(encoding="utf-8"))
    content["pretrain"] |= {"source": "checkpoint", "weights": str(tmp_path / "imported")}
    content["pretrain"]["text"] |= {"width": 16, "text_layers": 1, "fusion_layers": 1, "heads": 2, "intermediate": 24}
    content["train"] |= {"epochs": 1, "lr": 1e-6, "warmup_lr": 1e-6, "min_lr": 1e-6}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "params.yaml"


def test_fine_tuning_starts_from_imported_weights(scored_run, params, tmp_path):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=12, hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=1)
    bert = BertModel(config)
    bert.save_pretrained(tmp_path / "bert")
    run(app, "weights", "import", tmp_path / "imported", "--bert", tmp_path / "bert", "--params", params)
    inputs = [w for n in ("variants", "captions", "split") for w in (f"--{n}", scored_run / n)]
    common = [*inputs, "--params", params, "--metrics", tmp_path / "metrics.json"]
    run(stages.pretrain.app, *common, "--output", tmp_path / "pretrained")
    assert ("loaded," + LAYER) in (tmp_path / "pretrained/report.csv").read_text()
    run(stages.train.app, *common, "--pretrained", tmp_path / "pretrained", "--output", tmp_path / "iqagpt")
    theirs = bert.encoder.layer[0].intermediate.dense.weight
    first, fitted = (load_file(tmp_path / name / "weights.safetensors")[LAYER] for name in ("pretrained", "iqagpt"))
    assert torch.equal(first, theirs)
    assert 0 < (fitted - theirs).abs().max() < 1e-3
