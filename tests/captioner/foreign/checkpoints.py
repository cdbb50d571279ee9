"""Synthetic checkpoints with the names and shapes of published ones, random in content."""

import torch

State = dict[str, torch.Tensor]


def medical_x_vl(momentum: bool = True) -> State:
    """A state dict of Medical X-VL at fb3caad: 151 and 265 tensors, momentum copies, heads, queues."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.02

    visual, text = visual_tensors(rand), text_tensors(rand)
    state = {f"visual_encoder.backbone.{name}": value for name, value in visual.items()}
    state |= {f"text_encoder.{name}": value for name, value in text.items()}
    state |= {f"head.{name}": value for name, value in ibot_head(rand).items()}
    for name, width in (("vision_proj", 256), ("text_proj", 256), ("itm_head_v", 2), ("itm_head_t", 2)):
        state |= {f"{name}.weight": rand(width, 384), f"{name}.bias": rand(width)}
    queue = torch.zeros(256, 49152)
    state |= {"temp": torch.tensor(0.07), "image_queue": queue, "text_queue": queue}
    state["queue_ptr"] = torch.zeros(1, dtype=torch.int64)
    if momentum:
        copied = ("visual_encoder", "text_encoder", "vision_proj", "text_proj", "head")
        for name, value in list(state.items()):
            part, rest = name.split(".", 1) if "." in name else (name, "")
            if part in copied and rest != "backbone.masked_embed":
                state[f"{part}_m.{rest}"] = value
    return state


def visual_tensors(rand) -> State:
    tensors = {
        "cls_token": rand(1, 1, 384),
        "pos_embed": rand(1, 197, 384),
        "masked_embed": rand(1, 384),
        "patch_embed.proj.weight": rand(384, 3, 16, 16),
        "patch_embed.proj.bias": rand(384),
        "norm.weight": rand(384),
        "norm.bias": rand(384),
    }
    linear = {"attn.qkv": (1152, 384), "attn.proj": (384, 384), "mlp.fc1": (1536, 384), "mlp.fc2": (384, 1536)}
    for layer in range(12):
        for name in ("norm1", "norm2"):
            tensors |= {f"blocks.{layer}.{name}.weight": rand(384), f"blocks.{layer}.{name}.bias": rand(384)}
        for name, shape in linear.items():
            tensors |= {f"blocks.{layer}.{name}.weight": rand(*shape), f"blocks.{layer}.{name}.bias": rand(shape[0])}
    return tensors


def text_tensors(rand) -> State:
    def linear(name: str, out: int, into: int) -> State:
        return {f"{name}.weight": rand(out, into), f"{name}.bias": rand(out)}

    def norm(name: str) -> State:
        return {f"{name}.LayerNorm.weight": rand(384), f"{name}.LayerNorm.bias": rand(384)}

    tensors = {"bert.embeddings.position_ids": torch.arange(512)[None]}
    for name, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
        tensors[f"bert.embeddings.{name}_embeddings.weight"] = rand(rows, 384)
    tensors |= norm("bert.embeddings")
    for index in range(12):
        layer = f"bert.encoder.layer.{index}"
        for attention in ("attention", "crossattention") if index >= 6 else ("attention",):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                tensors |= linear(f"{layer}.{attention}.{part}", 384, 384)
            tensors |= norm(f"{layer}.{attention}.output")
        tensors |= linear(f"{layer}.intermediate.dense", 3072, 384) | linear(f"{layer}.output.dense", 384, 3072)
        tensors |= norm(f"{layer}.output")
    tensors["cls.predictions.bias"] = rand(30522)
    tensors |= linear("cls.predictions.transform.dense", 384, 384) | norm("cls.predictions.transform")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    return tensors


def ibot_head(rand) -> State:
    tensors = {}
    for index, (out, into) in {0: (2048, 384), 2: (2048, 2048), 4: (256, 2048)}.items():
        tensors |= {f"mlp.{index}.weight": rand(out, into), f"mlp.{index}.bias": rand(out)}
    last = {"weight_g": rand(8192, 1), "weight_v": rand(8192, 256)}
    return tensors | {f"{name}.{part}": value for name in ("last_layer", "last_layer2") for part, value in last.items()}
