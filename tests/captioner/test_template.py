"""Template decoding against a slow reference that scores whole captions without a cache."""

import pytest
import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.template import CaptionTree, alternatives, conditional, joint, marginals
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.criteria import CRITERIA, KEYS, all_scores, scores_to_caption

VOCABULARIES = ["words", "wordpiece"]


@pytest.fixture(scope="module", params=VOCABULARIES)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CaptionTokenizer:
    if request.param == "words":
        return build_tokenizer(CaptionParams("presets/none.txt"))
    # Word pieces: phrases then share beginnings inside words.
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"##{c}" for c in letters), "##able", "un", "poor", "##ly", ":", ";", ",", "-"]
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]) + "\n", encoding="utf-8")
    return build_tokenizer(CaptionParams(str(file)))


def random_model(tokenizer: CaptionTokenizer, seed: int) -> Captioner:
    torch.manual_seed(seed)
    text = TextParams(width=32, text_layers=1, fusion_layers=2, heads=2, intermediate=64, dropout=0.1)
    model = Captioner(EncoderParams("conv", 32, 32, 1, 2), text, image_size=64, vocabulary_size=tokenizer.size)
    return model.eval()


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


@pytest.mark.parametrize("seed", [0, 1])
def test_joint_equals_the_likelihood_of_whole_captions(tokenizer: CaptionTokenizer, seed: int) -> None:
    model = random_model(tokenizer, seed)
    tokens = model.encode_image(torch.rand(2, 1, 64, 64))
    captions = tokenizer.encode([scores_to_caption(scores) for scores in all_scores()])
    expected = slow_log_likelihoods(model, tokens, captions).sum(2)
    found = joint(model, CaptionTree(tokenizer), tokens)
    torch.testing.assert_close(found.flatten(1), expected, atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_decision_is_the_likeliest_phrase_with_its_closing(tokenizer: CaptionTokenizer, seed: int) -> None:
    """The reference scores whole captions up to and including the token that closes the phrase."""
    model = random_model(tokenizer, seed)
    tokens = model.encode_image(torch.rand(3, 1, 64, 64))
    found = conditional(model, CaptionTree(tokenizer), tokens)
    semicolon = tokenizer.encode(["; "])[0][1]
    for image in range(3):
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
            torch.testing.assert_close(found[position][image], torch.stack(expected), atol=1e-3, rtol=1e-5)
            chosen[key] = alternatives(key)[int(found[position][image].argmax())]


def test_marginals_sum_the_captions_that_share_a_score(tokenizer: CaptionTokenizer) -> None:
    scores = torch.randn(2, 4, 4, 5, 4)
    found = marginals(scores)
    weights = scores.flatten(1).softmax(1)
    for position, key in enumerate(KEYS):
        for index, score in enumerate(alternatives(key)):
            with_it = torch.tensor([s[key] == score for s in all_scores()])
            torch.testing.assert_close(found[position][:, index], weights[:, with_it].sum(1))


def test_the_tree_holds_shared_beginnings_once(tokenizer: CaptionTokenizer) -> None:
    for decision in CaptionTree(tokenizer).decisions:
        places = {(tuple(row.nonzero()[:, 0].tolist())) for row in decision.visible}
        assert len(places) == len(decision.ids)
        assert len(decision.ids) < decision.paths.sum()
        assert bool((decision.visible.sum(1) == decision.depth + 1).all())
