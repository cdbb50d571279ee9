"""The text stack's forward pass with its attention kept, for Fig. 8 and Fig. 9.

Fused attention gives no weights, and switching it off or hooking into it would change a model that other threads use. So the
layers' own parts are called one by one here; the logits are those of `TextStack.forward`.
"""

from dataclasses import dataclass

import torch
from transformers.models.bert.modeling_bert import BertAttention

from iqagpt.captioner.text_stack import TextStack


@dataclass(frozen=True)
class Trace:
    """What the text stack computed for B captions of T tokens over N image tokens.

    Attributes
    ----------
    logits : Tensor, (B, T, vocabulary)
    self_attention : Tensor, (B, heads, T, T)
        Of the last layer: from a token (row) to itself and those before it; rows sum to 1.
    cross_attention : Tensor, (B, heads, T, N)
        Of the last layer, which always attends to the image; rows sum to 1.
    """

    logits: torch.Tensor
    self_attention: torch.Tensor
    cross_attention: torch.Tensor


def trace(text: TextStack, ids: torch.Tensor, image_tokens: torch.Tensor) -> Trace:
    """Run the text stack and keep the attention of its last layer.

    Parameters
    ----------
    text : TextStack
        In evaluation mode.
    ids : Tensor, (B, T), int64
        Padded on the right, if at all.
    image_tokens : Tensor, (B, N, image_width)

    Returns
    -------
    Trace
        Part of one autograd graph where gradients are enabled.
    """
    hidden = text.embeddings(input_ids=ids)
    *earlier, last = text.layers
    for layer in earlier:
        hidden = layer(hidden, None, image_tokens if layer.add_cross_attention else None)
    past_only = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
    hidden, own = _attend(last.attention, hidden, hidden, past_only)
    hidden, image = _attend(last.crossattention, hidden, image_tokens, None)
    return Trace(text.head(last.feed_forward_chunk(hidden)), own, image)


def _attend(
    attention: BertAttention, hidden: torch.Tensor, source: torch.Tensor, visible: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    part = attention.self
    query, key, value = (
        project(tokens).unflatten(-1, (part.num_attention_heads, -1)).transpose(1, 2)
        for project, tokens in ((part.query, hidden), (part.key, source), (part.value, source))
    )
    scores = query @ key.transpose(2, 3) * part.scaling
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    weights = scores.softmax(-1)
    context = (weights @ value).transpose(1, 2).flatten(2)
    return attention.output(context, hidden), weights
