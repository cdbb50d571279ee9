"""The text side: BERT layers without, then with, cross-attention to the image, and a tied language-model head.

The first layers are the paper's text encoder, the last its multi-modal decoder (2.2; BERT-base cut in six and six). The whole
is one causal decoder, as in Medical X-VL's report generation. Layers are transformers' own ``BertLayer``; only the key and value
projections of the cross-attention are replaced where the image tokens have another width than the text.

Shapes: ids (B, T), image tokens (B, N, image_width) -> logits (B, T, vocabulary).
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import BertConfig
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer, BertLMPredictionHead

from iqagpt.config import check_least

BERT_WIDTH, BERT_INITIALIZER_RANGE = 768, 0.02


@dataclass(frozen=True, slots=True)
class TextParams:
    """Geometry of the text stack.

    Attributes
    ----------
    width, heads, intermediate : int
        Token width, attention heads, width of the feed-forward layer.
    text_layers, fusion_layers : int
        Layers without and with cross-attention to the image.
    dropout : float
        For embeddings, attention and outputs, 0 to 1.
    """

    width: int
    text_layers: int
    fusion_layers: int
    heads: int
    intermediate: int
    dropout: float

    def __post_init__(self) -> None:
        check_least(self, width=1, text_layers=0, fusion_layers=1, heads=1, intermediate=1)
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of width {self.width}, got {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a number from 0 to below 1, got {self.dropout}")


class TextStack(nn.Module):
    """Causal decoder over caption tokens that attends to image tokens in its last layers."""

    def __init__(self, params: TextParams, vocabulary_size: int, image_width: int) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=params.width,
            num_hidden_layers=params.text_layers + params.fusion_layers,
            num_attention_heads=params.heads,
            intermediate_size=params.intermediate,
            hidden_dropout_prob=params.dropout,
            attention_probs_dropout_prob=params.dropout,
            # BERT's 0.02 belongs to its width of 768. In a narrow stack it would leave the image's part in the residual stream
            # some hundred times too weak at the start.
            initializer_range=BERT_INITIALIZER_RANGE * math.sqrt(BERT_WIDTH / params.width),
            is_decoder=True,
            pad_token_id=0,
        )
        config._attn_implementation = "sdpa"
        fusion = BertConfig.from_dict({**config.to_dict(), "add_cross_attention": True})
        fusion._attn_implementation = "sdpa"
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList(
            BertLayer(config if i < params.text_layers else fusion, layer_idx=i)
            for i in range(config.num_hidden_layers)
        )
        for layer in self.layers[params.text_layers :]:
            attention = layer.crossattention.self
            attention.key = nn.Linear(image_width, params.width)
            attention.value = nn.Linear(image_width, params.width)
        self.head = BertLMPredictionHead(config)
        self.apply(self._initialise)
        self.head.decoder.weight = self.embeddings.word_embeddings.weight
        self.head.decoder.bias = self.head.bias

    def _initialise(self, module: nn.Module) -> None:
        # BERT's own initialisation, which the parts taken singly do not run.
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def new_cache(self) -> EncoderDecoderCache:
        """Return an empty cache of keys and values for token-by-token decoding."""
        return EncoderDecoderCache(DynamicCache(config=self.config), DynamicCache(config=self.config))

    def forward(
        self, ids: torch.Tensor, image_tokens: torch.Tensor, cache: EncoderDecoderCache | None = None
    ) -> torch.Tensor:
        """Return logits (B, T, vocabulary) for the token after each of `ids` (B, T).

        With a cache, `ids` continue what the cache holds. Padding must be on the right: the causal mask then hides it.
        """
        past = 0 if cache is None else cache.get_seq_length()
        hidden = self.embeddings(input_ids=ids, past_key_values_length=past)
        for layer in self.layers:
            image = image_tokens if layer.add_cross_attention else None
            hidden = layer(hidden, None, image, past_key_values=cache)
        return self.head(hidden)
