"""Attention of transformers' BERT in its parts: keys and values apart from queries, and each for the tokens that need it only.

Keys and values are (B, heads, T, head_width), queries and results (B, T, width). Weights and result are `BertLayer`'s; attention
has no dropout here, so this is for evaluation only.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.bert.modeling_bert import BertAttention

KeysValues = tuple[torch.Tensor, torch.Tensor]


def keys_values(attention: BertAttention, source: torch.Tensor) -> KeysValues:
    """Return what attention can look at in `source`, (B, T, its width)."""
    own = attention.self
    return _split(attention, own.key(source)), _split(attention, own.value(source))


def attend(
    attention: BertAttention,
    hidden: torch.Tensor,
    queries: torch.Tensor,
    seen: KeysValues,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the block's output for `hidden`, (B, S, width), which enters it as residual.

    Parameters
    ----------
    attention : BertAttention
        Self- or cross-attention.
    hidden : Tensor, (B, S, width)
    queries : Tensor, (B, S, width)
        ``attention.self.query(hidden)``.
    seen : KeysValues
        Of T tokens.
    visible : Tensor, (B, S, T), bool, optional
        By default all are.
    """
    mask = None if visible is None else visible[:, None]
    own = attention.self
    mixed = scaled_dot_product_attention(_split(attention, queries), *seen, attn_mask=mask, scale=own.scaling)
    return attention.output(mixed.transpose(1, 2).flatten(2), hidden)


def _split(attention: BertAttention, projected: torch.Tensor) -> torch.Tensor:
    return projected.unflatten(2, (-1, attention.self.attention_head_size)).transpose(1, 2)
