"""Published RED-CNN checkpoints to safetensors: the command ``iqagpt weights red-cnn``, never a stage.

A checkpoint is a pickle, read only when this command is given (`iqagpt.foreign_pickle`).
`iqagpt.denoise.red_cnn.import_weights` then reads the result.

Both repositories have the same layers and keys. ldct-benchmark lacks the last ReLU and works on (HU + 1024 - mean) / SD; the
scale is folded into the first and last layer here, so that one network serves both. The last ReLU then cuts at -1024
HU, below which nothing is stored.

References
----------
SSinyu/RED-CNN (solver.py: a bare ``state_dict``, keys with ``module.`` from several GPUs); eeulig/ldct-benchmark
(methods/base.py: ``model_state_dict`` beside ``args``; data/info.yml: mean and SD).
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from iqagpt.denoise.red_cnn import MAX_WEIGHTS_BYTES, RANGE_HU, fold_scale
from iqagpt.errors import InputError
from iqagpt.foreign_pickle import load_pickle

#: Of HU + 1024 over ldct-benchmark's training slices.
BENCHMARK_MEAN, BENCHMARK_SD = 481.4542, 502.1851


class Source(StrEnum):
    """Where a checkpoint comes from; its keys do not tell."""

    SSINYU = "ssinyu"
    LDCT_BENCHMARK = "ldct-benchmark"


def convert_checkpoint(file: Path, output: Path, source: Source) -> None:
    """Write a published checkpoint as safetensors in the scale (HU + 1024) / 4096.

    Parameters
    ----------
    file : Path
        ``REDCNN_*iter.ckpt`` or ``redcnn.pt``.
    output : Path
        Ends in ``.safetensors``; ``denoisers.red_cnn.weights`` may name it.
    source : Source

    Raises
    ------
    InputError
        If the file is missing, too large, holds anything but tensors and plain values, or has no weights where that
        repository keeps them.
    """
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected a name that ends in .safetensors")
    state = _weights(_load(file), source, file)
    missing = [
        key for layer in ("conv1", "tconv5") for part in ("weight", "bias") if (key := f"{layer}.{part}") not in state
    ]
    if missing:
        raise InputError(f"{file}: no tensor '{missing[0]}'; is it a checkpoint of RED-CNN?")
    if source is Source.LDCT_BENCHMARK:
        state = fold_scale(state, BENCHMARK_MEAN / RANGE_HU, BENCHMARK_SD / RANGE_HU)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in sorted(state.items())}, output)


def _load(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if file.stat().st_size > MAX_WEIGHTS_BYTES:
        raise InputError(f"{file}: {file.stat().st_size} bytes; RED-CNN's weights have about 7.4 million bytes")
    return load_pickle(file)


def _weights(content: Any, source: Source, file: Path) -> dict[str, torch.Tensor]:
    nested = isinstance(content, Mapping) and "model_state_dict" in content
    if nested and source is Source.SSINYU:
        raise InputError(f"{file}: has 'model_state_dict' as ldct-benchmark's files do; use --source ldct-benchmark")
    state = content["model_state_dict"] if nested else content
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{file}: no weights inside; expected a state_dict of tensors")
    return {str(key).removeprefix("module."): value.detach().float() for key, value in state.items()}
