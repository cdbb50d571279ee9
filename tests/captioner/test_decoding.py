"""Free decoding: greedy and beam search against exhaustive search over a small vocabulary; probabilities of scores."""

import itertools

import pytest
import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.decoding import PredictParams, generate, score_captions
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, build_tokenizer
from iqagpt.criteria import ALWAYS_SCORED, KEYS, caption_to_scores
from iqagpt.predictions import expected_scores, probability_columns

TEXT = TextParams(width=32, text_layers=1, fusion_layers=1, heads=2, intermediate=64, dropout=0.0)


class Letters:
    """A tokenizer of four words, small enough for exhaustive search."""

    pad_id, begin_id, end_id, size = 0, 1, 2, 6

    def decode(self, ids: list[int]) -> str:
        return " ".join(str(i) for i in ids if i not in (self.pad_id, self.begin_id, self.end_id))


def random_model(size: int, seed: int) -> Captioner:
    torch.manual_seed(seed)
    encoder = EncoderParams("conv", 32, 32, 1, 2)
    return Captioner(encoder, TEXT, image_size=64, vocabulary_size=size).eval()


@torch.no_grad()
def exhaustive(model: Captioner, tokens: torch.Tensor, longest: int) -> str:
    """The most likely text of up to `longest` tokens, the end token included, cut where it has not ended."""
    words = [token for token in range(Letters.size) if token not in (Letters.pad_id, Letters.end_id)]
    best, text = -float("inf"), ""
    for length in range(longest + 1):
        for body in itertools.product(words, repeat=length):
            ids = [Letters.begin_id, *body] + ([Letters.end_id] if length < longest else [])
            sequence = torch.tensor([ids])
            log_p = model.text(sequence[:, :-1], tokens).log_softmax(-1)
            total = float(log_p.gather(2, sequence[:, 1:, None]).sum())
            if total > best:
                best, text = total, Letters().decode(ids)
    return text


@pytest.mark.parametrize("seed", range(4))
def test_wide_beam_search_finds_the_most_likely_text(seed: int) -> None:
    model = random_model(Letters.size, seed)
    tokens = model.encode_image(torch.rand(1, 1, 64, 64))
    assert generate(model, Letters(), tokens, max_tokens=3, beams=200) == [exhaustive(model, tokens, 3)]


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_does_not_depend_on_its_batch(beams: int) -> None:
    model = random_model(Letters.size, 7)
    tokens = model.encode_image(torch.rand(4, 1, 64, 64))
    alone = [generate(model, Letters(), tokens[i : i + 1], max_tokens=9, beams=beams)[0] for i in range(4)]
    assert generate(model, Letters(), tokens, max_tokens=9, beams=beams) == alone


def test_one_beam_takes_the_likeliest_next_token() -> None:
    model = random_model(Letters.size, 3)
    tokens = model.encode_image(torch.rand(1, 1, 64, 64))
    ids = [Letters.begin_id]
    with torch.no_grad():
        while len(ids) < 9 and ids[-1] != Letters.end_id:
            logits = model.text(torch.tensor([ids]), tokens)[0, -1].clone()
            logits[Letters.pad_id] = -float("inf")
            ids.append(int(logits.argmax()))
    assert generate(model, Letters(), tokens, max_tokens=8) == [Letters().decode(ids)]


@pytest.mark.parametrize("probabilities", ["conditional", "marginal"])
def test_every_score_has_a_probability_and_every_caption_is_valid(probabilities: str) -> None:
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    model = random_model(tokenizer.size, 5)
    tokens = model.encode_image(torch.rand(5, 1, 64, 64))
    captions, table = score_captions(TemplateDecoder(model, tokenizer), tokens, probabilities)
    for key in KEYS:
        assert table[probability_columns(key)].sum(axis=1).to_numpy() == pytest.approx(1.0, abs=1e-5)
    for row, caption in enumerate(captions):
        scores = caption_to_scores(caption)
        assert list(scores) == list(KEYS)
        if probabilities == "conditional":
            for key in ALWAYS_SCORED:
                assert table.loc[row, probability_columns(key)].astype(float).argmax() == scores[key] - 1
    expected = expected_scores(table)
    assert expected is not None
    assert expected.to_numpy().min() >= 1
    assert expected.to_numpy().max() <= 4


def test_marginal_decoding_states_the_scores_that_are_most_likely_over_all_captions() -> None:
    tokenizer = build_tokenizer(CaptionParams("presets/none.txt"))
    model = random_model(tokenizer.size, 5)
    decoder, tokens = TemplateDecoder(model, tokenizer), model.encode_image(torch.rand(5, 1, 64, 64))
    joint = decoder.joint(tokens).flatten(1).softmax(1).view(-1, 4, 4, 5, 4)
    captions, table = score_captions(decoder, tokens, "marginal", by_probability=True)
    for row, caption in enumerate(captions):
        scores = caption_to_scores(caption)
        assert len(scores) == len(KEYS)
        for axis, key in enumerate(KEYS):
            over_all = joint[row].sum([other for other in range(4) if other != axis])
            assert scores[key] == (*range(1, 5), None)[int(over_all.argmax())]
            assert table.loc[row, probability_columns(key)].to_numpy(float) == pytest.approx(
                over_all.tolist(), abs=1e-5
            )


def test_marginal_decoding_asks_for_marginal_probabilities() -> None:
    with pytest.raises(ValueError, match="probabilities: expected marginal with decoding: marginal"):
        PredictParams(decoding="marginal", beams=1, probabilities="conditional", max_tokens=80, batch_size=8)
