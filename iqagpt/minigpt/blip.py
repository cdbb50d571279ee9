"""BLIP-2 and InstructBLIP of transformers as the frozen parts: a vision transformer, a Q-Former and a causal language model.

Nearest to MiniGPT-4 is BLIP-2's image encoder and Q-Former with Vicuna (``language_model``); InstructBLIP with Vicuna comes as
one, and its Q-Former reads the instruction too.

Weights come from a local folder, or from a hub only if the name begins with ``hub:``.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from iqagpt.errors import InputError
from iqagpt.foreign_pickle import load_pickle
from iqagpt.minigpt import prompt

HUB = "hub:"
#: Of the images that CLIP, and EVA-CLIP after it, saw.
_MEAN, _SD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_CLASSES = {"blip-2": Blip2ForConditionalGeneration, "instructblip": InstructBlipForConditionalGeneration}
#: MiniGPT-4's name of the projection.
_PROJECTION = "llama_proj"


class QFormerEyes(nn.Module):
    """Vision transformer and Q-Former: the queries' answers, (B, queries, width).

    Attributes
    ----------
    width : int
    """

    def __init__(self, model: PreTrainedModel, instruction: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.vision_model, self.qformer = model.vision_model, model.qformer
        self.query_tokens = model.query_tokens
        self.side: int = model.config.vision_config.image_size
        self.width: int = model.config.qformer_config.hidden_size
        self._instruction = instruction

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 1, H, W) in [0, 1] to features; they are resized to the vision transformer's size."""
        resized = functional.interpolate(
            images, (self.side, self.side), mode="bicubic", antialias=True, align_corners=False
        )
        mean, sd = (images.new_tensor(values)[:, None, None] for values in (_MEAN, _SD))
        pixels = (resized.clamp(0, 1).expand(-1, 3, -1, -1) - mean) / sd
        dtype = next(self.vision_model.parameters()).dtype
        seen = self.vision_model(pixel_values=pixels.to(dtype)).last_hidden_state
        queries = self.query_tokens.expand(len(images), -1, -1)
        seen = seen.to(next(self.qformer.parameters()).dtype)
        text = {name: ids.to(images.device).expand(len(images), -1) for name, ids in self._instruction.items()}
        if text:
            ahead = text["attention_mask"].new_ones(queries.shape[:2])
            text["attention_mask"] = torch.cat([ahead, text["attention_mask"]], 1)
        found = self.qformer(query_embeds=queries, encoder_hidden_states=seen, **text).last_hidden_state
        return found[:, : queries.shape[1]].float()


def load_frozen(
    model: str, language_model: str | None, device: torch.device
) -> tuple[QFormerEyes, PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the frozen parts, on a GPU in half precision.

    Parameters
    ----------
    model : str
        Folder of a BLIP-2 or InstructBLIP model, or ``hub:OWNER/NAME``.
    language_model : str or None
        Folder or ``hub:`` name of a causal language model to use in place of the model's own.
    device : torch.device

    Raises
    ------
    InputError
        If a folder is missing or holds another kind of model.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    kind = _load(AutoConfig, model).model_type
    if kind not in _CLASSES:
        raise InputError(f"{model}: a '{kind}' model; baseline.minigpt4.model takes {' or '.join(_CLASSES)}")
    whole = _load(_CLASSES[kind], model, dtype=dtype)
    instruction = {}
    if kind == "instructblip":
        reader = _load(InstructBlipProcessor, model).qformer_tokenizer
        instruction = dict(reader([prompt.INSTRUCTIONS[0]], return_tensors="pt"))
        instruction = {name: instruction[name] for name in ("input_ids", "attention_mask")}
    language, where = whole.language_model, model
    if language_model is not None:
        language, where = _load(AutoModelForCausalLM, language_model, dtype=dtype), language_model
    if language.config.is_encoder_decoder:
        raise InputError(
            f"{where}: its language model ('{language.config.model_type}') is not causal; name a causal one, such as "
            "Vicuna's folder, in baseline.minigpt4.language_model"
        )
    return QFormerEyes(whole, instruction).to(device), language.to(device), _load(AutoTokenizer, where)


def read_projection(file: Path, projection: nn.Linear) -> None:
    """Start a projection from a MiniGPT-4 checkpoint.

    Raises
    ------
    InputError
        If the file cannot be read safely, or holds no projection of this shape.
    """
    content = load_pickle(file)
    tensors = content.get("model", content) if isinstance(content, dict) else {}
    found = {name: tensors.get(f"{_PROJECTION}.{name}") for name in ("weight", "bias")}
    for name, own in projection.named_parameters():
        tensor = found[name]
        if not isinstance(tensor, torch.Tensor) or tensor.shape != own.shape:
            shape = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "none"
            raise InputError(
                f"{file}: {_PROJECTION}.{name} has shape {shape}, expected {tuple(own.shape)} for this Q-Former and "
                "language model; give MiniGPT-4's checkpoint for the same language model"
            )
        own.data.copy_(tensor)


def _load(kind: Any, name: str, **options: Any) -> Any:
    hub = name.startswith(HUB)
    if not hub and not (Path(name) / "config.json").is_file():
        raise InputError(
            f"{name}: no model's folder (no config.json); give one as transformers saves it, or {HUB}OWNER/NAME to "
            "download from a hub"
        )
    try:
        return kind.from_pretrained(name.removeprefix(HUB), local_files_only=not hub, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: cannot be loaded as {kind.__name__} ({reason})") from error
