"""Tokenizers of the template: one token a word, and word pieces."""

import pytest

from iqagpt.captioner.tokenizer import CaptionParams, CaptionTokenizer, build_tokenizer


@pytest.fixture(scope="module", params=["words", "wordpiece"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CaptionTokenizer:
    if request.param == "words":
        return build_tokenizer(CaptionParams("presets/none.txt"))
    # Word pieces: phrases then share beginnings inside words.
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"##{c}" for c in letters), "##able", "un", "poor", "##ly", ":", ";", ",", "-"]
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]) + "\n", encoding="utf-8")
    return build_tokenizer(CaptionParams(str(file)))
