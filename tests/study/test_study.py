"""Loading a study: readings in one direction, images found, and every way in which it may be wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqagpt.errors import InputError
from iqagpt.study.description import describe_study
from iqagpt.study.study import load_study, read_scores

WINDOW = [-160, 240]


def load(folder, expression="quality", better=True, **given):
    key = "higher_is_better" if better else "higher_is_worse"
    return load_study(describe_study(folder, {"window_hu": WINDOW, key: {"noise": expression}, **given}))


def edit(folder, change):
    table = pd.read_csv(folder / "scores.csv", dtype=object)
    change(table).to_csv(folder / "scores.csv", index=False)


def test_readings_are_turned_so_that_higher_is_worse(study_folder):
    study = load(study_folder)
    assert len(study.images) == 15 and len(study.readings) == 30 and study.readers == ["anna", "ben"]
    assert study.images["set"].nunique() == 3 and study.has_sets
    first = study.by_reader("noise").iloc[:5]
    assert first["anna"].tolist() == [-5, -4, -3, -2, -1]
    assert load(study_folder, "6 - quality", better=False).by_reader("noise").iloc[0, 0] == 1
    assert not study.notes


def test_the_mean_reader_is_the_mean_of_expressions(study_folder):
    mean = load(study_folder, "abs(quality - 3)", better=False).mean_reader()["noise"]
    assert mean.iloc[7] == pytest.approx((0 + 1) / 2)  # ben gives 2 where anna gives 3


def test_images_come_as_the_table_lists_them(study_folder):
    images = list(load(study_folder).read_images())
    assert len(images) == 15 and images[0][0].shape == (48, 48)
    spread = [image.std() for image, _ in images]
    assert all(np.diff(spread[:5]) > 0)


def test_an_empty_score_is_left_out_with_a_note(study_folder):
    def change(table):
        table.loc[[0, 3], "quality"] = ["", "N/A"]
        return table

    edit(study_folder, change)
    study = load(study_folder)
    assert study.by_reader("noise").iloc[0].isna().tolist() == [True, False]
    assert study.mean_reader()["noise"].iloc[0] == -5
    assert any("2 of 30 readings are empty" in note for note in study.notes)


def test_unscored_images_are_left_out_with_a_note(study_folder):
    edit(study_folder, lambda table: table.iloc[2:])
    study = load(study_folder)
    assert len(study.images) == 14
    assert any("1 images without scores are left out, the first: images/s0_0.png" in note for note in study.notes)


def test_without_sets_and_readers_the_rule_is_stated(study_folder):
    edit(study_folder, lambda table: table[table["reader"] == "anna"].drop(columns=["reader", "set"]))
    study = load(study_folder)
    assert not study.has_sets and study.images["set"].nunique() == 15
    assert any("every image counts as a set" in note for note in study.notes)
    assert any("one reader's" in note for note in study.notes)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(study_folder, separator):
    table = pd.read_csv(study_folder / "scores.csv")
    name = "scores.tsv" if separator == "\t" else "scores.csv"
    text = "\ufeff" + table.to_csv(index=False, sep=separator)
    (study_folder / name).write_text(text, encoding="utf-8")
    assert len(load(study_folder, scores=name).readings) == 30


def drop_images(folder):
    for file in (folder / "images").iterdir():
        file.unlink()


def rewrite(change):
    return lambda folder: edit(folder, change)


def cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return rewrite(change)


def replace(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "given", "message"),
    [
        (drop_images, {}, "a study without images"),
        (lambda folder: (folder / "images/s0_0.png").unlink(), {}, "1 of 15 images are not in"),
        (lambda folder: (folder / "scores.csv").unlink(), {}, "no such table of scores"),
        (replace("scores.csv", "image,quality\n"), {}, "holds no scores"),
        (replace("scores.csv", ""), {}, "empty"),
        (replace("scores.csv", "image,image\na,b\n"), {}, "column 'image' is there twice"),
        (replace("scores.csv", "image,quality\na\n"), {}, "row 2 has 1 cells, the header 2"),
        (lambda folder: (folder / "scores.csv").write_bytes(b"\xff\xfe\x00"), {}, "cannot be read as a table"),
        (rewrite(lambda t: t.rename(columns={"image": "img"})), {}, "no column 'image' that names the image"),
        (rewrite(lambda t: t.drop(columns="reader")), {}, "is scored a second time"),
        (rewrite(lambda t: pd.concat([t, t.iloc[:1]])), {}, "row 32: 'images/s0_0.png' is scored a second time by reader 'anna'"),
        (cell(4, "quality", "good"), {}, "row 6, column quality: expected a number, got 'good'"),
        (cell(4, "quality", "inf"), {}, "row 6, column quality: expected a finite number"),
        (cell(1, "set", "9"), {}, "is in set '9', and in '0' further up"),
        (cell(0, "set", ""), {}, "has no set"),
        (cell(0, "image", "../../x.png"), {}, "expected a file below"),
        (cell(0, "image", "/etc/x.png"), {}, "expected a file below"),
        (None, {"expression": "qualty"}, "no column 'qualty' in the scores (did you mean 'quality'"),
        (None, {"expression": "fixed"}, "is 3 in every row; a constant column"),
        (None, {"expression": "0 * quality"}, "a constant column"),
        (None, {"expression": "1 / (quality - 5)"}, "is no finite number there"),
        (None, {"columns": {"set": "patient"}}, "no column 'patient' for the set"),
        (None, {"scores": "x.xlsx"}, "no such table"),
        (None, {"images": "nowhere"}, "no such folder of images"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(study_folder, damage, given, message):
    if damage:
        damage(study_folder)
    with pytest.raises(InputError) as caught:
        load(study_folder, **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spreadsheet_is_refused(study_folder):
    (study_folder / "a.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match="save a spreadsheet as CSV"):
        read_scores(study_folder / "a.xlsx")


@pytest.mark.parametrize(("window", "depth"), [(None, np.uint8), (None, np.uint16)])
def test_a_picture_without_a_window_is_refused(study_folder, window, depth):
    Image.fromarray(np.zeros((48, 48), depth)).save(study_folder / "images/s0_0.png")
    with pytest.raises(InputError, match="without a window"):
        list(load(study_folder, window_hu=window).read_images())


def test_a_colour_picture_is_refused(study_folder):
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(study_folder / "images/s0_0.png")
    with pytest.raises(InputError, match="colour picture"):
        list(load(study_folder).read_images())


def volume(folder, columns):
    (folder / "v").mkdir(parents=True)
    np.save(folder / "v/scan.npy", np.stack([np.full((8, 8), 10 * k, np.int16) for k in range(4)]))
    pd.DataFrame(columns).to_csv(folder / "scores.csv", index=False)
    return load(folder)


def test_slices_of_a_volume_are_taken_by_index(tmp_path):
    study = volume(tmp_path, {"image": ["v/scan"] * 3, "slice": [3, 0, 2], "quality": [1, 2, 3]})
    assert [int(image[0, 0]) for image, _ in study.read_images()] == [30, 0, 20]


@pytest.mark.parametrize(
    ("last", "message"), [("4", "slice 4 was scored, and there are 4"), ("-1", "expected a whole number from 0")]
)
def test_slices_that_are_not_there(tmp_path, last, message):
    with pytest.raises(InputError, match=message):
        study = volume(tmp_path, {"image": ["v/scan"] * 3, "slice": ["0", "1", last], "quality": [1, 2, 3]})
        list(study.read_images())


def test_a_volume_without_a_slice_is_refused(study_folder):
    (study_folder / "images/s0_0.png").unlink()
    np.save(study_folder / "images/s0_0.npy", np.full((4, 8, 8), 10))
    edit(study_folder, lambda table: table.assign(image=table["image"].str.removesuffix(".png")))
    with pytest.raises(InputError, match="4 slices, and the scores do not say which; add a column 'slice'"):
        list(load(study_folder).read_images())


def test_ldctiqac_loads_as_it_comes(tmp_path):
    (tmp_path / "image").mkdir()
    rng = np.random.default_rng(0)
    scores = {}
    for k in range(4):
        Image.fromarray(rng.random((16, 16), np.float32)).save(tmp_path / f"image/{k:04d}.tif")
        scores[f"{k:04d}.tif"] = [0.2, 1.4, 3.0, 4.0][k]
    (tmp_path / "train.json").write_text(json.dumps(scores))
    study = load_study(describe_study(tmp_path))
    assert study.mean_reader()["diagnostic_confidence"].tolist() == [-0.2, -1.4, -3.0, -4.0]
    images = [image for image, _ in study.read_images()]
    assert len(images) == 4 and min(i.min() for i in images) >= -135 and max(i.max() for i in images) <= 215
