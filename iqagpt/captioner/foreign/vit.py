"""The image encoder out of timm's ViT, or out of a DINO or iBOT checkpoint.

Normalisation, LayerScale and further channels are folded into the weights, which leaves the function of the image the same.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
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
_SCALE = re.compile(r"^image_encoder\.blocks\.\d+\.ls[12]\.gamma$")
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
    depth = len({name.split(".")[2] for name in tensors if name.startswith("image_encoder.blocks.")})
    try:
        params = EncoderParams("linear", patch_size, width, depth, heads or max(1, width // HEAD_WIDTH))
    except ValueError as error:
        raise InputError(f"{file}: no vision transformer of ours ({error})") from error
    image_size = grid * patch_size
    # Models with a pooled head have no final norm.
    check_part(file, tensors, _expected(params, image_size, tensors), "image_encoder.", may_lack="norm.")
    _fold_layer_scale(tensors, report)
    _fold_channels(file, tensors, report, mean, sd)
    return tensors, {"encoder": asdict(params), "image_size": image_size}


def _expected(params: EncoderParams, image_size: int, found: State) -> State:
    """Return tensors of our names and shapes, apart from what is folded: channels and LayerScale."""
    with torch.device("meta"):
        encoder = build_image_encoder(params, image_size).state_dict()
        scales = {name: torch.empty(params.width) for name in found if _SCALE.search(name)}
    expected = {f"image_encoder.{name}": tensor for name, tensor in encoder.items()}
    return {**expected, **scales, f"{PATCHES}.weight": found[f"{PATCHES}.weight"]}


def _fold_layer_scale(tensors: State, report: Report) -> None:
    """Multiply each LayerScale into the linear layer before it, which is the same function."""
    for scale in [name for name in tensors if _SCALE.search(name)]:
        block, which, _ = scale.rsplit(".", 2)
        layer = f"{block}.{'attn.proj' if which == 'ls1' else 'mlp.fc2'}"
        gamma = tensors.pop(scale)
        tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"] * gamma[:, None]
        tensors[f"{layer}.bias"] = tensors[f"{layer}.bias"] * gamma
        amend(report, scale, f"folded into {layer.removeprefix('image_encoder.')}")


def _fold_channels(file: Path, tensors: State, report: Report, mean: Any, sd: Any) -> None:
    """Make one grey channel in [0, 1] of equal, normalised ones; exact, as the patch embedding does not pad."""
    weight = tensors[f"{PATCHES}.weight"]
    channels = weight.shape[1]
    try:
        mean, sd = (torch.tensor([float(x) for x in (v or [d] * channels)]) for v, d in ((mean, 0.0), (sd, 1.0)))
    except (TypeError, ValueError, OverflowError):
        mean = sd = torch.empty(0)
    if len(mean) != channels or len(sd) != channels or not (mean.isfinite() & sd.isfinite() & (sd > 0)).all():
        raise InputError(
            f"{file.with_name('config.json')}: mean and std: expected {channels} numbers each, std above 0"
        )
    scaled = weight / sd[:, None, None]
    tensors[f"{PATCHES}.bias"] = tensors[f"{PATCHES}.bias"] - (scaled.sum((2, 3)) * mean).sum(1)
    tensors[f"{PATCHES}.weight"] = scaled.sum(1, keepdim=True)
    normalised = bool((mean != 0).any() or (sd != 1).any())
    if channels > 1 or normalised:
        detail = f"{channels} channels summed to 1" + (", normalisation folded in" if normalised else "")
        amend(report, f"{PATCHES}.weight", detail)


def _timm_heads(file: Path, settings: Mapping[str, Any]) -> int | None:
    architecture = settings.get("architecture")
    if architecture is None:
        return None
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise InputError(f"{file.with_name('config.json')}: architecture '{architecture}' is none of timm's")
    with torch.device("meta"):
        model = timm.create_model(architecture)
    if not isinstance(model, VisionTransformer):
        raise InputError(
            f"{file}: '{architecture}' is no plain vision transformer; expected one such as vit_small_patch16_224"
        )
    return int(model.blocks[0].attn.num_heads)
