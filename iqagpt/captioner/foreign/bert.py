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
    vocabulary_size, width = shape_of(file, WORDS, need(file, tensors, WORDS), 2)
    positions, _ = shape_of(file, POSITIONS, need(file, tensors, POSITIONS), 2)
    into = "text.layers.0.intermediate.dense.weight"
    intermediate, _ = shape_of(file, into, need(file, tensors, into), 2)
    layers, crossed, image_width = _layers(file, tensors)
    # Our stack has at least one layer with cross-attention; where the file has none, the check passes it over.
    fusion = max(crossed, 1)
    try:
        params = TextParams(width, layers - fusion, fusion, heads, intermediate, 0.0)
    except ValueError as error:
        raise InputError(f"{file}: no text stack of ours ({error})") from error
    with torch.device("meta"):
        stack = TextStack(params, vocabulary_size, image_width).state_dict()
        expected = {f"text.{name}": tensor for name, tensor in stack.items() if crossed or "crossattention" not in name}
        # The number of positions is the file's own.
        expected[POSITIONS] = torch.empty(positions, width)
    # The second names of the tied head are no tensors of their own.
    expected = {name: tensor for name, tensor in expected.items() if ".decoder." not in name}
    check_part(file, tensors, expected, "text.", may_lack="head.")
    text: dict[str, Any] = {"width": width, "text_layers": layers - crossed, "fusion_layers": crossed}
    text |= {"heads": heads, "intermediate": intermediate}
    return {"text": text, "vocabulary_size": vocabulary_size}


def _layers(file: Path, tensors: State) -> tuple[int, int, int]:
    """Return how many layers there are, how many of them see the image, and the width of what they see."""
    numbers = {name.split(".")[2] for name in tensors if name.startswith("text.layers.")}
    count = len(numbers)
    if numbers != set(map(str, range(count))):
        raise InputError(f"{file}: {count} layers, not numbered from 0 on; get the file again")
    keys = [f"text.layers.{index}.crossattention.self.key.weight" for index in range(count)]
    seeing = [index for index, key in enumerate(keys) if key in tensors]
    if seeing and seeing != list(range(count - len(seeing), count)):
        raise InputError(f"{file}: cross-attention in layers {seeing}; expected it in the last layers")
    image_width = shape_of(file, keys[-1], tensors[keys[-1]], 2)[1] if seeing else 1
    return count, len(seeing), image_width
