"""The image encoder out of timm's ViT, or out of a DINO or iBOT checkpoint.

Normalisation, LayerScale and further channels are folded into the weights, which leaves the function of the image the same.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from iqagpt.captioner.foreign.names import Rules, State, amend, check_part, need, rename, shape_of
from iqagpt.captioner.foreign.report import Report
from iqagpt.captioner.image_encoder import EncoderParams, build_image_encoder
from iqagpt.errors import InputError

#: Width of one head in timm's own tiny, small, base and large models; a bare file does not tell.
HEAD_WIDTH = 64
PATCHES = "image_encoder.patch_embed.proj"
RULES: Rules = (
    (r"(backbone\.)?mask(ed_embed|_token)$", None, "mask token"),
    (r"(backbone\.)?(head|head_dist|pre_logits|fc_norm|last_layer)\b", None, "head"),
    (r"(backbone\.)?(?=(cls_token|pos_embed|reg_token|dist_token)$|(patch_embed|blocks|norm|norm_pre)\.)",
     "image_encoder.", ""),
)  # fmt: skip


def import_vit(file: Path, state: State, settings: Mapping[str, Any], report: Report) -> tuple[State, dict]:
    """Take the image encoder out of a timm ViT, or of a DINO or iBOT checkpoint.

    Parameters
    ----------
    file : Path
        For messages.
    state : dict of str to Tensor
        As in the file.
    settings : mapping
        Content of config.json: ``architecture`` tells the heads; ``mean`` and ``std`` of ``pretrained_cfg`` are folded into
        the patch embedding. Without them 64 wide heads and input in [0, 1] are assumed.
    report : Report
        Gets one line a tensor.

    Raises
    ------
    InputError
        If it is no plain vision transformer.
    """
    tensors = rename(file, state, RULES, report)
    normalisation = settings.get("pretrained_cfg")
    normalisation = normalisation if isinstance(normalisation, dict) else {}
    return finish_vit(
        file,
        tensors,
        report,
        heads=_timm_heads(file, settings),
        mean=normalisation.get("mean"),
        sd=normalisation.get("std"),
    )


def finish_vit(
    file: Path, tensors: State, report: Report, *, heads: int | None, mean: Any = None, sd: Any = None
) -> tuple[State, dict[str, Any]]:
    """Fold what ours lacks into other weights, check the rest; return all tensors and the geometry.

    Parameters
    ----------
    file : Path
        For messages.
    tensors : dict of str to Tensor
        Under our names, of any number of channels.
    report : Report
        Its lines of folded tensors are changed.
    heads : int or None
        None: one for every `HEAD_WIDTH` of the width.
    mean, sd : numbers by channel, or None
        What the model's input is normalised with.

    Raises
    ------
    InputError
        If they are not all there, or make no image encoder of ours.
    """
    position, patches = (need(file, tensors, name) for name in ("image_encoder.pos_embed", f"{PATCHES}.weight"))
    need(file, tensors, "image_encoder.cls_token")
    width, _, patch_size, other = shape_of(file, f"{PATCHES}.weight", patches, 4)
    _, tokens, _ = shape_of(file, "image_encoder.pos_embed", position, 3)
    grid = round((tokens - 1) ** 0.5)
    if grid < 1 or grid**2 + 1 != tokens or patch_size != other:
        raise InputError(f"{file}: {tokens} positions, patches of {patch_size} x {other}; expected squares and one CLS")
    _fold_layer_scale(tensors, report)
    _fold_channels(file, tensors, report, mean, sd)
    depth = len({name.split(".")[2] for name in tensors if name.startswith("image_encoder.blocks.")})
    heads = heads or max(1, width // HEAD_WIDTH)
    try:
        params = EncoderParams("linear", patch_size, width, depth, heads)
    except ValueError as error:
        raise InputError(f"{file}: no vision transformer of ours ({error})") from error
    with torch.device("meta"):
        expected = build_image_encoder(params, grid * patch_size).state_dict()
    # Models with a pooled head have no final norm.
    check_part(
        file, tensors, {f"image_encoder.{k}": v for k, v in expected.items()}, "image_encoder.", may_lack="norm."
    )
    geometry = {"stem": "linear", "patch_size": patch_size, "width": width, "depth": depth, "heads": heads}
    return tensors, {"encoder": geometry, "image_size": grid * patch_size}


def _fold_layer_scale(tensors: State, report: Report) -> None:
    """Multiply each LayerScale into the linear layer before it, which is the same function."""
    for scale in [name for name in tensors if re.search(r"\.ls[12]\.gamma$", name)]:
        block, which, _ = scale.rsplit(".", 2)
        layer = f"{block}.{'attn.proj' if which == 'ls1' else 'mlp.fc2'}"
        gamma = tensors.pop(scale)
        for part in ("weight", "bias"):
            if f"{layer}.{part}" in tensors:
                value = tensors[f"{layer}.{part}"]
                tensors[f"{layer}.{part}"] = value * (gamma[:, None] if value.ndim == 2 else gamma)
        amend(report, scale, f"folded into {layer}")


def _fold_channels(file: Path, tensors: State, report: Report, mean: Any, sd: Any) -> None:
    """Make one grey channel in [0, 1] of three equal, normalised ones; exact, as the patch embedding does not pad."""
    name = f"{PATCHES}.weight"
    weight = tensors[name]
    channels = weight.shape[1]
    try:
        mean, sd = (torch.tensor([float(x) for x in (v or [d])]) for v, d in ((mean, 0.0), (sd, 1.0)))
        mean, sd = mean.expand(channels), sd.expand(channels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{file.parent / 'config.json'}: mean or std is not {channels} numbers") from error
    scaled = weight / sd[:, None, None]
    if f"{PATCHES}.bias" in tensors:
        tensors[f"{PATCHES}.bias"] = tensors[f"{PATCHES}.bias"] - (scaled.sum((2, 3)) * mean).sum(1)
    tensors[name] = scaled.sum(1, keepdim=True)
    normalised = bool((mean != 0).any() or (sd != 1).any())
    if channels > 1 or normalised:
        detail = f"{channels} channels summed to 1" + (", normalisation folded in" if normalised else "")
        amend(report, name, detail)


def _timm_heads(file: Path, settings: Mapping[str, Any]) -> int | None:
    architecture = settings.get("architecture")
    if architecture is None:
        return None
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise InputError(f"{file.parent / 'config.json'}: architecture '{architecture}' is none of timm's")
    with torch.device("meta"):
        model = timm.create_model(architecture)
    if not isinstance(model, VisionTransformer):
        raise InputError(
            f"{file}: '{architecture}' is no plain vision transformer; expected one such as vit_small_patch16_224"
        )
    return int(model.blocks[0].attn.num_heads)
