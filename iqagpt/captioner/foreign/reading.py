"""Tensors of a checkpoint file from outside, read so that no code in it can run.

Safetensors hold no code; of pickles see `iqagpt.foreign_pickle`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from iqagpt.errors import InputError
from iqagpt.foreign_pickle import load_pickle

#: Well above a ViT-L or BERT-large with its optimiser.
MAX_BYTES = 8 * 1024**3
#: Files of a model folder, best first.
MODEL_FILES = ("model.safetensors", "pytorch_model.bin")
#: Where training scripts keep the weights: ALBEF and Medical X-VL, Lightning and timm, others, DINO and iBOT.
_ENTRIES = ("model", "state_dict", "model_state_dict", "student")


def find_model_file(path: Path, names: Sequence[str] = MODEL_FILES) -> Path:
    """Return a checkpoint file, or the one inside a folder as Hugging Face or timm write it.

    Parameters
    ----------
    path : Path
    names : sequence of str
        What it may be called in a folder, best first.

    Raises
    ------
    InputError
        If there is none, or it is too large.
    """
    file = path
    if path.is_dir():
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise InputError(f"{path}: no {' or '.join(names)} inside; weights in several files are not read")
        file = found[0]
    if not file.is_file():
        raise InputError(f"{file}: no such file or folder")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"{file}: {file.stat().st_size} bytes; at most {MAX_BYTES} are read")
    return file


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint; ``module.`` of several GPUs is taken off the names.

    Raises
    ------
    InputError
        If the file cannot be read without running code from it, or holds no state dict.
    """
    content = _safetensors(file) if file.suffix == ".safetensors" else load_pickle(file)
    for entry in _ENTRIES:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
            break
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: holds a {type(content).__name__}; expected a state_dict of tensors")
    tensors = {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not all(name.isprintable() for name in tensors):
        raise InputError(f"{file}: names of tensors with control characters; get the file again")
    if not tensors:
        raise InputError(f"{file}: no weights inside; expected a state_dict of tensors, bare or under {_ENTRIES}")
    return tensors


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file without loading it whole."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_float(file: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as float32.

    Raises
    ------
    InputError
        If it is not made of finite numbers, or claims more numbers than the file holds for it.
    """
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        raise InputError(f"{file}: '{name}' holds {tensor.dtype}, expected floating-point numbers")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(f"{file}: '{name}' claims more numbers than the file holds; get the file again")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{file}: '{name}' holds values that are not finite; get the file again")
    return tensor.detach().float().contiguous()


def _safetensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{file}: not a readable safetensors file ({error}); get the file again") from error
