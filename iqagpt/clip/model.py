"""The two towers of CLIP. Shapes: images (B, 1, H, W) in [0, 1] and token ids (B, L) -> unit vectors (B, D)."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

#: What CLIP's images are normalised with, by colour channel.
MEAN, SD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
#: Width of an attention head in every published CLIP ResNet and its text tower.
HEAD_WIDTH = 64
#: Pixels that one vector of the last stage stands for, each way.
STRIDE = 32


@dataclass(frozen=True, slots=True)
class ImageTower:
    """Geometry of the image tower.

    Attributes
    ----------
    width : int
        Channels inside the first stage's bottlenecks, a multiple of 8, 64 in RN50; doubled by each stage, and four times as many
        leave one.
    stem : int
        Channels of the three-layer stem, 64 in RN50; its first two layers have half of them.
    depths : four int
        Blocks of the four stages, 3, 4, 6, 3 in RN50.
    """

    width: int
    stem: int
    depths: tuple[int, int, int, int]

    @property
    def channels(self) -> int:
        """Channels that reach the pooling."""
        return 32 * self.width


@dataclass(frozen=True, slots=True)
class TextTower:
    """Geometry of the text tower.

    Attributes
    ----------
    width, layers, heads, intermediate, positions : int
        512, 12, 8, 2048, 77 beside RN50.
    """

    width: int
    layers: int
    heads: int
    intermediate: int
    positions: int


class Clip(nn.Module):
    """Image tower, text tower and the scale of their cosines.

    Parameters
    ----------
    image : ImageTower
    text : TextTower
    embedding : int
        Width of the common space, 1024 with RN50.
    vocabulary_size, eos : int
        Size of the vocabulary, and the token whose output stands for the text.
    """

    def __init__(self, image: ImageTower, text: TextTower, *, embedding: int, vocabulary_size: int, eos: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "image": asdict(image) | {"depths": list(image.depths)},
            "text": asdict(text),
            "embedding": embedding,
            "vocabulary_size": vocabulary_size,
            "eos": eos,
        }
        self.image = _image_tower(image, embedding)
        self.text = _text_tower(text, embedding, vocabulary_size, eos)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("sd", torch.tensor(SD)[:, None, None], persistent=False)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Clip":
        """Build a model of the geometry that another one's ``config`` tells."""
        rest = {key: value for key, value in config.items() if key not in ("image", "text")}
        image = ImageTower(**config["image"] | {"depths": tuple(config["image"]["depths"])})
        return cls(image, TextTower(**config["text"]), **rest)

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (B, D) of grey images (B, 1, H, W) in [0, 1].

        Nothing is resized; sides that are no multiple of `STRIDE` continue with their last row or column up to one.
        """
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            images = functional.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        return functional.normalize(self.image((images - self.mean) / self.sd), dim=-1)

    def encode_texts(
        self, ids: torch.Tensor, slots: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return unit vectors of texts.

        Parameters
        ----------
        ids : Tensor, (B, L), integer
        slots : Tensor, (B, L), bool, optional
            Where learned vectors stand instead of the tokens' own embeddings, equally many in each text.
        context : Tensor, (slots of a text, text width), optional
            These vectors, the same for all texts.

        Returns
        -------
        Tensor, (B, D)
        """
        if slots is None:
            return functional.normalize(self.text(input_ids=ids).text_embeds, dim=-1)

        def fill(module: nn.Module, inputs: Any, words: torch.Tensor) -> torch.Tensor:
            return words.masked_scatter(slots[..., None], context.to(words.dtype).repeat(len(ids), 1))

        hook = self.text.get_input_embeddings().register_forward_hook(fill)
        try:
            return functional.normalize(self.text(input_ids=ids).text_embeds, dim=-1)
        finally:
            hook.remove()


def _image_tower(geometry: ImageTower, embedding: int) -> nn.Module:
    # The configuration of timm's resnet50_clip, of any width and depth.
    blocks = tuple(
        ByoBlockCfg(type="bottle", d=depth, c=4 * geometry.width * 2**stage, s=2 if stage else 1, br=0.25)
        for stage, depth in enumerate(geometry.depths)
    )
    config = ByoModelCfg(
        blocks=blocks, stem_chs=(geometry.stem // 2, geometry.stem // 2, geometry.stem), stem_type="", stem_pool="avg2",
        downsample="avg", aa_layer="avg", head_type="attn_abs",
    )  # fmt: skip
    tower = ByobNet(config, num_classes=embedding, img_size=224)
    # Without positions in the pooling any size fits; timm adds what is here, and resizes it for nothing.
    positions = torch.zeros_like(tower.head.pos_embed)
    del tower.head.pos_embed
    tower.head.register_buffer("pos_embed", positions, persistent=False)
    # Halves the time of an image on a CPU.
    return tower.to(memory_format=torch.channels_last)


def _text_tower(geometry: TextTower, embedding: int, vocabulary_size: int, eos: int) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=vocabulary_size, hidden_size=geometry.width, intermediate_size=geometry.intermediate,
        projection_dim=embedding, num_hidden_layers=geometry.layers, num_attention_heads=geometry.heads,
        max_position_embeddings=geometry.positions, hidden_act="quick_gelu", eos_token_id=eos, bos_token_id=None,
        pad_token_id=None,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config)
