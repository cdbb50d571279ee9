import pytest

from iqagpt.captioner.tokenizer import SPECIAL, CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.criteria import all_scores, caption_to_scores, scores_to_caption
from iqagpt.errors import ArtifactError, InputError


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    return build_tokenizer(CaptionParams("presets/none.txt"))


def test_every_caption_survives_encoding_word_for_word(tokenizer):
    captions = [scores_to_caption(scores) for scores in all_scores()]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(captions)] == captions


def test_captions_begin_with_cls_and_end_with_sep(tokenizer):
    ids = tokenizer.encode([scores_to_caption(next(all_scores()))])[0]
    assert (ids[0], ids[-1]) == (tokenizer.begin_id, tokenizer.end_id)
    assert tokenizer.begin_id not in ids[1:]


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = CaptionTokenizer.load(tmp_path)
    caption = scores_to_caption(next(all_scores()))
    assert loaded.encode([caption]) == tokenizer.encode([caption])


def test_wordpiece_vocabulary_keeps_the_scores(tmp_path):
    words = {c for scores in all_scores() for c in scores_to_caption(scores).lower()} - {" "}
    pieces = [*SPECIAL, *sorted(words), *(f"##{letter}" for letter in sorted(words))]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = build_tokenizer(CaptionParams(str(tmp_path / "vocab.txt")))
    for scores in all_scores():
        text = tokenizer.decode(tokenizer.encode([scores_to_caption(scores)])[0])
        assert caption_to_scores(text) == scores


@pytest.mark.parametrize("content", ["image\nnoise\n", "\n".join(SPECIAL) + "\nimage\n"])
def test_unfit_vocabulary_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "vocab.txt").write_text(content)
    with pytest.raises(InputError, match=r"vocab\.txt"):
        build_tokenizer(CaptionParams(str(tmp_path / "vocab.txt")))


def test_missing_vocabulary_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"caption\.vocabulary"):
        build_tokenizer(CaptionParams(str(tmp_path / "absent.txt")))


def test_missing_tokenizer_names_the_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        CaptionTokenizer.load(tmp_path)
