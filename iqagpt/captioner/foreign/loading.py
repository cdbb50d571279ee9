"""Imported weights, or another captioner's, into a captioner: positions, patches and vocabulary are fitted, the rest is not.

Widths and heads must agree, as nothing can turn one into the other. What the artifact lacks stays as initialised, and is
reported as missing.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from iqagpt.artifacts import Artifact, open_artifact
from iqagpt.captioner.captioner import KIND as CAPTIONER
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.tokenizer import SPECIAL, UNK, CaptionTokenizer, read_vocabulary, wordpiece_tokenizer
from iqagpt.errors import ArtifactError, InputError
from iqagpt.weights import read_weights

#: Kind of artifact that `iqagpt weights import` writes.
KIND = "imported"
VOCABULARY = "vocab.txt"
_WORDS, _WORD_BIAS = "text.embeddings.word_embeddings.weight", "text.head.bias"
_POSITIONS = "text.embeddings.position_embeddings.weight"
_GRID, _PATCH = "image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"


def open_imported(path: Path) -> Artifact:
    """Open a folder that ``iqagpt weights import`` wrote, or one of a captioner.

    Raises
    ------
    InputError
        If it is neither.
    """
    for kind in (KIND, CAPTIONER):
        with suppress(ArtifactError):
            return open_artifact(path, kind)
    raise InputError(
        f"pretrain.weights: {path}: no imported weights and no captioner; iqagpt weights import makes the former"
    )


@torch.no_grad()
def load_into(captioner: Captioner, artifact: Artifact, tokenizer: CaptionTokenizer) -> Report:
    """Load imported weights into a captioner, in place.

    Parameters
    ----------
    captioner : Captioner
        On the device ``meta`` nothing is loaded, but the report is the same.
    artifact : Artifact
        Of kind `KIND`: ``weights.safetensors`` with the captioner's names, ``config`` with the parts it holds, and
        ``vocab.txt`` where the rows of the word embeddings are known.
    tokenizer : CaptionTokenizer
        The captioner's own. Rows of the vocabulary are matched by their text; a token that the file's vocabulary writes
        in several pieces gets their mean. Without ``vocab.txt`` rows are taken as they are if there are as many.

    Returns
    -------
    Report
        One line for every tensor of the artifact and of the captioner.

    Raises
    ------
    ArtifactError
        If the weights are missing or altered, or widths, heads or cross-attention differ.
    """
    tensors = read_weights(artifact)
    config = artifact.info["config"]
    _check_geometry(captioner.config, config, str(artifact.path), whole=artifact.info["kind"] == CAPTIONER)
    rows = _vocabulary_rows(artifact, tokenizer)
    report = Report()
    state = captioner.state_dict()
    # The second names of the tied head are no tensors of their own.
    own = {name: tensor for name, tensor in state.items() if ".head.decoder." not in name}
    for name, target in own.items():
        if name not in tensors:
            report.add("missing", name, detail="as initialised")
            continue
        if name in (_WORDS, _WORD_BIAS):
            value, detail = _fit_vocabulary(tensors[name], target, rows)
        else:
            value, detail = _fit(name, tensors[name], target)
        if value is None:
            report.add("dropped", name, detail=detail)
            continue
        target.copy_(value)
        report.add("resized" if detail else "loaded", name, name, detail)
    for name in tensors:
        if name not in own:
            report.add("dropped", name, detail="the captioner has no such tensor")
    return report


def _check_geometry(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str, *, whole: bool) -> None:
    """Refuse weights of other widths or heads, and name every key of ``pretrain`` to change; `whole`: of any other geometry."""
    wanted = {
        f"{part}.{key}": theirs[part][key]
        for part, keys in (("encoder", ("width", "heads")), ("text", ("width", "heads", "intermediate")))
        if part in theirs
        for key in keys
    }
    # Which layers see the image is part of the weights, once any does.
    if theirs.get("text", {}).get("fusion_layers"):
        wanted |= {f"text.{key}": theirs["text"][key] for key in ("text_layers", "fusion_layers")}
    if whole:
        # A captioner is worth starting from only as a whole. Dropout is no property of its weights.
        parts = [(part, key) for part in ("encoder", "text") for key in theirs[part] if key != "dropout"]
        wanted = {f"{part}.{key}": theirs[part][key] for part, key in parts}
    changes = []
    for key, value in wanted.items():
        part, name = key.split(".")
        if ours[part].get(name) != value:
            changes.append(f"pretrain.{key} {value} (now {ours[part].get(name)})")
    if changes:
        raise ArtifactError(f"{where}: the weights do not fit the captioner; they need {', '.join(changes)}")


def _fit(name: str, value: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor | None, str]:
    """Return a tensor in the target's shape and what was done to it, or None and why not."""
    if value.shape == target.shape:
        return value, ""
    if name == _GRID:
        side = round((target.shape[1] - 1) ** 0.5)
        before = round((value.shape[1] - 1) ** 0.5)
        # Plain bicubic upwards, as DINO, iBOT and Medical X-VL; anti-aliasing uses another kernel.
        resized = resample_abs_pos_embed(value, [side, side], [before, before], antialias=side < before)
        return resized, f"{before} x {before} to {side} x {side} positions, bicubic"
    if name == _PATCH and value.ndim == target.ndim:
        side, before = target.shape[-1], value.shape[-1]
        return resample_patch_embed(value, [side, side]), f"patches of {before} to {side} px"
    if name == _POSITIONS:
        kept = min(len(value), len(target))
        result = _copy(target)
        result[:kept] = value[:kept]
        return result, f"the first {kept} of {len(value)} positions"
    return None, f"shape {tuple(value.shape)}, the captioner's is {tuple(target.shape)}"


def _vocabulary_rows(artifact: Artifact, tokenizer: CaptionTokenizer) -> list[list[int]] | None:
    """Return, for each token of the captioner, the rows of the artifact's vocabulary that spell it."""
    if artifact.info["kind"] == CAPTIONER:
        place = {token: index for index, token in enumerate(CaptionTokenizer.load(artifact.path).tokens())}
        return [[place[token]] if token in place else [] for token in tokenizer.tokens()]
    file = artifact.path / VOCABULARY
    if not file.is_file():
        return None
    tokens = read_vocabulary(file)
    row = {token: index for index, token in reversed([*enumerate(tokens)])}
    pieces = wordpiece_tokenizer(tokens, str(file))

    def spell(token: str) -> list[int]:
        if token in row or token in SPECIAL:
            return [row[token]] if token in row else []
        ids = pieces.encode(token, add_special_tokens=False).ids
        return [] if row[UNK] in ids else ids

    return [spell(token) for token in tokenizer.tokens()]


def _fit_vocabulary(
    value: torch.Tensor, target: torch.Tensor, rows: list[list[int]] | None
) -> tuple[torch.Tensor | None, str]:
    """Return rows by token in the target's order, or None and why not."""
    if rows is None:
        if len(value) == len(target):
            return value, ""
        return None, (
            f"{len(value)} rows, the captioner has {len(target)} tokens, and no vocab.txt says which is which; import again "
            "with --vocabulary"
        )
    if len(value) == len(target) and rows == [[index] for index in range(len(target))]:
        return value, ""
    result = _copy(target)
    for index, ids in enumerate(rows):
        if ids:
            result[index] = value[ids].mean(0)
    whole, parts = sum(len(ids) == 1 for ids in rows), sum(len(ids) > 1 for ids in rows)
    return result, (
        f"{whole} of {len(rows)} tokens by their text, {parts} as the mean of their pieces, "
        f"{len(rows) - whole - parts} as initialised"
    )


def _copy(target: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(target, device="cpu") if target.is_meta else target.detach().cpu().clone()
