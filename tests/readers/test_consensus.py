import pandas as pd
import pytest

from iqagpt.criteria import KEYS
from iqagpt.errors import InputError
from iqagpt.readers.consensus import add_consensus, consensus_scores, own_readings


def readings(**scores):
    """Make the readings of images A and B by the readers named, as (noise, lesion) of each image; None: not read."""
    rows = []
    for position, image in enumerate("AB"):
        for reader, given in scores.items():
            if given[position] is not None:
                noise, lesion = given[position]
                values = dict(zip(KEYS, (noise, noise, lesion, noise), strict=True))
                rows.append({"image_id": image, "reader": reader, "score_source": "reader", **values})
    return pd.DataFrame(rows).astype(dict.fromkeys(KEYS, "Int64"))


def learned(table, consensus="median"):
    rows = consensus_scores(add_consensus(table, consensus)).set_index("image_id")
    return [tuple(None if pd.isna(v) else int(v) for v in rows.loc[i, ["noise", "lesion_conspicuity"]]) for i in "AB"]


def test_one_reader_is_the_consensus_and_gains_no_rows():
    found = add_consensus(readings(r1=[(1, 2), (3, None)]), "median")
    assert found["consensus"].tolist() == [1, 1]
    assert found["reader"].tolist() == ["r1", "r1"]


def test_median_of_three():
    table = readings(r1=[(1, 2), (3, 1)], r2=[(2, 4), (4, 1)], r3=[(4, 3), (1, 4)])
    assert learned(table) == [(2, 3), (3, 1)]
    found = add_consensus(table, "median")
    assert found["reader"].tolist() == ["r1", "r2", "r3", "median"] * 2
    assert found["consensus"].tolist() == [0, 0, 0, 1] * 2
    pd.testing.assert_frame_equal(own_readings(found)[table.columns].reset_index(drop=True), table)


def test_median_of_an_even_number_goes_to_the_worse():
    table = readings(r1=[(1, 2), (1, 1)], r2=[(2, 4), (4, 4)])
    assert learned(table) == [(2, 4), (4, 4)]
    four = readings(r1=[(1, 2), (1, 1)], r2=[(2, 2), (1, 1)], r3=[(3, 2), (3, 4)], r4=[(4, 2), (4, 4)])
    assert learned(four) == [(3, 2), (3, 4)]


def test_no_lesion_needs_more_than_half_of_the_readers():
    table = readings(r1=[(1, None), (1, None)], r2=[(1, None), (1, None)], r3=[(1, 3), (1, None)])
    assert learned(table) == [(1, None), (1, None)]
    assert learned(readings(r1=[(1, None), (1, 2)], r2=[(1, 3), (1, 2)])) == [(1, 3), (1, 2)]


def test_readers_who_did_not_read_an_image_have_no_say():
    assert learned(readings(r1=[(1, 2), None], r2=[(1, 2), (4, None)])) == [(1, 2), (4, None)]


def test_one_reader_by_name():
    table = readings(r1=[(1, 2), (3, 1)], r2=[(2, 4), (4, None)])
    assert learned(table, "r2") == [(2, 4), (4, None)]
    assert add_consensus(table, "r2")["consensus"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(("name", "message"), [
    ("r9", r"read\.consensus: no reader 'r9'; expected median, or one of r1, r2"),
    ("r1", r"reader 'r1' has not scored every image, not B for one"),
])  # fmt: skip
def test_a_reader_who_will_not_do(name, message):
    with pytest.raises(InputError, match=message):
        add_consensus(readings(r1=[(1, 2), None], r2=[(1, 2), (4, 1)]), name)
