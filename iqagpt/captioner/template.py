"""The caption template as a tree of tokens, for `template_decoder`.

A caption has four decisions, one phrase per criterion, and otherwise fixed words. Fixed words pass through the decoder
together; the alternatives of a decision pass through it together too, as a tree: phrases share the tokens of their common
beginning, and a mask lets every token see its own past only. What was not chosen stays among the keys and values, hidden by the
mask, so all beginnings of captions, and all rows of a batch, have the same length.

The full likelihood of a phrase includes what closes it: the ";" before the next criterion, or the end of the caption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

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

    def to(self, device: torch.device | None) -> "Decision":
        """Return a copy on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return Decision(fixed=self.fixed, **moved)

    def title(self, log_p: torch.Tensor) -> torch.Tensor:
        """Return the log-likelihood of the title, (B,), from those of the next token, (B, T, vocabulary)."""
        return log_p[:, torch.arange(self.fixed - 1), self.ids[1 : self.fixed]].sum(-1)

    def phrases(self, log_p: torch.Tensor) -> torch.Tensor:
        """Return the log-likelihood of every phrase, (B, A), from those of the next token, (B, S, vocabulary).

        S counts from the end: the last fixed token and the tree suffice.
        """
        skipped = len(self.ids) - log_p.shape[1]
        return (log_p[:, self.sources - skipped, self.targets] * self.counted).sum(-1)


@dataclass(frozen=True)
class Level:
    """A decision after every possible beginning of the caption; C beginnings (1, 4, 16, 80) of P tokens, those not chosen included.

    Beginnings count in the order of `criteria.all_scores`: alternative a after beginning c is beginning c A + a of the next level.

    Attributes
    ----------
    decision : Decision
    positions : Tensor, (C, T), int64
        Of the decision's tokens in the caption.
    visible : Tensor, (C, T, P + T), bool
        Which tokens each one sees, of all those read before and with it.
    """

    decision: Decision
    positions: torch.Tensor
    visible: torch.Tensor


class CaptionTree:
    """The four decisions of the template in the tokens of one tokenizer.

    Attributes
    ----------
    levels : list of Level
        In the order of `criteria.CRITERIA`.
    """

    def __init__(self, tokenizer: CaptionTokenizer, device: torch.device | None = None) -> None:
        self.levels: list[Level] = []
        chosen, length = (
            torch.zeros((1, 0), dtype=torch.bool, device=device),
            torch.zeros(1, dtype=torch.long, device=device),
        )
        for decision in (d.to(device) for d in _decisions(tokenizer)):
            past = chosen[:, None].expand(-1, len(decision.ids), -1)
            visible = torch.cat([past, decision.visible.expand(len(chosen), -1, -1)], 2)
            self.levels.append(Level(decision, length[:, None] + decision.depth, visible))
            paths = decision.paths.repeat(len(chosen), 1)
            chosen = torch.cat([chosen.repeat_interleave(len(decision.paths), 0), paths], 1)
            length = chosen.sum(1)


def alternatives(key: str) -> tuple[int | None, ...]:
    """Return the scores of a criterion in the order of its alternatives: 1 to 4, then None where it may be absent."""
    criterion = CRITERIA[KEYS.index(key)]
    return (*SCORES, None) if criterion.absent else SCORES


def marginals(joint_log_likelihood: torch.Tensor) -> list[torch.Tensor]:
    """Return for each criterion the probabilities (B, A) of its alternatives, summed over all captions."""
    shape = joint_log_likelihood.shape
    probabilities = joint_log_likelihood.flatten(1).softmax(1).view(shape)
    axes = range(1, len(shape))
    return [probabilities.sum([other for other in axes if other != axis]) for axis in axes]


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
