import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from iqagpt.criteria import KEYS, all_scores, scores_to_caption
from iqagpt.explain.attention import trace
from iqagpt.explain.grad_cam import criterion_maps, word_map, word_maps
from iqagpt.explain.phrases import read_words, score_words

SCORES = {"noise": 2, "small_structures": 3, "lesion_conspicuity": 2, "diagnostic_confidence": 4}
CAPTION = scores_to_caption(SCORES)
OTHER = scores_to_caption(dict.fromkeys(KEYS, 1) | {"lesion_conspicuity": None})


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_the_trace_has_the_logits_of_the_model(captioner, tokenizer, images):
    rows = [torch.tensor(row) for row in tokenizer.encode([CAPTION, OTHER])]
    ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id)
    with torch.inference_mode():
        found = trace(captioner.text, ids, captioner.encode_image(images))
        expected = captioner(images, ids)
    for row, (ours, theirs) in enumerate(zip(found.logits, expected, strict=True)):
        count = len(rows[row])
        assert torch.allclose(ours[:count], theirs[:count], atol=1e-5)
    assert torch.allclose(found.cross_attention.sum(-1), torch.ones(()))
    assert not found.self_attention.triu(1).any()


@pytest.mark.parametrize("scores", [SCORES, dict.fromkeys(KEYS, 1) | {"lesion_conspicuity": None}])
def test_deciding_words_tell_the_scores_of_a_scale_apart(scores, tokenizer):
    caption = scores_to_caption(scores)
    found = read_words(tokenizer, caption)
    decided = {key: [found.words[i].strip(",;") for i in places] for key, places in found.decisions.items()}
    assert decided == {key: score_words(key, score).split(" ... ") for key, score in scores.items()}


def test_deciding_words_of_the_lesion():
    assert score_words("lesion_conspicuity", 2) == "well-seen ... poorly"
    assert score_words("lesion_conspicuity", None) == "no"
    for key in KEYS:
        scores = {caption[key] for caption in all_scores()}
        assert len({score_words(key, score) for score in scores}) == len(scores)


def test_words_keep_to_their_tokens_and_criteria(tokenizer):
    found = read_words(tokenizer, CAPTION)
    names, ids = tokenizer.tokens(), tokenizer.encode([CAPTION])[0]
    for word, places in zip(found.words, found.tokens, strict=True):
        assert [names[ids[place]] for place in places] == [word.strip(":;,")]
    assert set(found.criteria) == set(KEYS)
    assert found.criteria[0] == "noise"
    assert found.criteria[-1] == "diagnostic_confidence"


def test_text_outside_the_template_decides_nothing(tokenizer):
    found = read_words(tokenizer, "Diagnostic confidence: quite sure; nothing more")
    assert found.decisions == {}
    assert found.criteria[0] == "diagnostic_confidence"
    assert found.criteria[-1] is None


def test_maps_are_shares_and_do_not_depend_on_company_or_mode(captioner, tokenizer, images):
    together = word_maps(captioner, tokenizer, images, [CAPTION, OTHER])
    for parameter in captioner.parameters():
        parameter.requires_grad_(False)
    for image, caption, found in zip(images, (CAPTION, OTHER), together, strict=True):
        with torch.inference_mode():
            alone = criterion_maps(captioner, tokenizer, image[None], caption)
        assert set(alone) == set(KEYS)
        for key, weights in alone.items():
            assert weights.shape == (4, 4)
            assert weights.dtype == np.float32
            assert weights.min() >= 0
            assert weights.sum() == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose(weights, found.of_criterion(key), atol=1e-5)
    assert all(parameter.grad is None for parameter in captioner.parameters())


def test_a_word_draws_on_the_only_patch_that_says_anything(captioner, tokenizer, images, monkeypatch):
    """With one image token that is not zero, attention to the others changes nothing: all attribution is that token's."""
    tokens = torch.zeros(1, 17, 16)
    tokens[0, 1 + 6] = 5 * torch.randn(16, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(captioner, "encode_image", lambda _: tokens.clone())
    torch.nn.init.zeros_(captioner.text.layers[-1].crossattention.self.value.bias)
    found = word_maps(captioner, tokenizer, images[:1], [CAPTION])[0].maps.reshape(-1, 16)
    at_patch = found[:, 6]
    assert set(at_patch.round(4)) == {np.float32(1), np.float32(1 / 16).round(4)}


def test_a_word_has_the_map_of_its_place(captioner, tokenizer, images):
    expected = word_maps(captioner, tokenizer, images[:1], [CAPTION])[0]
    np.testing.assert_array_equal(word_map(captioner, tokenizer, images[:1], CAPTION, 3), expected.maps[3])
    with pytest.raises(IndexError, match="expected 0 to"):
        word_map(captioner, tokenizer, images[:1], CAPTION, 400)
