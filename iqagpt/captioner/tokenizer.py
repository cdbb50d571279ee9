"""The caption tokenizer: text to token ids and back.

Default: every word of the template is one token, which keeps 320 captions within a vocabulary of some 60 entries.
With ``caption.vocabulary`` a WordPiece vocabulary (BERT's ``vocab.txt``) is used instead, as for published weights. Both
put ``[CLS]`` first and ``[SEP]`` last, which serve as beginning and end of a caption, as in Medical X-VL.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from iqagpt.config import given_file
from iqagpt.criteria import all_scores, scores_to_caption
from iqagpt.errors import ArtifactError, InputError

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNK, CLS, SEP, MASK)
_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class CaptionParams:
    """Section ``caption``.

    Attributes
    ----------
    vocabulary : str
        Path of a WordPiece ``vocab.txt``, one token a line; ``presets/none.txt`` for the template's own words.
    """

    vocabulary: str


class CaptionTokenizer:
    """Encode captions to token ids and decode ids to captions.

    Attributes
    ----------
    size : int
        Number of entries in the vocabulary.
    pad_id, begin_id, end_id : int
        Ids of ``[PAD]``, ``[CLS]`` and ``[SEP]``.
    mask_id : int
        Id of ``[MASK]``.
    special_ids : list of int
        Of all tokens that are no words.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size()
        self.pad_id, self.begin_id, self.end_id = (tokenizer.token_to_id(t) for t in (PAD, CLS, SEP))
        self.special_ids = [tokenizer.token_to_id(token) for token in SPECIAL]
        self.mask_id = tokenizer.token_to_id(MASK)

    def encode(self, captions: list[str]) -> list[list[int]]:
        """Return token ids for each caption, ``[CLS]`` first and ``[SEP]`` last."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(captions))]

    def spans(self, caption: str) -> list[tuple[int, int]]:
        """Return where each token of `encode` begins and ends in a caption, in letters; equal for ``[CLS]`` and ``[SEP]``."""
        return [(begin, end) for begin, end in self._tokenizer.encode(caption).offsets]

    def decode(self, ids: list[int]) -> str:
        """Return the text of token ids, special tokens left out and punctuation set as in the template."""
        tokens = (self._tokenizer.id_to_token(i) or UNK for i in ids)
        text = " ".join(t for t in tokens if t not in (PAD, CLS, SEP)).replace(" ##", "")
        return re.sub(r"\s*-\s*", "-", re.sub(r"\s+([:;,])", r"\1", text))

    def tokens(self) -> list[str]:
        """Return all tokens in the order of their ids."""
        vocabulary = self._tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` into a folder."""
        (folder / _FILE).write_text(self._tokenizer.to_str(pretty=True) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> "CaptionTokenizer":
        """Read ``tokenizer.json`` from a folder.

        Raises
        ------
        ArtifactError
            If the file is missing or unreadable.
        """
        file = folder / _FILE
        try:
            return cls(Tokenizer.from_str(file.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises bare Exception for malformed files
            raise ArtifactError(f"{file}: cannot be read as a tokenizer ({error}); run dvc repro caption") from error


def build_tokenizer(params: CaptionParams) -> CaptionTokenizer:
    """Build the tokenizer that `params` asks for.

    Raises
    ------
    InputError
        If the vocabulary file is missing, lacks special tokens, or cannot spell a caption of the template.
    """
    file = given_file(params.vocabulary)
    tokenizer = _template_tokenizer() if file is None else _wordpiece_tokenizer(file)
    begin, end = (tokenizer.token_to_id(t) for t in (CLS, SEP))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", special_tokens=[(CLS, begin), (SEP, end)]
    )
    return CaptionTokenizer(tokenizer)


def _template_tokenizer() -> Tokenizer:
    split = pre_tokenizers.Split(Regex(r"[:;,]|[^\s:;,]+"), behavior="isolated", invert=False)
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), split])
    words: dict[str, None] = {}
    for scores in all_scores():
        for word, _ in pre_tokenizer.pre_tokenize_str(scores_to_caption(scores)):
            words[word] = None
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def read_vocabulary(file: Path) -> list[str]:
    """Read a WordPiece vocabulary, one token a line.

    Raises
    ------
    InputError
        If the file is missing or not text.
    """
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a vocabulary ({error}); expected one token a line") from error


def wordpiece_tokenizer(tokens: list[str], where: str) -> Tokenizer:
    """Build BERT's lower-casing WordPiece tokenizer, without ``[CLS]`` and ``[SEP]`` around the text.

    Raises
    ------
    InputError
        If special tokens are missing.
    """
    missing = [token for token in SPECIAL if token not in tokens]
    if missing:
        raise InputError(f"{where}: not a WordPiece vocabulary: no {', '.join(missing)}; expected one token a line")
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token=UNK))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _wordpiece_tokenizer(file: Path) -> Tokenizer:
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; caption.vocabulary must name a WordPiece vocab.txt or presets/none.txt"
        )
    tokenizer = wordpiece_tokenizer(read_vocabulary(file), str(file))
    for scores in all_scores():
        encoding = tokenizer.encode(scores_to_caption(scores))
        if UNK in encoding.tokens:
            raise InputError(
                f"{file}: cannot spell the caption template (unknown: {encoding.tokens}); use BERT's vocab.txt"
            )
    return tokenizer
