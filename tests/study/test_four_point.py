"""Readings in a study's own scale as scores 1 to 4."""

from pathlib import Path

import pandas as pd
import pytest

from iqagpt.errors import InputError
from iqagpt.study.description import describe_study
from iqagpt.study.four_point import four_point_scores
from iqagpt.study.study import Study, load_study
from tests.study.study_files import write_training_study

ALL = {"noise": "grain", "small_structures": "grain", "diagnostic_confidence": "grain"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_training_study(tmp_path / "study")


def load(folder: Path, **given: object) -> Study:
    return load_study(describe_study(folder, given))


def score(study: Study, consensus: str = "median") -> pd.DataFrame:
    images = study.images.assign(image_id=study.images["image"], slice_id=study.images["set"])
    return four_point_scores(study, images.assign(patient_id=images["set"]), consensus)


def learned(table: pd.DataFrame, key: str) -> list[int]:
    return table.loc[table["consensus"] == 1, key].tolist()


def test_readers_stay_beside_their_median_and_a_half_is_worse(folder):
    table = score(load(folder))
    assert table["reader"].tolist()[:3] == ["anna", "ben", "median"]
    assert learned(table, "noise") == [1, 2, 3, 4, 1, 3, 3, 4, 1, 2, 3, 4]  # c1_1: 2 and 3 make 3
    assert learned(table, "small_structures") == learned(table, "noise")
    assert learned(table, "diagnostic_confidence") == learned(table, "noise")
    assert table["lesion_conspicuity"].isna().all()
    assert set(table["score_source"]) == {"reader"}


def test_one_reader_can_be_learned(folder):
    assert learned(score(load(folder), "anna"), "noise") == [1, 2, 3, 4] * 3


def test_halves_are_rounded_to_the_worse_score(folder):
    table = score(load(folder, higher_is_worse=ALL | {"noise": "min(4, grain + 0.5)"}))
    assert learned(table, "noise")[:4] == [2, 3, 4, 4]
    table = score(load(folder, higher_is_better={key: "max(1, 4.5 - grain)" for key in ALL}))
    assert learned(table, "noise")[:4] == [2, 3, 4, 4]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"higher_is_worse": ALL | {"noise": "grain - 1"}}, "0"),
        ({"higher_is_better": {k: "grain + 1" for k in ALL}}, "5"),
    ],
)
def test_values_off_the_scale_are_refused_with_the_expression(folder, given, value):
    with pytest.raises(InputError, match=rf"noise = grain .* is {value} for 'images/.*'.*training needs values 1 to 4"):
        score(load(folder, **given))


def test_a_criterion_of_every_caption_must_be_mapped(folder):
    with pytest.raises(InputError, match=r"diagnostic_confidence: no mapping in study\.yaml"):
        score(load(folder, higher_is_worse={"noise": "grain", "small_structures": "grain"}))


def test_an_image_without_any_score_is_refused_and_a_missing_reader_is_not(folder):
    table = pd.read_csv(folder / "scores.csv", dtype=str)
    table.loc[0, "grain"] = ""
    table.to_csv(folder / "scores.csv", index=False)
    assert learned(score(load(folder)), "noise")[0] == 1
    table.loc[1, "grain"] = ""
    table.to_csv(folder / "scores.csv", index=False)
    with pytest.raises(InputError, match=r"'images/c0_0.png' has no score of noise"):
        score(load(folder))


def test_sets_can_be_chosen(folder):
    study = load(folder).only(["case 2", "case 0"])
    assert learned(score(study), "noise") == [1, 2, 3, 4] * 2
    assert study.images["set"].tolist() == ["case 0"] * 4 + ["case 2"] * 4
    with pytest.raises(InputError, match="no set '9'; there are: case 0, case 1, case 2"):
        study_of = load(folder)
        study_of.only(["9"])
