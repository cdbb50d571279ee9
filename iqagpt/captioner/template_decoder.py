"""Decoding that cannot leave the template: every phrase's full likelihood, criterion by criterion or over all 320 captions.

An image's keys and values are made once. The tokens of a decision go through the fusion layers together, from the first
cross-attention on; what comes before it is looked up (`prefix_states`). In the last layer only tokens whose successors count are
queries.
"""

import torch

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.layer_parts import KeysValues, attend, keys_values
from iqagpt.captioner.prefix_states import PrefixStates
from iqagpt.captioner.template import CaptionTree, alternatives
from iqagpt.captioner.text_stack import TextStack
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.criteria import KEYS


class TemplateDecoder:
    """A captioner bound to the template of its tokenizer.

    Changed weights are noticed, and what was kept of the old ones is dropped; only weights changed in place inside
    ``torch.inference_mode`` that were created there are not.

    Parameters
    ----------
    model : Captioner
        In evaluation mode whenever it decodes.
    tokenizer : CaptionTokenizer
        The model's own.
    """

    def __init__(self, model: Captioner, tokenizer: CaptionTokenizer) -> None:
        self._text, self._tokenizer = model.text, tokenizer
        self._version: object = None

    @torch.inference_mode()
    def conditional(self, image_tokens: torch.Tensor) -> list[torch.Tensor]:
        """Decide criterion by criterion, each time for the most likely phrase given those already chosen.

        Parameters
        ----------
        image_tokens : Tensor, (B, N, image_width)
            From ``model.encode_image``.

        Returns
        -------
        list of Tensor, (B, A), float32
            For each criterion the log-likelihood of each of its `alternatives`; the chosen one is the largest.

        Raises
        ------
        RuntimeError
            If the model is in training mode.
        """
        reading = self._begin(image_tokens)
        prefixes = torch.zeros((len(image_tokens), 1), dtype=torch.long, device=image_tokens.device)
        found = []
        for level in reading.levels:
            decision = level.decision
            log_p = reading.read(prefixes, decision.fixed - 1)
            found.append(decision.phrases(log_p))
            prefixes = prefixes * len(decision.paths) + found[-1].argmax(1, keepdim=True)
        return found

    @torch.inference_mode()
    def joint(self, image_tokens: torch.Tensor) -> torch.Tensor:
        """Score every caption of the template.

        Parameters
        ----------
        image_tokens : Tensor, (B, N, image_width)
            From ``model.encode_image``. Up to 80 B rows are read at once.

        Returns
        -------
        Tensor, (B, 4, 4, 5, 4), float32
            Log-likelihood of the whole caption; one axis per criterion, in the order of `alternatives`.

        Raises
        ------
        RuntimeError
            If the model is in training mode.
        """
        reading, images = self._begin(image_tokens), len(image_tokens)
        total = torch.zeros(images, device=image_tokens.device)
        for level in reading.levels:
            prefixes = torch.arange(len(level.positions), device=image_tokens.device).expand(images, -1)
            log_p = reading.read(prefixes, 0)
            total = ((total + level.decision.title(log_p))[:, None] + level.decision.phrases(log_p)).flatten()
        return total.view(images, *(len(alternatives(key)) for key in KEYS))

    def _begin(self, image_tokens: torch.Tensor) -> "_Reading":
        if self._text.training:
            raise RuntimeError("template decoding of a model in training mode; call model.eval() first")
        device = image_tokens.device
        version = (
            device,
            torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type),
            # Tensors made in inference mode count no versions.
            *((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self._text.parameters()),
        )
        if version != self._version:
            tree = CaptionTree(self._tokenizer, device)
            self._kept = tree, PrefixStates(self._text, tree)
            self._version = version
        return _Reading(self._text, *self._kept, image_tokens)


class _Reading:
    """A batch of images on its way through the template: what later tokens look at, by fusion layer."""

    def __init__(self, text: TextStack, tree: CaptionTree, prefixes: PrefixStates, image_tokens: torch.Tensor) -> None:
        self.levels = tree.levels
        self._text, self._prefixes = text, prefixes
        self._layers = [layer for layer in text.layers if layer.add_cross_attention]
        self._images = [keys_values(layer.crossattention, image_tokens) for layer in self._layers]
        self._past: list[KeysValues | None] = [None] * len(self._layers)
        self._level = 0

    def read(self, prefixes: torch.Tensor, begin: int) -> torch.Tensor:
        """Read the next decision after G beginnings an image.

        Parameters
        ----------
        prefixes : Tensor, (B, G), int64
            Numbers of beginnings, see `template.Level`; grouped as those read before, which they continue.
        begin : int
            First token whose successor matters.

        Returns
        -------
        Tensor, (B G, T - begin, vocabulary), float32
            Log-likelihoods of the next token.
        """
        images, last = len(prefixes), self._layers[-1]
        rows = prefixes.flatten()
        visible = self.levels[self._level].visible[rows] if len(self._layers) > 1 else None
        hidden, queries = self._prefixes.look_up(self._level, rows)
        for number, layer in enumerate(self._layers):
            # The last layer's other tokens serve as keys and values alone.
            skipped = begin if layer is last else 0
            if number:
                seen = self._extend(number, keys_values(layer.attention, hidden))
                hidden = hidden[:, skipped:]
                hidden = attend(layer.attention, hidden, layer.attention.self.query(hidden), seen, visible[:, skipped:])
                queries = layer.crossattention.self.query(hidden)
            else:
                hidden, queries = hidden[:, skipped:], queries[:, skipped:]
            # To the image all beginnings are one row of tokens.
            length = hidden.shape[1]
            hidden, queries = (t.reshape(images, -1, t.shape[2]) for t in (hidden, queries))
            hidden = attend(layer.crossattention, hidden, queries, self._images[number])
            hidden = layer.feed_forward_chunk(hidden).view(len(rows), length, -1)
        self._level += 1
        return self._text.head(hidden).float().log_softmax(-1)

    def _extend(self, layer: int, new: KeysValues) -> KeysValues:
        past = self._past[layer]
        if past is not None:
            each = len(new[0]) // len(past[0])
            past = past if each == 1 else tuple(t.repeat_interleave(each, 0) for t in past)
            new = torch.cat([past[0], new[0]], 2), torch.cat([past[1], new[1]], 2)
        self._past[layer] = new
        return new
