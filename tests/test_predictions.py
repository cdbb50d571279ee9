"""The table of predictions: what is read, what is refused, and scores as classes."""

from pathlib import Path

import pandas as pd
import pytest

from iqagpt.artifacts import write_table
from iqagpt.criteria import KEYS
from iqagpt.errors import ArtifactError
from iqagpt.predictions import (
    COLUMNS,
    entropies,
    expected_scores,
    is_unparsed,
    labels,
    probability_columns,
    read_predictions,
    row_scores,
)


def table(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {
        "image_id": ["a", "b", "c"],
        "split": ["test", "test", "val"],
        "method": "vit_r",
        "caption": ["one", "", "three"],
        "noise": [1.4, 2.6, 3.0],
        "small_structures": [0.2, 4.9, 1.0],
        "lesion_conspicuity": [None, 2.5, 1.0],
        "diagnostic_confidence": [3, 3, 3],
        "unparsed": "",
    }
    return pd.DataFrame(columns | changes)[list(COLUMNS)]


def read(tmp_path: Path, content: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    write_table(tmp_path / "m.csv", content)
    return read_predictions(tmp_path / "m.csv", split)


def test_only_the_split_is_read_and_empty_text_is_text(tmp_path: Path) -> None:
    found = read(tmp_path, table())
    assert found["image_id"].tolist() == ["a", "b"]
    assert found["caption"].tolist() == ["one", ""]
    assert found["unparsed"].tolist() == ["", ""]
    assert found["noise"].tolist() == [1.4, 2.6]
    assert pd.isna(found["lesion_conspicuity"][0])


def test_fractional_scores_become_the_nearest_class_within_the_scale(tmp_path: Path) -> None:
    found = labels(read(tmp_path, table()))
    assert found["noise"].tolist() == ["1", "3"]
    assert found["small_structures"].tolist() == ["1", "4"]
    assert found["lesion_conspicuity"].tolist() == ["none", "2"]


def test_unparsed_is_a_class_apart_from_no_lesion(tmp_path: Path) -> None:
    content = table(
        noise=[None, 1, 1], lesion_conspicuity=[None, None, 1], unparsed=["noise;lesion_conspicuity", "", ""]
    )
    found = read(tmp_path, content)
    assert labels(found)["lesion_conspicuity"].tolist() == ["unparsed", "none"]
    assert is_unparsed(found, "noise").tolist() == [True, False]
    assert not is_unparsed(found, "small_structures").any()


def test_row_scores_tell_no_lesion_from_unparsed(tmp_path: Path) -> None:
    content = table(noise=[None, 1, 1], unparsed=["noise", "", ""])
    rows = labels(read(tmp_path, content))
    assert row_scores(rows.iloc[0]) == {"small_structures": 1, "lesion_conspicuity": None, "diagnostic_confidence": 3}
    assert set(row_scores(rows.iloc[1])) == set(KEYS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": ["good", "1", "1"]}, "noise of 'a': expected a number from 1"),
        ({"noise": ["inf", "1", "1"]}, "noise of 'a': expected a number from 1"),
        ({"noise": [1, None, 1]}, "noise of 'b' is empty"),
        ({"image_id": ["a", "a", "c"]}, "'a' is given twice"),
    ],
)
def test_bad_table_is_refused_with_the_image(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read(tmp_path, table(**changes))


def test_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no column caption, unparsed"):
        read(tmp_path, table().drop(columns=["caption", "unparsed"]))


def test_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such table"):
        read_predictions(tmp_path / "absent.csv", "test")


def with_probabilities(**changes: object) -> pd.DataFrame:
    given = {column: 0.0 for key in KEYS for column in probability_columns(key)}
    for key in KEYS:
        given |= {f"{key}_p1": 0.25, f"{key}_p4": 0.75}
    lesion = {"lesion_conspicuity_p1": 0.1, "lesion_conspicuity_p4": 0.1, "lesion_conspicuity_none": 0.8}
    return table().assign(**given | lesion | changes)


def test_expected_scores_average_by_probability_and_leave_no_lesion_apart(tmp_path: Path) -> None:
    expected = expected_scores(read(tmp_path, with_probabilities()))
    assert expected is not None
    assert expected["noise"].tolist() == [3.25, 3.25]
    assert expected["lesion_conspicuity"].tolist() == [2.5, 2.5]


def test_entropy_is_zero_where_a_score_is_certain() -> None:
    certain = {"noise_p1": 1.0, "noise_p4": 0.0}
    found = entropies(with_probabilities(**certain, small_structures_p1=0.5, small_structures_p4=0.5))
    assert found is not None
    assert found["noise"].tolist() == [0, 0, 0]
    assert found["small_structures"].tolist() == [1, 1, 1]


def test_a_method_without_probabilities_has_no_expected_scores(tmp_path: Path) -> None:
    assert expected_scores(read(tmp_path, table())) is None
    assert entropies(table()) is None


def test_a_probability_above_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"noise_p2: expected probabilities from 0 to 1"):
        read(tmp_path, with_probabilities(noise_p2=1.5))


def test_probabilities_that_miss_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="probabilities of noise do not sum to 1"):
        read(tmp_path, with_probabilities(noise_p2=0.5))


def test_the_frozen_models_of_a_method_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, table().assign(weights="builtin"))["weights"].tolist() == ["builtin", "builtin"]
    assert "weights" not in read(tmp_path, table())
