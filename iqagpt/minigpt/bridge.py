"""The model: what a frozen image encoder sees, projected among the word embeddings of a frozen language model.

Shapes: images (B, 1, H, W) in [0, 1] -> features (B, N, seen) -> projected (B, N, hidden) -> text.
"""

import logging
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from iqagpt.minigpt import prompt

logger = logging.getLogger(__name__)

#: Not a target of the loss.
_IGNORED = -100
#: The end symbol may be a token or part of several, so this many are looked at.
_END_TOKENS = 4
TRAINED = ("projection.weight", "projection.bias")


class Bridge(nn.Module):
    """Image encoder and language model, both frozen, and the projection between them.

    Parameters
    ----------
    eyes : Module
        Maps images to features (B, N, seen); has an attribute ``width``, which is `seen`. With a Q-Former it is part of this.
    language_model : PreTrainedModel
        Causal.
    tokenizer : PreTrainedTokenizerBase
        Of the language model.
    """

    def __init__(self, eyes: nn.Module, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.eyes, self.language_model, self.tokenizer = eyes, language_model, tokenizer
        self.eyes.requires_grad_(False).eval()
        self.language_model.requires_grad_(False).eval()
        self.projection = nn.Linear(eyes.width, language_model.get_input_embeddings().embedding_dim)

    def train(self, mode: bool = True) -> "Bridge":
        """Set the mode of the projection; what is frozen stays in evaluation mode, without dropout."""
        super().train(mode)
        self.eyes.eval()
        self.language_model.eval()
        return self

    def loss(self, features: torch.Tensor, captions: Sequence[str], instruction: str, max_text: int) -> torch.Tensor:
        """Return the mean cross-entropy of the captions' tokens and of the end symbol, given image and prompt.

        Parameters
        ----------
        features : Tensor, (B, N, seen)
        captions : sequence of str, length B
        instruction : str
        max_text : int
            Longest caption in tokens, the end symbol included; the rest is cut off.
        """
        shown = self._shown(features, instruction)
        answers = [self._ids(caption + prompt.END)[:max_text] for caption in captions]
        longest = max(map(len, answers))
        device = features.device
        ids = torch.tensor([answer + [0] * (longest - len(answer)) for answer in answers], device=device)
        given = torch.tensor([[1] * len(answer) + [0] * (longest - len(answer)) for answer in answers], device=device)
        ahead = ids.new_full(shown.shape[:2], _IGNORED)
        return self.language_model(
            inputs_embeds=torch.cat([shown, self._embed(ids)], 1),
            attention_mask=torch.cat([given.new_ones(shown.shape[:2]), given], 1),
            labels=torch.cat([ahead, ids.masked_fill(given == 0, _IGNORED)], 1),
        ).loss

    @torch.inference_mode()
    def describe(self, features: torch.Tensor, max_tokens: int) -> list[str]:
        """Describe images by their features (B, N, seen), always with the likeliest next token.

        Notes
        -----
        MiniGPT-4 draws tokens at random (top-p 0.9), so that each run differs; an assessment should not.
        """
        step = self.language_model(inputs_embeds=self._shown(features, prompt.INSTRUCTIONS[0]), use_cache=True)
        said = torch.zeros((len(features), 0), dtype=torch.long, device=features.device)
        ended = [False] * len(features)
        for _ in range(max_tokens):
            said = torch.cat([said, step.logits[:, -1:].argmax(-1)], 1)
            ended = [was or now for was, now in zip(ended, self._end_here(said), strict=True)]
            if all(ended):
                break
            step = self.language_model(
                inputs_embeds=self._embed(said[:, -1:]), past_key_values=step.past_key_values, use_cache=True
            )
        return [prompt.until_end(self._text(row)) for row in said.tolist()]

    def _end_here(self, said: torch.Tensor) -> list[bool]:
        rows = said[:, -_END_TOKENS:].tolist()
        return [row[-1] == self.tokenizer.eos_token_id or prompt.END in self.tokenizer.decode(row) for row in rows]

    def _text(self, ids: list[int]) -> str:
        end = self.tokenizer.eos_token_id
        kept = ids[: ids.index(end)] if end in ids else ids
        return self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _shown(self, features: torch.Tensor, instruction: str) -> torch.Tensor:
        count, device = len(features), features.device
        begin = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        before = torch.tensor([begin + self._ids(prompt.before_image())], device=device)
        after = torch.tensor([self._ids(prompt.after_image(instruction))], device=device)
        seen = self.projection(features.to(self.projection.weight.dtype))
        before, after = self._embed(before), self._embed(after)
        return torch.cat([before.expand(count, -1, -1), seen.to(before.dtype), after.expand(count, -1, -1)], 1)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.language_model.get_input_embeddings()(ids)


def list_trained(model: Bridge) -> list[str]:
    """Return the names of the trained tensors, and log them beside the numbers of frozen ones.

    Raises
    ------
    RuntimeError
        If anything but the one projection would be trained.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if sorted(trained) != sorted(TRAINED):
        raise RuntimeError(f"expected to train {', '.join(TRAINED)} alone, found {', '.join(trained)}")
    sizes = {
        name: f"{name} {tuple(parameter.shape)}" for name, parameter in model.named_parameters() if name in trained
    }
    frozen = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("eyes", "language_model")}
    logger.info("trained: %s", ", ".join(sizes[name] for name in trained))
    logger.info(
        "frozen: image encoder %d parameters, language model %d parameters", frozen["eyes"], frozen["language_model"]
    )
    return trained
