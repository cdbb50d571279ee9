"""The text stack out of a Hugging Face BERT."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from iqagpt.captioner.foreign.names import Rules, State, check_part, need, rename, shape_of
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.text_stack import TextParams, TextStack
from iqagpt.errors import InputError

WORDS = "text.embeddings.word_embeddings.weight"
POSITIONS = "text.embeddings.position_embeddings.weight"
RULES: Rules = (
    (r"(bert\.)?embeddings\.(position_ids|token_type_ids)$", None, "counts positions; ours makes it itself"),
    (r"(bert\.)?embeddings\.", "text.embeddings.", ""),
    (r"(bert\.)?encoder\.layer\.", "text.layers.", ""),
    (r"(bert\.)?pooler\.", None, "pooler"),
    (r"cls\.seq_relationship\.", None, "next-sentence head"),
    (r"cls\.predictions\.decoder\.weight$", WORDS, ""),
    (r"cls\.predictions\.decoder\.bias$", "text.head.bias", ""),
    (r"cls\.predictions\.", "text.head.", ""),
)


def import_bert(file: Path, state: State, settings: Mapping[str, Any], report: Report) -> tuple[State, dict]:
    """Take the text stack out of a Hugging Face BERT; without its head, ours is left as initialised.

    Parameters
    ----------
    file : Path
        For messages.
    state : dict of str to Tensor
        As in the file.
    settings : mapping
        Content of config.json, which tells the heads.
    report : Report
        Gets one line a tensor.

    Raises
    ------
    InputError
        If it is of another family than BERT, or its heads are not known.
    """
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if settings.get(key, value) != value:
            raise InputError(f"{file.parent / 'config.json'}: {key} is '{settings[key]}'; only '{value}' fits ours")
    heads = settings.get("num_attention_heads")
    if not isinstance(heads, int) or heads < 1:
        raise InputError(f"{file}: no config.json with num_attention_heads beside it; give the model's folder")
    tensors = rename(file, _modern_names(state), RULES, report)
    return tensors, finish_bert(file, tensors, heads=heads)


def _modern_names(state: State) -> State:
    # BERT's first releases keep TensorFlow's names.
    return {re.sub(r"LayerNorm\.(gamma|beta)$", _modern, name): tensor for name, tensor in state.items()}


def _modern(match: re.Match[str]) -> str:
    return "LayerNorm." + {"gamma": "weight", "beta": "bias"}[match[1]]


def finish_bert(file: Path, tensors: State, *, heads: int) -> dict[str, Any]:
    """Check renamed tensors of a BERT and return its geometry.

    Raises
    ------
    InputError
        If they are not all there, or make no text stack of ours.
    """
    words = need(file, tensors, WORDS)
    vocabulary_size, width = shape_of(file, WORDS, words, 2)
    intermediate = len(need(file, tensors, "text.layers.0.intermediate.dense.weight"))
    layers = {name.split(".")[2] for name in tensors if name.startswith("text.layers.")}
    crossed = sorted(int(i) for i in layers if f"text.layers.{i}.crossattention.self.key.weight" in tensors)
    if crossed and crossed != list(range(len(layers) - len(crossed), len(layers))):
        raise InputError(f"{file}: cross-attention in layers {crossed}; expected it in the last layers")
    fusion = len(crossed)
    key = tensors[f"text.layers.{crossed[0]}.crossattention.self.key.weight"] if crossed else words
    image_width = key.shape[-1]
    # The stack has at least one layer with cross-attention; without any in the file, the check passes it over.
    counts = (len(layers) - max(fusion, 1), max(fusion, 1))
    try:
        params = TextParams(width, *counts, heads, intermediate, 0.0)
    except ValueError as error:
        raise InputError(f"{file}: no text stack of ours ({error})") from error
    with torch.device("meta"):
        expected = {f"text.{k}": v for k, v in TextStack(params, vocabulary_size, image_width).state_dict().items()}
    # The second names of the tied head; the number of positions is the file's own.
    expected = {k: v for k, v in expected.items() if ".decoder." not in k and (crossed or "crossattention" not in k)}
    positions = "text.embeddings.position_embeddings.weight"
    expected[positions] = torch.empty(len(need(file, tensors, positions)), width, device="meta")
    check_part(file, tensors, expected, "text.", may_lack="head.")
    text: dict[str, Any] = {"width": width, "text_layers": len(layers) - fusion, "fusion_layers": fusion}
    text |= {"heads": heads, "intermediate": intermediate}
    return {"text": text, "vocabulary_size": vocabulary_size}
