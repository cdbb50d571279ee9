"""A model beside a study's readers: numbers against SciPy, files, notes, and the real study."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from iqagpt.criteria import KEYS
from iqagpt.models import Model, open_model
from iqagpt.scorers import Scorer
from iqagpt.study import validation
from iqagpt.study.description import describe_study
from iqagpt.study.report import FILES, render, summary, write_validation
from iqagpt.study.study import load_study
from iqagpt.study.validation import GAIN, MODEL, NOISE_SD, READER, READERS, validate

READER_STUDY = Path(__file__).resolve().parents[2] / "../shared/data/reader_study"
GIVEN = {"window_hu": [-160, 240], "higher_is_better": {"noise": "quality"}}


def study_of(folder, **given):
    return load_study(describe_study(folder, {**GIVEN, **given}))


@pytest.fixture
def result(study_folder, noise_model):
    return validate(study_of(study_folder), open_model(noise_model))


def found(result, who, scope="pooled", statistic="srocc"):
    (row,) = (row for row in result.rows if row.who == who)
    return row.estimates[scope, statistic]


def model_of(score, size=None):
    return Model("made_up", None, Scorer(score, (-160.0, 240.0), size, "whole scores"))


def test_numbers_are_scipys(result):
    predicted = result.predictions["noise"].to_numpy(float)
    truth = result.predictions["readers_noise"]
    assert found(result, MODEL, statistic="plcc").value == pytest.approx(stats.pearsonr(predicted, truth).statistic)
    assert found(result, MODEL).value == pytest.approx(stats.spearmanr(predicted, truth).statistic)
    assert found(result, MODEL, statistic="krocc").value == pytest.approx(stats.kendalltau(predicted, truth).statistic)
    assert found(result, MODEL).value > 0.8  # more noise is worse on both sides: the direction is right
    parts = [stats.spearmanr(t["noise"], t["readers_noise"]).statistic for _, t in result.predictions.groupby("set")]
    assert found(result, MODEL, "within_sets").value == pytest.approx(np.mean(parts))


def test_yardsticks_stand_beside(result):
    readers = result.study.by_reader("noise")
    expected = stats.spearmanr(readers["anna"], readers["ben"]).statistic
    assert found(result, READERS).value == pytest.approx(expected)
    assert found(result, READER).value == pytest.approx(expected)  # of two, the other is the mean of the others
    noise = stats.spearmanr(result.predictions["noise_sd_hu"], result.predictions["readers_noise"]).statistic
    assert found(result, NOISE_SD).value == pytest.approx(noise)
    assert found(result, GAIN).value == pytest.approx(found(result, MODEL).value - noise)
    estimate = found(result, MODEL)
    assert estimate.low <= estimate.value <= estimate.high


def test_three_readers_are_paired_and_set_against_the_others(study_folder, noise_model):
    table = pd.read_csv(study_folder / "scores.csv")
    rng = np.random.default_rng(0)
    third = table[table["reader"] == "anna"].assign(reader="cleo", quality=rng.integers(1, 6, 15))
    pd.concat([table, third]).to_csv(study_folder / "scores.csv", index=False)
    result = validate(study_of(study_folder), open_model(noise_model))
    readers = result.study.by_reader("noise")
    pairs = [stats.pearsonr(readers[a], readers[b]).statistic for a, b in itertools.combinations(readers, 2)]
    others = [stats.pearsonr(readers[a], readers.drop(columns=a).mean(axis=1)).statistic for a in readers]
    assert found(result, READERS, statistic="plcc").value == pytest.approx(np.mean(pairs))
    assert found(result, READER, statistic="plcc").value == pytest.approx(np.mean(others))


def test_a_reader_who_tells_nothing_apart_is_named(study_folder, noise_model):
    table = pd.read_csv(study_folder / "scores.csv")
    table.loc[table["reader"] == "ben", "quality"] = 3
    table.to_csv(study_folder / "scores.csv", index=False)
    result = validate(study_of(study_folder), open_model(noise_model))
    assert found(result, READERS).value is None and found(result, MODEL).value > 0.8
    assert any("reader 'ben' does not tell images apart" in note for note in result.notes)


def test_few_sets_are_noted(result):
    assert any("only 3 set(s): intervals" in note for note in result.notes)


def test_the_model_sees_each_image_once_in_order_and_at_its_size(study_folder):
    seen = []

    def score(images_hu):
        seen.extend(images_hu)
        return pd.DataFrame({key: [2.0] * len(images_hu) for key in KEYS})

    study = study_of(study_folder)
    result = validate(study, model_of(score, size=40))
    assert len(seen) == 15 and all(image.shape == (40, 40) for image in seen)
    original = next(iter(study.read_images()))[0]
    assert np.array_equal(seen[0], original[4:44, 4:44])
    assert any("cropped or padded with air about the centre to 40 x 40, not resampled: 15" in n for n in result.notes)
    assert any("same score: its correlations are undefined" in note for note in result.notes)
    assert found(result, MODEL).value is None
    assert "undefined" in render(result) and "srocc" not in summary(result)["criteria"]["noise"][MODEL]["pooled"]


def test_predictions_are_made_before_any_score_is_looked_up(study_folder, monkeypatch):
    order = []
    study = study_of(study_folder)
    monkeypatch.setattr(type(study), "mean_reader", lambda self: order.append("readers") or _means(self))

    def score(images_hu):
        order.append("model")
        return pd.DataFrame({key: np.arange(len(images_hu), dtype=float) for key in KEYS})

    validate(study, model_of(score))
    assert order == ["model", "readers"]


def _means(study):
    return study.readings.groupby("row")[["noise"]].mean()


def test_batches_do_not_change_scores(study_folder, noise_model, monkeypatch):
    study, model = study_of(study_folder), open_model(noise_model)
    whole = validation.predict(study, model)[0]
    monkeypatch.setattr(validation, "_SCORED_TOGETHER", 4)
    pd.testing.assert_frame_equal(whole, validation.predict(study, model)[0])


def test_missing_predictions_are_left_out_and_counted(study_folder, noise_model):
    study = study_of(study_folder, higher_is_better={"lesion_conspicuity": "quality"})
    result = validate(study, open_model(noise_model))  # this model sees no lesion anywhere
    assert result.rows[0].n_images == 0 and found(result, MODEL).value is None
    assert any("gave no score (no lesion, or not readable) for 15 image(s)" in note for note in result.notes)


def test_a_narrower_window_than_the_models_is_noted(study_folder, noise_model):
    result = validate(study_of(study_folder, window_hu=[-100, 200]), open_model(noise_model))
    assert any("HU outside [-100.0, 200.0] are lost" in note for note in result.notes)


def test_fractional_scores_are_used_as_they_are(study_folder):
    def score(images_hu):
        return pd.DataFrame({key: 1 + 3 * np.linspace(0, 1, len(images_hu)) ** 2 for key in KEYS})

    result = validate(study_of(study_folder), model_of(score))
    expected = stats.pearsonr(1 + 3 * np.linspace(0, 1, 15) ** 2, result.predictions["readers_noise"]).statistic
    assert found(result, MODEL, statistic="plcc").value == pytest.approx(expected)


def test_folder_is_complete_and_equal_twice(result, tmp_path):
    for name in ("a", "b"):
        write_validation(result, tmp_path / name)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert str(tmp_path) not in (tmp_path / "a" / name).read_text()
    table = pd.read_csv(tmp_path / "a/table.csv")
    assert len(table) == 5 * 2 * 3
    numbers = json.loads((tmp_path / "a/study.json").read_text())
    srocc = table.query("who == 'model' and scope == 'pooled' and statistic == 'srocc'").iloc[0]
    assert numbers["criteria"]["noise"]["model"]["pooled"]["srocc"]["value"] == pytest.approx(srocc["value"], abs=1e-5)
    assert f"{srocc['value']:.3f} [{srocc['low']:.3f}, {srocc['high']:.3f}]" in (tmp_path / "a/table.md").read_text()
    predictions = pd.read_csv(tmp_path / "a/predictions.csv")
    assert len(predictions) == 15 and "slice" not in predictions


def test_one_reader_without_sets(study_folder, noise_model, tmp_path):
    table = pd.read_csv(study_folder / "scores.csv")
    table[table["reader"] == "anna"].drop(columns=["reader", "set"]).to_csv(study_folder / "scores.csv", index=False)
    result = validate(study_of(study_folder), open_model(noise_model))
    assert {row.who for row in result.rows} == {MODEL, NOISE_SD, GAIN}
    text = render(result)
    assert "mean within sets" not in text and "no sets" in text
    write_validation(result, tmp_path / "out")


def test_ldctiqac_from_end_to_end(tmp_path, noise_model):
    (tmp_path / "s/image").mkdir(parents=True)
    rng = np.random.default_rng(0)
    scores = {}
    for k in range(6):
        image = np.clip(0.55 + rng.normal(0, 0.01 * 2**k, (48, 48)), 0, 1).astype(np.float32)
        Image.fromarray(image).save(tmp_path / f"s/image/{k:04d}.tif")
        scores[f"{k:04d}.tif"] = 4 - 0.6 * k
    (tmp_path / "s/train.json").write_text(json.dumps(scores))
    result = validate(load_study(describe_study(tmp_path / "s")), open_model(noise_model))
    assert found(result, NOISE_SD).value == pytest.approx(1.0)
    assert any("LDCTIQAC 2023 format" in note for note in result.notes)


def test_the_real_study_has_its_known_yardsticks(noise_model):
    if not READER_STUDY.is_dir():
        pytest.skip("the real reader study is not beside the repository")
    mapping = {"higher_is_better": {"noise": "noise_reduction", "small_structures": "structure_preservation"}}
    result = validate(study_of(READER_STUDY, **mapping), open_model(noise_model))
    noise = {row.who: row.estimates["pooled", "srocc"].value for row in result.rows if row.criterion == "noise"}
    structure = {row.who: row.estimates["pooled", "srocc"].value for row in result.rows if row.criterion != "noise"}
    assert 0.96 <= noise[READERS] <= 0.98
    assert 0.86 <= structure[READERS] <= 0.93
    assert noise[NOISE_SD] == pytest.approx(0.89, abs=0.01)
    assert len(result.predictions) == 70 and result.study.images["set"].nunique() == 5
