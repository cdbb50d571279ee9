from pathlib import Path

import pytest
import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer


@pytest.fixture(scope="session")
def tokenizer(scored_run: Path) -> CaptionTokenizer:
    return CaptionTokenizer.load(scored_run / "captions")


@pytest.fixture
def captioner(tokenizer: CaptionTokenizer) -> Captioner:
    """A captioner of 4 x 4 patches with random weights."""
    torch.manual_seed(0)
    encoder = EncoderParams(stem="conv", patch_size=16, width=16, depth=1, heads=2)
    text = TextParams(width=24, text_layers=1, fusion_layers=2, heads=2, intermediate=32, dropout=0.1)
    return Captioner(encoder, text, image_size=64, vocabulary_size=tokenizer.size).eval()
