"""What the template's tokens are before they meet an image: calculated once for each beginning of a caption, then looked up.

The text layers, and in BERT's order the self-attention of the first fusion layer too, come before any image token. They depend on
the beginning of the caption alone, and the template has 101 of those.
"""

from collections.abc import Sequence
from threading import Lock

import torch

from iqagpt.captioner.layer_parts import KeysValues, attend, keys_values
from iqagpt.captioner.template import CaptionTree
from iqagpt.captioner.text_stack import TextStack


class PrefixStates:
    """States of the tokens of a caption tree in front of the first cross-attention; those asked for are kept.

    Kept are two vectors a token, and keys and values of all layers involved where another decision follows. With BERT-base cut in
    six and six that comes to some 50 MB once every beginning was met, with the small default to 4 MB.

    Parameters
    ----------
    text : TextStack
        In evaluation mode; with the weights that it has now.
    tree : CaptionTree
        On the same device.
    """

    def __init__(self, text: TextStack, tree: CaptionTree) -> None:
        first_fusion = next(i for i, layer in enumerate(text.layers) if layer.add_cross_attention)
        self._embeddings, self._layers = text.embeddings, text.layers[: first_fusion + 1]
        self._levels = tree.levels
        self._states = [_Rows(len(level.positions)) for level in tree.levels]
        self._writing = Lock()
        self._seen = [[_Rows(len(level.positions)) for _ in self._layers] for level in tree.levels[:-1]]

    def look_up(self, level: int, prefixes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what enters the first cross-attention for the T tokens of a decision.

        Parameters
        ----------
        level : int
            Of the decision. Those before it must have been looked up for the beginnings of these beginnings.
        prefixes : Tensor, (R,), int64
            Numbers of beginnings, see `template.Level`.

        Returns
        -------
        hidden, queries : Tensor, (R, T, width)
        """
        states = self._states[level]
        wanted = set(prefixes.tolist())
        if not wanted <= states.known:
            with self._writing:
                # One by one, so that no value depends on what else was in a batch.
                for prefix in sorted(wanted - states.known):
                    states.write(prefix, self._calculate(level, prefix))
        hidden, queries = (column[prefixes] for column in states.columns)
        return hidden, queries

    def _calculate(self, level: int, prefix: int) -> Sequence[torch.Tensor]:
        at = self._levels[level]
        hidden = self._embeddings(input_ids=at.decision.ids[None], position_ids=at.positions[prefix : prefix + 1])
        for number, layer in enumerate(self._layers):
            new = keys_values(layer.attention, hidden)
            if level < len(self._seen):
                self._seen[level][number].write(prefix, new)
            seen = self._past(level, prefix, number, new)
            queries = layer.attention.self.query(hidden)
            hidden = attend(layer.attention, hidden, queries, seen, at.visible[prefix : prefix + 1])
            if not layer.add_cross_attention:
                hidden = layer.feed_forward_chunk(hidden)
        return hidden, self._layers[-1].crossattention.self.query(hidden)

    def _past(self, level: int, prefix: int, layer: int, new: KeysValues) -> KeysValues:
        count = len(self._levels[level].positions)
        parts = []
        for earlier, of_layers in zip(self._levels[:level], self._seen, strict=False):
            ancestor = prefix // (count // len(earlier.positions))
            parts.append([column[ancestor : ancestor + 1] for column in of_layers[layer].columns])
        keys, values = (torch.cat(tensors, 2) for tensors in zip(*parts, new, strict=True))
        return keys, values


class _Rows:
    """Tensors by row, written as they become known."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.known: set[int] = set()
        self.columns: list[torch.Tensor] = []

    def write(self, row: int, values: Sequence[torch.Tensor]) -> None:
        if not self.columns:
            self.columns = [value.new_empty((self._count, *value.shape[1:])) for value in values]
        for column, value in zip(self.columns, values, strict=True):
            column[row] = value[0]
        # Last: another thread may look it up.
        self.known.add(row)
