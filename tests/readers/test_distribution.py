import pandas as pd
import pytest

from iqagpt.criteria import KEYS
from iqagpt.readers.consensus import add_consensus
from iqagpt.readers.figure import distribution_table, draw_distribution, score_shares


@pytest.fixture
def scores():
    rows = [
        {
            "image_id": f"A_{k}_{variant}",
            "variant": variant,
            "reader": reader,
            "score_source": "simulated",
            **dict.fromkeys(KEYS, 1 + (k + shift) % 4),
            "lesion_conspicuity": None if k else 2,
        }
        for variant, shift in (("ndct", 0), ("ldct", 1))
        for k in range(4)
        for reader in ("r1", "r2", "r3")
    ]
    return add_consensus(pd.DataFrame(rows).astype(dict.fromkeys(KEYS, "Int64")), "median")


def test_the_table_counts_each_image_once_and_says_whose_scores(scores):
    table = distribution_table(scores)
    assert list(table.columns) == ["variant", *KEYS]
    assert len(table) == 8
    assert table["noise"].tolist()[:2] == ["1 (simulated)", "2 (simulated)"]
    assert table["lesion_conspicuity"].tolist()[:2] == ["2 (simulated)", "no lesion (simulated)"]


def test_shares_keep_the_order_of_variants_and_add_up(scores):
    shares = score_shares(scores[scores["reader"] == "r1"], "lesion_conspicuity")
    assert shares.index.tolist() == ["ndct", "ldct"]
    assert shares.loc["ndct"].to_dict() == {"1": 0, "2": 0.25, "3": 0, "4": 0, "no lesion": 0.75}
    assert score_shares(scores, "noise").sum(axis=1).tolist() == [1, 1]


def test_the_figure_is_the_same_again_and_names_source_and_readers(scores, tmp_path):
    draw_distribution(scores, tmp_path / "a.svg")
    draw_distribution(scores, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for word in ("simulated readers", "r3", "median, learned", "ndct", "no lesion", "Diagnostic confidence"):
        assert word in text, word


def test_a_reader_who_skipped_a_variant(scores, tmp_path):
    some = scores[~((scores["reader"] == "r1") & (scores["variant"] == "ndct"))]
    draw_distribution(some.assign(score_source="reader"), tmp_path / "a.svg")
    assert "simulated" not in (tmp_path / "a.svg").read_text()
