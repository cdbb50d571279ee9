import pandas as pd
import pytest

from iqagpt.criteria import KEYS
from iqagpt.readers.consensus import add_consensus
from iqagpt.readers.distribution import distribution_table, score_shares


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
