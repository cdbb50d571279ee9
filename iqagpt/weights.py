"""Model weights inside an artifact: safetensors with a sha256, never a pickle."""

import errno
import hashlib
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from iqagpt.artifacts import Artifact, ArtifactWriter
from iqagpt.errors import ArtifactError

WEIGHTS = "weights.safetensors"


def save_weights(writer: ArtifactWriter, model: nn.Module) -> None:
    """Write a model's weights as safetensors and note their sha256 in the artifact.

    Tensors shared under two names, as a tied head, are written once.
    """
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    save_tensors(writer, tensors)


def save_tensors(writer: ArtifactWriter, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as safetensors and note their sha256 in the artifact.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk.
    """
    file = writer.path / WEIGHTS
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        # It tells of a full disk or missing rights as of a broken file; callers expect the system's own type.
        raise OSError(errno.EIO, str(error), str(file)) from error
    writer.info["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()


def read_weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    """Read the tensors that `save_weights` or `save_tensors` wrote, by name.

    Raises
    ------
    ArtifactError
        If the file is missing or altered.
    """
    file = artifact.path / WEIGHTS
    if not file.is_file():
        raise ArtifactError(f"{file}: missing; run dvc repro")
    if hashlib.sha256(file.read_bytes()).hexdigest() != artifact.info["weights_sha256"]:
        raise ArtifactError(f"{file}: not the weights that artifact.json names (sha256 differs); run dvc repro")
    return load_file(file)


def load_weights(artifact: Artifact, model: nn.Module) -> None:
    """Load weights that `save_weights` wrote into a model of the same geometry.

    Raises
    ------
    ArtifactError
        If the file is missing, altered, or does not fit the model.
    """
    missing, unexpected = model.load_state_dict(read_weights(artifact), strict=False)
    # The second name of a tied tensor is missing by design: named_parameters lists each tensor once.
    own = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    absent = [name for name in missing if name in own]
    if absent or unexpected:
        raise ArtifactError(
            f"{artifact.path / WEIGHTS}: does not fit its configuration (missing {absent}, unexpected {unexpected})"
        )
