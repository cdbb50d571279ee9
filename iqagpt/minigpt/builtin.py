"""The small pair of frozen models for those who have no others, called ``builtin`` everywhere.

The image encoder is that of ``models/pretrained``. The language model is a small Llama, Vicuna's architecture, trained on the text
of the training captions. Neither has seen an image with its scores before both are frozen.

Notes
-----
Not stated in the paper, whose language model is Vicuna. One that has read bare captions only makes little of what stands before
them, and then no projection could steer it. So it reads each caption as the answer in MiniGPT-4's conversation, with words in the
image's place: some of the caption's own, some of any other. It learns to say what the words before it speak for, as a large
language model does of itself.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from iqagpt.captioner.image_encoder import EncoderParams, build_image_encoder
from iqagpt.config import check_least
from iqagpt.minigpt import prompt
from iqagpt.seeding import item_rng
from iqagpt.training import build_seeded

logger = logging.getLogger(__name__)

#: Neighbouring patches along each side that make one feature, as in MiniGPT-4's variant without a Q-Former.
MERGED = 2
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
#: Longest text that the language model has positions for.
_POSITIONS = 4096
#: Fewest words in the image's place, and the least that the most of them are.
_FEWEST, _LEAST_MOST = 4, 32
_CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True)
class LanguageParams:
    """Keys ``baseline.minigpt4.builtin``: the small language model and how it is trained.

    Attributes
    ----------
    width, layers, heads : int
    steps, batch_size : int
    lr : float
        At the start; it falls to 0 by a cosine.
    """

    width: int
    layers: int
    heads: int
    steps: int
    batch_size: int
    lr: float

    def __post_init__(self) -> None:
        check_least(self, width=1, layers=1, heads=1, steps=1, batch_size=1)
        if self.width % (2 * self.heads):
            raise ValueError(f"heads: expected half of width {self.width} to be a multiple, got {self.heads}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")


class PatchEyes(nn.Module):
    """The image encoder's patch tokens, every `MERGED` x `MERGED` neighbours side by side in one feature.

    Attributes
    ----------
    width, count : int
        Of the features.
    """

    def __init__(self, encoder: EncoderParams, image_size: int) -> None:
        super().__init__()
        self.image_encoder = build_image_encoder(encoder, image_size)
        self._side = image_size // encoder.patch_size
        self._merged = 1 if self._side % MERGED else MERGED
        self.width = encoder.width * self._merged**2
        self.count = (self._side // self._merged) ** 2

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 1, H, W) in [0, 1] to features (B, count, width)."""
        patches = self.image_encoder.forward_features(images)[:, 1:]
        side, merged = self._side // self._merged, self._merged
        blocks = patches.unflatten(1, (side, merged, side, merged)).transpose(2, 3)
        return blocks.reshape(len(images), self.count, self.width)


def build_word_tokenizer(captions: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a tokenizer whose tokens are the words of the captions and of the prompt, with their spaces."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [conversation("", instruction, "")[0] for instruction in prompt.INSTRUCTIONS]
    # With the end symbol after it, as in training: which characters stand together decides where words are cut.
    texts += [caption + prompt.END for caption in sorted(set(captions))]
    words = dict.fromkeys(word for text in texts for word, _ in split.pre_tokenize_str(text))
    # Words of a caption stand in the image's place without what was around them.
    words |= dict.fromkeys(word.removeprefix("Ġ") for word in list(words))
    vocabulary = {token: index for index, token in enumerate((*SPECIAL.values(), *filter(None, words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    return wrap_tokenizer(tokenizer)


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Give a tokenizer of `build_word_tokenizer` the interface of transformers."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def language_config(params: LanguageParams, vocabulary_size: int) -> LlamaConfig:
    """Return the geometry of the small Llama."""
    return LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=params.width,
        intermediate_size=3 * params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        max_position_embeddings=_POSITIONS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )


def conversation(shown: str, instruction: str, answer: str) -> tuple[str, str]:
    """Return a conversation about `shown` in two parts: up to the answer, and the answer with the end symbol."""
    return prompt.before_image() + shown + prompt.after_image(instruction), answer + prompt.END


def train_language_model(
    params: LanguageParams, captions: Sequence[str], tokenizer: PreTrainedTokenizerFast, *,
    context: int, seed: int, device: torch.device,
) -> tuple[LlamaForCausalLM, pd.DataFrame]:  # fmt: skip
    """Train the small language model on captions alone.

    Parameters
    ----------
    params : LanguageParams
    captions : sequence of str
        Of the training images, each as often as it occurs.
    tokenizer : PreTrainedTokenizerFast
        From `build_word_tokenizer`.
    context : int
        Most words in the image's place: as many as there will be features of an image, or 32 where these are fewer.
    seed : int
    device : torch.device

    Returns
    -------
    model : LlamaForCausalLM
        In evaluation mode, on the device.
    curve : DataFrame
        ``loss``, nats a token, of each ``step``.
    """
    config = language_config(params, len(tokenizer))
    model = build_seeded(lambda: LlamaForCausalLM(config), seed).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.lr, betas=(0.9, 0.95), weight_decay=0.01)
    texts = _Texts(captions, tokenizer, context, item_rng(seed, "language model"))
    losses = []
    for step in tqdm(range(params.steps), "language model", unit="step", disable=None):
        for group in optimizer.param_groups:
            group["lr"] = params.lr * 0.5 * (1 + math.cos(math.pi * step / params.steps)) * min(1.0, (step + 1) / 20)
        ids, labels, given = (part.to(device) for part in texts.draw(params.batch_size))
        loss = model(input_ids=ids, attention_mask=given, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
        optimizer.step()
        losses.append(loss.detach())
    curve = pd.DataFrame({"step": range(1, params.steps + 1), "loss": torch.stack(losses).cpu().numpy()})
    logger.info("builtin language model: loss %.3f a token after %d steps", losses[-1].item(), params.steps)
    return model.eval(), curve


class _Texts:
    """Draws conversations about words instead of images."""

    def __init__(
        self, captions: Sequence[str], tokenizer: PreTrainedTokenizerFast, context: int, rng: np.random.Generator
    ) -> None:
        self._rng, self._context = rng, max(context, _LEAST_MOST)
        self._answers = [self._ids(tokenizer, conversation("", "", caption)[1]) for caption in captions]
        cut = [prompt.before_image(), *(prompt.after_image(instruction) for instruction in prompt.INSTRUCTIONS)]
        before, *self._after = [self._ids(tokenizer, part) for part in cut]
        self._before = [tokenizer.bos_token_id, *before]
        self._pad = tokenizer.pad_token_id

    @staticmethod
    def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def draw(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids, labels (-100 where nothing is learned) and attention mask, each (B, T)."""
        length = int(self._rng.integers(_FEWEST, self._context + 1))
        rows, labels = [], []
        for index in self._rng.integers(len(self._answers), size=batch_size):
            answer = self._answers[int(index)]
            after = self._after[int(self._rng.integers(len(self._after)))]
            ahead = [*self._before, *self._words(answer, length), *after]
            rows.append([*ahead, *answer])
            labels.append([-100] * len(ahead) + answer)
        longest = max(map(len, rows))
        given = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        rows = [row + [self._pad] * (longest - len(row)) for row in rows]
        labels = [row + [-100] * (longest - len(row)) for row in labels]
        return torch.tensor(rows), torch.tensor(labels), torch.tensor(given)

    def _words(self, answer: list[int], length: int) -> list[int]:
        """Draw words that speak for an answer, more or fewer of them, among those of another."""
        other = self._answers[int(self._rng.integers(len(self._answers)))]
        share = self._rng.uniform(0.3, 1.0)
        own = self._rng.random(length) < share
        return [int(self._rng.choice(answer if mine else other)) for mine in own]
