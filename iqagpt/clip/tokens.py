"""Texts as token ids, by CLIP's own tokenizer or by one that knows whole words only."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from iqagpt.errors import ArtifactError, InputError

FILE = "tokenizer.json"
BEGIN, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"


class ClipTokens:
    """A tokenizer with CLIP's marks of begin and end.

    Parameters
    ----------
    tokenizer : Tokenizer
        Must know `BEGIN` and `END`; one of whole words has `UNKNOWN` as well.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.begin, self.end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
        if self.begin is None or self.end is None:
            raise InputError(f"{FILE}: does not know '{BEGIN}' and '{END}'; expected CLIP's tokenizer")

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self._tokenizer.get_vocab_size()

    def ids(self, texts: Sequence[str], context: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids, and where learned vectors go.

        Parameters
        ----------
        texts : sequence of str
        context : int
            Learned vectors, half of them before the text and half behind; a full stop follows them, as in CLIP-IQA+.

        Returns
        -------
        ids : Tensor, (B, L), int64
            Shorter texts are followed by further end marks, of which the first counts.
        slots : Tensor, (B, L), bool

        Raises
        ------
        InputError
            If a text has a word that the vocabulary lacks.
        """
        stop = self._words(".") if context else []
        # Not the end mark, whose first occurrence stands for the text.
        before, after = [self.begin] * (context // 2), [self.begin] * (context - context // 2)
        rows, slots = [], []
        for text in texts:
            words = self._words(text)
            rows.append([self.begin, *before, *words, *after, *stop, self.end])
            slots.append([False, *[True] * len(before), *[False] * len(words), *[True] * len(after)])
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self.end)
        where = torch.zeros((len(rows), length), dtype=torch.bool)
        for index, (row, slot) in enumerate(zip(rows, slots, strict=True)):
            ids[index, : len(row)] = torch.tensor(row)
            where[index, : len(slot)] = torch.tensor(slot)
        return ids, where

    def _words(self, text: str) -> list[int]:
        found = self._tokenizer.encode(text, add_special_tokens=False)
        unknown = self._tokenizer.token_to_id(UNKNOWN)
        if unknown is not None and unknown in found.ids:
            first, last = found.offsets[found.ids.index(unknown)]
            known = ", ".join(sorted(word for word in self._tokenizer.get_vocab() if word.isalpha()))
            raise InputError(
                f"prompt '{text}': the builtin CLIP does not know '{text[first:last]}'; it knows {known}; use these words, or "
                "weights of a published CLIP"
            )
        return found.ids

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        self._tokenizer.save(str(folder / FILE))


def word_tokens(words: Iterable[str]) -> ClipTokens:
    """Return a tokenizer of these words and the full stop; letter case does not matter."""
    vocabulary = [BEGIN, UNKNOWN, ".", ",", *sorted(set(words)), END]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return ClipTokens(tokenizer)


def load_tokens(folder: Path) -> ClipTokens:
    """Read ``tokenizer.json``.

    Raises
    ------
    ArtifactError
        If it is missing or not readable.
    """
    file = folder / FILE
    try:
        return ClipTokens(Tokenizer.from_str(file.read_text(encoding="utf-8")))
    # The tokenizers library raises bare Exception.
    except Exception as error:
        raise ArtifactError(f"{file}: no readable tokenizer ({' '.join(str(error).split())[:160]})") from error
