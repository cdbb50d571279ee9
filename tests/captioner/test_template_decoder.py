"""Template decoding against a slow reference that scores whole captions without a cache."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.template import alternatives
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.criteria import CRITERIA, KEYS, all_scores, scores_to_caption

#: Layers without and with cross-attention: none before the image, none after the first that sees it, some of both.
GEOMETRIES = [(0, 1), (0, 2), (1, 2), (2, 1), (2, 3)]


def random_model(tokenizer: CaptionTokenizer, seed: int, text_layers: int = 1, fusion_layers: int = 2) -> Captioner:
    torch.manual_seed(seed)
    text = TextParams(32, text_layers, fusion_layers, heads=2, intermediate=64, dropout=0.1)
    model = Captioner(EncoderParams("conv", 32, 48, 1, 2), text, image_size=64, vocabulary_size=tokenizer.size)
    return model.eval()


def random_tokens(count: int) -> torch.Tensor:
    """Image tokens far enough apart for images to choose differently."""
    return 6 * torch.randn(count, 5, 48)


@torch.no_grad()
def slow_log_likelihoods(model: Captioner, tokens: torch.Tensor, captions: list[list[int]]) -> torch.Tensor:
    """Log-likelihood of every token of every caption but the first, (B, captions, T), padded with 0."""
    longest = max(map(len, captions))
    found = torch.zeros(len(tokens), len(captions), longest - 1)
    for number, ids in enumerate(captions):
        sequence = torch.tensor(ids).expand(len(tokens), -1)
        log_p = model.text(sequence[:, :-1], tokens).log_softmax(-1)
        found[:, number, : len(ids) - 1] = log_p.gather(2, sequence[:, 1:, None])[..., 0]
    return found


@pytest.fixture(scope="module")
def words() -> CaptionTokenizer:
    return build_tokenizer(CaptionParams("presets/none.txt"))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_joint_equals_the_likelihood_of_whole_captions(tokenizer: CaptionTokenizer, geometry: tuple[int, int]) -> None:
    model = random_model(tokenizer, sum(geometry), *geometry)
    tokens = random_tokens(2)
    captions = tokenizer.encode([scores_to_caption(scores) for scores in all_scores()])
    expected = slow_log_likelihoods(model, tokens, captions).sum(2)
    found = TemplateDecoder(model, tokenizer).joint(tokens)
    torch.testing.assert_close(found.flatten(1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_each_decision_is_the_likeliest_phrase_with_its_closing(
    tokenizer: CaptionTokenizer, geometry: tuple[int, int]
) -> None:
    """The reference scores whole captions up to and including the token that closes the phrase."""
    model = random_model(tokenizer, sum(geometry), *geometry)
    tokens = random_tokens(6)
    found = TemplateDecoder(model, tokenizer).conditional(tokens)
    semicolon = tokenizer.encode(["; "])[0][1]
    for image in range(6):
        chosen: dict[str, int | None] = {}
        for position, key in enumerate(KEYS):
            rest = {other: 1 for other in KEYS[position + 1 :]}
            captions = tokenizer.encode([scores_to_caption(chosen | {key: s} | rest) for s in alternatives(key)])
            log_p = slow_log_likelihoods(model, tokens[image : image + 1], captions)[0]
            expected = []
            for row, ids in enumerate(captions):
                stops = [n for n, token in enumerate(ids) if token == semicolon] + [len(ids) - 1]
                title = len(tokenizer.encode([f"{CRITERIA[position].title}:"])[0]) - 2
                begin = (stops[position - 1] if position else 0) + title
                expected.append(log_p[row, begin : stops[position]].sum())
            torch.testing.assert_close(found[position][image], torch.stack(expected), atol=1e-5, rtol=1e-5)
            chosen[key] = alternatives(key)[int(found[position][image].argmax())]


def test_an_image_does_not_depend_on_its_batch_nor_on_those_before(words: CaptionTokenizer) -> None:
    model = random_model(words, 3)
    tokens = random_tokens(12)
    alone = [TemplateDecoder(model, words).conditional(row[None]) for row in tokens]
    choices = {tuple(int(found.argmax()) for found in of_image) for of_image in alone}
    assert len(choices) > 2
    decoder = TemplateDecoder(model, words)
    for rows in (slice(0, 5), slice(5, 12), slice(0, 12)):
        for found, *singly in zip(decoder.conditional(tokens[rows]), *alone[rows], strict=True):
            torch.testing.assert_close(found, torch.cat(singly), atol=1e-5, rtol=1e-5)


def test_conditional_and_joint_share_what_is_kept(words: CaptionTokenizer) -> None:
    model = random_model(words, 4)
    tokens = random_tokens(2)
    decoder = TemplateDecoder(model, words)
    first = decoder.conditional(tokens)
    torch.testing.assert_close(decoder.joint(tokens), TemplateDecoder(model, words).joint(tokens))
    torch.testing.assert_close(decoder.conditional(tokens), first)


@pytest.mark.parametrize(
    "part", ["embeddings.position_embeddings", "layers.0.intermediate.dense", "head.transform.dense"]
)
def test_changed_weights_are_noticed(words: CaptionTokenizer, part: str) -> None:
    model = random_model(words, 5)
    tokens = random_tokens(2)
    decoder = TemplateDecoder(model, words)
    before = decoder.joint(tokens)
    with torch.no_grad():
        model.text.get_submodule(part).weight.add_(0.1 * torch.randn_like(model.text.get_submodule(part).weight))
    after = decoder.joint(tokens)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, TemplateDecoder(model, words).joint(tokens))


def test_threads_share_a_decoder(words: CaptionTokenizer) -> None:
    model = random_model(words, 9)
    tokens = random_tokens(8)
    expected = TemplateDecoder(model, words).joint(tokens)
    decoder = TemplateDecoder(model, words)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decoder.joint, tokens.split(1)))
    torch.testing.assert_close(torch.cat(found), expected)


def test_dropout_is_refused(words: CaptionTokenizer) -> None:
    model = random_model(words, 6)
    tokens = random_tokens(1)
    decoder = TemplateDecoder(model, words)
    decoder.conditional(tokens)
    model.train()
    with pytest.raises(RuntimeError, match="training mode"):
        decoder.conditional(tokens)


def test_precision_may_change_between_calls(words: CaptionTokenizer) -> None:
    model = random_model(words, 7)
    tokens = random_tokens(2)
    decoder = TemplateDecoder(model, words)
    exact = decoder.joint(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rough = decoder.joint(tokens)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=1.0, rtol=0)
    assert not torch.equal(rough, exact)
    assert torch.equal(decoder.joint(tokens), exact)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees(words: CaptionTokenizer) -> None:
    model = random_model(words, 8)
    tokens = random_tokens(2)
    decoder = TemplateDecoder(model, words)
    expected = decoder.joint(tokens)
    model.cuda()
    torch.testing.assert_close(decoder.joint(tokens.cuda()).cpu(), expected, atol=1e-3, rtol=1e-4)
