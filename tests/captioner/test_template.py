"""The template's tree of tokens against whole captions as the tokenizer writes them."""

import torch

from iqagpt.captioner.template import CaptionTree, alternatives, marginals
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS, all_scores, scores_to_caption


def test_marginals_sum_the_captions_that_share_a_score() -> None:
    scores = torch.randn(2, 4, 4, 5, 4)
    found = marginals(scores)
    weights = scores.flatten(1).softmax(1)
    for position, key in enumerate(KEYS):
        for index, score in enumerate(alternatives(key)):
            with_it = torch.tensor([s[key] == score for s in all_scores()])
            torch.testing.assert_close(found[position][:, index], weights[:, with_it].sum(1))


def test_the_tree_holds_shared_beginnings_once(tokenizer: CaptionTokenizer) -> None:
    for decision in (level.decision for level in CaptionTree(tokenizer).levels):
        places = {(tuple(row.nonzero()[:, 0].tolist())) for row in decision.visible}
        assert len(places) == len(decision.ids)
        assert len(decision.ids) < decision.paths.sum()
        assert bool((decision.visible.sum(1) == decision.depth + 1).all())


def test_what_the_last_tokens_see_are_the_captions(tokenizer: CaptionTokenizer) -> None:
    levels = CaptionTree(tokenizer).levels
    ids = torch.cat([level.decision.ids for level in levels])
    last, found = levels[-1], []
    for visible, positions in zip(last.visible, last.positions, strict=True):
        for path in last.decision.paths:
            end = int(path.nonzero()[-1])
            caption = ids[visible[end]].tolist()
            assert positions[end] == len(caption) - 1
            found.append([*caption, tokenizer.end_id])
    assert found == tokenizer.encode([scores_to_caption(scores) for scores in all_scores()])
