"""What a study's files mean: from study.yaml, from the command line, from a known format."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from iqagpt.errors import InputError
from iqagpt.study.description import describe_study

WORSE = {"noise": "abs(q - 7)"}


def write(root, /, **content):
    (root / "study.yaml").write_text(yaml.safe_dump(content))
    return root


def test_file_and_folder_describe_alike(tmp_path):
    write(tmp_path, scores="s.csv", window_hu=[-160, 240], columns={"set": "patient"}, higher_is_worse=WORSE)
    for source in (tmp_path, tmp_path / "study.yaml"):
        found = describe_study(source)
        assert found.scores == tmp_path / "s.csv" and found.window_hu == (-160.0, 240.0)
        assert found.columns.set == "patient" and found.columns.image == "image"
        assert [str(mapping) for mapping in found.mappings] == ["noise = abs(q - 7) (higher is worse)"]


def test_a_description_may_lie_elsewhere(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path, folder="data", higher_is_better={"noise": "q"})
    found = describe_study(tmp_path / "study.yaml")
    assert found.scores.resolve() == tmp_path / "data/scores.csv"
    assert not found.mappings[0].higher_is_worse


def test_what_is_given_takes_the_place_of_the_file(tmp_path):
    write(
        tmp_path, window_hu=[-160, 240], columns={"set": "patient"}, higher_is_worse={**WORSE, "small_structures": "q"}
    )
    given = {"window_hu": (0, 100), "columns": {"reader": "who"}, "higher_is_better": {"noise": "x"}, "scores": ""}
    found = describe_study(tmp_path, given)
    assert found.window_hu == (0.0, 100.0)
    assert (found.columns.reader, found.columns.set) == ("who", "patient")
    assert [mapping.criterion for mapping in found.mappings] == ["noise"]
    assert found.scores == tmp_path / "scores.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no mapping from its columns"),
        ({"higher_is_wors": WORSE}, "unknown key 'higher_is_wors' (did you mean 'higher_is_worse'"),
        ({"higher_is_worse": {"nois": "q"}}, "unknown criterion 'nois' (did you mean 'noise'"),
        ({"higher_is_worse": WORSE, "higher_is_better": {"noise": "q"}}, "noise is mapped twice"),
        ({"higher_is_worse": {"noise": "q.x"}}, "higher_is_worse: noise: expression 'q.x'"),
        ({"higher_is_worse": {"noise": "3"}}, "names no column"),
        ({"higher_is_worse": "noise"}, "expected criteria with expressions"),
        ({"higher_is_worse": WORSE, "window_hu": [240, -160]}, "window_hu: expected the HU of black and of white"),
        ({"higher_is_worse": WORSE, "window_hu": 400}, "window_hu"),
        ({"higher_is_worse": WORSE, "window_hu": [0, float("nan")]}, "window_hu"),
        ({"higher_is_worse": WORSE, "columns": {"images": "x"}}, "columns: unknown 'images' (did you mean 'image'"),
        ({"higher_is_worse": WORSE, "columns": {"image": 3}}, "columns: expected names"),
    ],
)
def test_wrong_descriptions_name_file_and_key(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        describe_study(write(tmp_path, **content))
    assert message in str(caught.value) and "study.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["- 1", "a: [", ""])
def test_no_mapping_in_the_file(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=r"study\.yaml"):
        describe_study(tmp_path)


def test_absent_study(tmp_path):
    with pytest.raises(InputError, match="no such study"):
        describe_study(tmp_path / "x")


def test_ldctiqac_needs_nothing_and_says_what_it_takes_for_granted(tmp_path):
    (tmp_path / "image").mkdir()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "image/0000.tif")
    (tmp_path / "train.json").write_text(json.dumps({"0000.tif": 3.2}))
    found = describe_study(tmp_path)
    assert str(found.mappings[0]) == "diagnostic_confidence = score (higher is better)"
    assert found.window_hu == (-135.0, 215.0) and found.images == tmp_path / "image"
    assert "W350 L40" in found.notes[0]
    other = describe_study(tmp_path, {"window_hu": (-210, 290), "higher_is_better": {"noise": "score"}})
    assert other.window_hu == (-210.0, 290.0) and other.mappings[0].criterion == "noise"
