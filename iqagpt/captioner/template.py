"""The caption template as a tree of tokens, and decoding that cannot leave it.

A caption has four decisions, one phrase per criterion, and otherwise fixed words. Fixed words pass through the decoder
together; the alternatives of a decision pass through it together too, as a tree: phrases share the tokens of their common
beginning, and a mask lets every token see its own past only. What was not chosen stays in the key-value cache, hidden by the
mask, so a batch never has to be cut to equal lengths.

The full likelihood of a phrase includes what closes it: the ";" before the next criterion, or the end of the caption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import CRITERIA, KEYS, SCORES, describe


@dataclass(frozen=True)
class Decision:
    """One criterion of the template: fixed tokens, then the tree of its phrases; T tokens, A alternatives.

    Attributes
    ----------
    ids : Tensor, (T,), int64
        What closes the phrase before (or ``[CLS]``) and the title, then every node of the tree.
    depth : Tensor, (T,), int64
        Position of each token behind the first one, along its own path.
    visible : Tensor, (T, T), bool
        Which of the tokens each one sees: its own past, itself included.
    fixed : int
        Number of fixed tokens; the likelihood of all but the first is the title's.
    paths : Tensor, (A, T), bool
        Tokens of the caption if an alternative is chosen.
    sources, targets : Tensor, (A, L), int64
        Token before each token of a phrase, and that token; padded.
    counted : Tensor, (A, L), bool
        False where padded.
    """

    ids: torch.Tensor
    depth: torch.Tensor
    visible: torch.Tensor
    fixed: int
    paths: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor

    def to(self, device: torch.device) -> "Decision":
        """Return a copy on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return Decision(fixed=self.fixed, **moved)

    def log_likelihoods(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-likelihoods of the title, (B,), and of every phrase, (B, A), from logits (B, T, vocabulary)."""
        log_p = logits.log_softmax(-1)
        title = log_p[:, torch.arange(self.fixed - 1), self.ids[1 : self.fixed]].sum(-1)
        phrases = (log_p[:, self.sources, self.targets] * self.counted).sum(-1)
        return title, phrases


class CaptionTree:
    """The four decisions of the template in the tokens of one tokenizer.

    Attributes
    ----------
    decisions : list of Decision
        In the order of `criteria.CRITERIA`.
    """

    def __init__(self, tokenizer: CaptionTokenizer, device: torch.device | None = None) -> None:
        decisions = _decisions(tokenizer)
        self.decisions = [d if device is None else d.to(device) for d in decisions]


def alternatives(key: str) -> tuple[int | None, ...]:
    """Return the scores of a criterion in the order of its alternatives: 1 to 4, then None where it may be absent."""
    criterion = CRITERIA[KEYS.index(key)]
    return (*SCORES, None) if criterion.absent else SCORES


@torch.inference_mode()
def conditional(model: Captioner, tree: CaptionTree, image_tokens: torch.Tensor) -> list[torch.Tensor]:
    """Decide criterion by criterion, each time for the most likely phrase given those already chosen.

    Parameters
    ----------
    model : Captioner
        In evaluation mode.
    tree : CaptionTree
        Of the model's tokenizer, on the model's device.
    image_tokens : Tensor, (B, N, width)
        From ``model.encode_image``.

    Returns
    -------
    list of Tensor, (B, A), float32
        For each criterion the log-likelihood of each of its `alternatives`; the chosen one is the largest.
    """
    state = _State(model, image_tokens)
    found = []
    for decision in tree.decisions:
        _, phrases = state.read(decision)
        state.choose(decision, phrases.argmax(1))
        found.append(phrases)
    return found


@torch.inference_mode()
def joint(model: Captioner, tree: CaptionTree, image_tokens: torch.Tensor) -> torch.Tensor:
    """Score every caption of the template.

    Parameters
    ----------
    model, tree, image_tokens
        As for `conditional`.

    Returns
    -------
    Tensor, (B, 4, 4, 5, 4), float32
        Log-likelihood of the whole caption; one axis per criterion, in the order of `alternatives`.
    """
    state = _State(model, image_tokens)
    total = torch.zeros(len(image_tokens), device=image_tokens.device)
    for decision in tree.decisions:
        title, phrases = state.read(decision)
        total = (total[:, None] + title[:, None] + phrases).flatten()
        state.branch(decision)
    return total.view(len(image_tokens), *(len(alternatives(key)) for key in KEYS))


def marginals(joint_log_likelihood: torch.Tensor) -> list[torch.Tensor]:
    """Return for each criterion the probabilities (B, A) of its alternatives, summed over all captions."""
    shape = joint_log_likelihood.shape
    probabilities = joint_log_likelihood.flatten(1).softmax(1).view(shape)
    axes = range(1, len(shape))
    return [probabilities.sum([other for other in axes if other != axis]) for axis in axes]


class _State:
    """Captions under construction: one row each, what the cache holds and which of it a row may see."""

    def __init__(self, model: Captioner, image_tokens: torch.Tensor) -> None:
        self.text, self.image_tokens = model.text, image_tokens
        self.cache = model.text.new_cache()
        self.seen = torch.zeros((len(image_tokens), 0), dtype=torch.bool, device=image_tokens.device)
        self.length = torch.zeros(len(image_tokens), dtype=torch.long, device=image_tokens.device)

    def read(self, decision: Decision) -> tuple[torch.Tensor, torch.Tensor]:
        rows, tokens = len(self.seen), len(decision.ids)
        past = self.seen[:, None, :].expand(-1, tokens, -1)
        mask = torch.cat([past, decision.visible.expand(rows, -1, -1)], 2)
        logits = self.text(
            decision.ids.expand(rows, -1),
            self.image_tokens,
            self.cache,
            positions=self.length[:, None] + decision.depth,
            mask=mask[:, None],
        )
        return decision.log_likelihoods(logits)

    def choose(self, decision: Decision, chosen: torch.Tensor) -> None:
        """Continue every row with one alternative, (B,)."""
        paths = decision.paths[chosen]
        self.seen = torch.cat([self.seen, paths], 1)
        self.length = self.length + paths.sum(1)

    def branch(self, decision: Decision) -> None:
        """Continue every row with all alternatives."""
        rows, count = len(self.seen), len(decision.paths)
        self.cache.batch_repeat_interleave(count)
        self.image_tokens = self.image_tokens.repeat_interleave(count, 0)
        self.seen = self.seen.repeat_interleave(count, 0)
        self.length = self.length.repeat_interleave(count, 0)
        self.choose(decision, torch.arange(count, device=self.seen.device).repeat(rows))


def _decisions(tokenizer: CaptionTokenizer) -> list[Decision]:
    opening, found = tokenizer.begin_id, []
    semicolon = tokenizer.encode(["; "])[0][1]
    for criterion in CRITERIA:
        last = criterion is CRITERIA[-1]
        closing = tokenizer.end_id if last else semicolon
        title = tokenizer.encode([f"{criterion.title}:"])[0][1:-1]
        phrases = [describe(criterion, score) for score in alternatives(criterion.key)]
        found.append(_decision([opening, *title], [ids[1:-1] for ids in tokenizer.encode(phrases)], closing))
        opening = closing
    return found


def _decision(fixed: Sequence[int], phrases: Sequence[Sequence[int]], closing: int) -> Decision:
    ids, parents = list(fixed), list(range(-1, len(fixed) - 1))
    nodes: dict[tuple[int, int], int] = {}
    paths, steps = [], []
    for phrase in phrases:
        node, before = len(fixed) - 1, []
        for token in phrase:
            before.append((node, token))
            if (node, token) not in nodes:
                nodes[node, token] = len(ids)
                ids.append(token)
                parents.append(node)
            node = nodes[node, token]
        steps.append([*before, (node, closing)])
        paths.append(node)
    lineage = [_lineage(node, parents) for node in range(len(ids))]
    visible = torch.zeros((len(ids), len(ids)), dtype=torch.bool)
    for node, line in enumerate(lineage):
        visible[node, line] = True
    longest = max(map(len, steps))
    padded = torch.tensor([step + [(0, 0)] * (longest - len(step)) for step in steps])
    return Decision(
        ids=torch.tensor(ids),
        depth=torch.tensor([len(line) - 1 for line in lineage]),
        visible=visible,
        fixed=len(fixed),
        paths=visible[paths],
        sources=padded[..., 0],
        targets=padded[..., 1],
        counted=torch.arange(longest) < torch.tensor([[len(step)] for step in steps]),
    )


def _lineage(node: int, parents: Sequence[int]) -> list[int]:
    line = []
    while node >= 0:
        line.append(node)
        node = parents[node]
    return line
