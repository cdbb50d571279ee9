"""Names and shapes of a checkpoint's tensors, turned into ours and checked."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from iqagpt.captioner.foreign.reading import as_float
from iqagpt.captioner.foreign.report import Report
from iqagpt.errors import InputError

State = dict[str, torch.Tensor]
#: Pattern at the start of a name; what replaces it, or None to drop the tensor; why it is dropped.
Rules = tuple[tuple[str, str | None, str], ...]


def rename(file: Path, state: State, rules: Rules, report: Report) -> State:
    """Give the tensors our names: the first rule that matches a name counts; of two names for one tensor the first stays.

    Raises
    ------
    InputError
        If a tensor that is kept does not hold finite numbers.
    """
    tensors: State = {}
    # A tied head comes after the tensor that it repeats.
    for name in sorted(state, key=lambda name: ".decoder." in name):
        pattern, became, why = next(
            (rule for rule in rules if re.match(rule[0], name)), ("", None, "name not known, not needed")
        )
        if became is None:
            report.add("dropped", name, detail=why)
            continue
        ours = re.sub(pattern, became, name, count=1)
        tensor = as_float(file, name, state[name])
        if ours in tensors:
            same = torch.equal(tensors[ours], tensor)
            report.add("dropped", name, detail=f"{'tied: same as' if same else 'differs from'} {ours}, which stays")
            continue
        tensors[ours] = tensor
        report.add("loaded", name, ours)
    return tensors


def check_part(file: Path, tensors: State, expected: Mapping[str, torch.Tensor], part: str, *, may_lack: str) -> None:
    """Compare one part's names and shapes with those of our modules of the same geometry.

    Parameters
    ----------
    file : Path
        For messages.
    tensors, expected : mapping of str to Tensor
        Found, and of our modules (on any device).
    part : str
        Prefix of the part, such as ``text.``.
    may_lack : str
        Prefix within the part of what may be absent.

    Raises
    ------
    InputError
        If a tensor is absent, unknown to ours, or of another shape.
    """
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(part)}
    strange = [name for name in own if name not in expected]
    if strange:
        raise InputError(f"{file}: has '{strange[0]}', which ours lacks: it computes something else; it cannot be used")
    absent = [name for name in expected if name not in own and not name.startswith(part + may_lack)]
    if absent:
        raise InputError(f"{file}: no tensor for '{absent[0]}' (and {len(absent) - 1} more); is the kind right?")
    for name, tensor in own.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            raise InputError(f"{file}: the tensor for '{name}' has shape {shapes}; get the file again")


def need(file: Path, tensors: State, name: str) -> torch.Tensor:
    """Return a tensor by our name; an InputError if it is absent."""
    if name not in tensors:
        raise InputError(f"{file}: no tensor for '{name}'; is the kind right?")
    return tensors[name]


def shape_of(file: Path, name: str, tensor: torch.Tensor, dimensions: int) -> torch.Size:
    """Return the shape of a tensor of so many dimensions; an InputError if it has others."""
    if tensor.ndim != dimensions or not tensor.numel():
        raise InputError(f"{file}: the tensor for '{name}' has shape {tuple(tensor.shape)}; is the kind right?")
    return tensor.shape


def amend(report: Report, became: str, detail: str) -> None:
    """Turn a loaded tensor's line into one that says what was done to it."""
    for index, (_, name, ours, _) in enumerate(report.lines):
        if ours == became:
            report.lines[index] = ("resized", name, ours, detail)
