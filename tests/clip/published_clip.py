"""CLIP with a ResNet as OpenAI published it: its names, shapes and arithmetic, in a few lines, to compare with."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional


def _convolution(into: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, stride=stride, padding=size // 2, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(into, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _convolution(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _convolution(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.stride, self.downsample = stride, None
        if stride > 1 or into != 4 * width:
            self.downsample = nn.ModuleDict({"0": _convolution(into, 4 * width, 1), "1": nn.BatchNorm2d(4 * width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(functional.avg_pool2d(out, self.stride)))
        if self.downsample is not None:
            x = self.downsample["1"](self.downsample["0"](functional.avg_pool2d(x, self.stride)))
        return torch.relu(out + x)


class AttentionPool(nn.Module):
    def __init__(self, width: int, embedding: int, grid: int = 7) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, width) * width**-0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(dim=0, keepdim=True), x])
        found, _ = functional.multi_head_attention_forward(
            x[:1], x, x, x.shape[-1], x.shape[-1] // 64, None,
            torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]), None, None, False, 0.0,
            self.c_proj.weight, self.c_proj.bias, use_separate_proj_weight=True,
            q_proj_weight=self.q_proj.weight, k_proj_weight=self.k_proj.weight, v_proj_weight=self.v_proj.weight,
        )  # fmt: skip
        return found[0]


class Visual(nn.Module):
    def __init__(self, width: int, depths: tuple[int, ...], embedding: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(3, width // 2, 3, 2), nn.BatchNorm2d(width // 2)
        self.conv2, self.bn2 = _convolution(width // 2, width // 2, 3), nn.BatchNorm2d(width // 2)
        self.conv3, self.bn3 = _convolution(width // 2, width, 3), nn.BatchNorm2d(width)
        into = width
        for stage, depth in enumerate(depths):
            own = width * 2**stage
            blocks = [Bottleneck(into if k == 0 else 4 * own, own, 2 if stage and k == 0 else 1) for k in range(depth)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            into = 4 * own
        self.attnpool = AttentionPool(into, embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = torch.relu(norm(convolution(x)))
        x = functional.avg_pool2d(x, 2)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.attnpool(x)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        causal = torch.full((len(x), len(x)), float("-inf")).triu(1)
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=causal)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width) for _ in range(layers)))


class PublishedClip(nn.Module):
    def __init__(
        self, *, width: int, depths: tuple[int, ...], embedding: int, text_width: int, layers: int, vocabulary: int
    ) -> None:
        super().__init__()
        self.visual = Visual(width, depths, embedding)
        self.transformer = Transformer(text_width, layers)
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        self.positional_embedding = nn.Parameter(torch.randn(77, text_width) * 0.01)
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.randn(text_width, embedding) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(4.6052))

    def encode_text(self, ids: torch.Tensor, eos: int) -> torch.Tensor:
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer.resblocks(x.permute(1, 0, 2)).permute(1, 0, 2))
        return x[torch.arange(len(x)), (ids == eos).int().argmax(dim=1)] @ self.text_projection


RN50 = dict(width=64, depths=(3, 4, 6, 3), embedding=1024, text_width=512, layers=12, vocabulary=49408)
SMALL = dict(width=8, depths=(2, 1, 1, 1), embedding=12, text_width=128, layers=2, vocabulary=14)


def write_tokenizer(folder: Path) -> None:
    """A byte-pair tokenizer with CLIP's marks, as vocab.json and merges.txt."""
    words = ["i", "m", "im</w>", "m</w>", ".</w>", "a</w>", "a", "i</w>", ".", "b</w>", "b", "ab</w>"]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\ni m</w>\na b</w>\n")


def write_checkpoint(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    save_file(
        {name: tensor.detach().contiguous() for name, tensor in state.items()}, folder / "open_clip_model.safetensors"
    )
    write_tokenizer(folder)
    return folder
