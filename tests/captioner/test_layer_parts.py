"""Attention in parts against whole layers of transformers."""

import pytest
import torch

from iqagpt.captioner.layer_parts import attend, keys_values
from iqagpt.captioner.text_stack import TextParams, TextStack


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("begin", [0, 3])
def test_a_layer_in_parts_is_the_layer_for_the_tokens_asked_for(heads: int, begin: int) -> None:
    torch.manual_seed(heads)
    params = TextParams(width=32, text_layers=0, fusion_layers=1, heads=heads, intermediate=64, dropout=0.1)
    layer = TextStack(params, vocabulary_size=10, image_width=24).eval().layers[0]
    hidden, image = torch.randn(2, 7, 32), torch.randn(2, 5, 24)
    with torch.no_grad():
        expected = layer(hidden, None, image)[:, begin:]
        past_only = torch.ones(2, 7, 7, dtype=torch.bool).tril()[:, begin:]
        own, cross = layer.attention, layer.crossattention
        asked = hidden[:, begin:]
        asked = attend(own, asked, own.self.query(asked), keys_values(own, hidden), past_only)
        asked = attend(cross, asked, cross.self.query(asked), keys_values(cross, image))
        found = layer.feed_forward_chunk(asked)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
