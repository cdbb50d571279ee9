from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from iqagpt.artifacts import create_artifact
from iqagpt.baselines import vit_r
from iqagpt.baselines.commonest import commonest_scores
from iqagpt.baselines.noise_sd import noise_sd
from iqagpt.baselines.predictions import nearest_score, prediction_table
from iqagpt.criteria import KEYS, caption_to_scores
from iqagpt.models import open_model
from iqagpt.scored_images import open_scored_images
from tests.baselines.starts import write_start

RECIPE = dict(
    epochs=20, batch_size=8, lr=3e-3, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="best", seed=1, hidden=16,
)  # fmt: skip
PARAMS = {
    "vit_c": RECIPE,
    "vit_r": RECIPE,
    "noise_sd": dict(bands_px=(0.7, 1.4), leaves=6, min_leaf=2),
    "majority": {},
    "majority_by_variant": {},
}


@pytest.fixture(scope="module")
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


def predict(name, images, tmp_path):
    module = import_module(f"iqagpt.baselines.{name}")
    start = write_start(tmp_path / "start")
    with create_artifact(tmp_path / name, "baseline") as writer:
        scores = module.fit_predict(module.Params(**PARAMS[name]), images, start, writer)
    return prediction_table(images.held_out(), scores, name)


@pytest.mark.parametrize("name", ["vit_c", "vit_r", "noise_sd", "majority_by_variant"])
def test_baseline_scores_the_noise_of_unseen_patients(name, images, tmp_path):
    table = predict(name, images, tmp_path)
    truth = images.held_out().table
    assert table["image_id"].tolist() == truth["image_id"].tolist()
    assert (table["noise"].map(nearest_score) == truth["noise"]).mean() >= 0.75


def test_captions_say_what_the_columns_say(images, tmp_path):
    table = predict("vit_r", images, tmp_path)
    for row in table.to_dict("records"):
        assert caption_to_scores(row["caption"]) == {key: nearest_score(row[key]) for key in KEYS}


def test_regression_is_not_rounded(images, tmp_path):
    values = predict("vit_r", images, tmp_path)["noise"].astype(float)
    assert (values != values.round()).any()


def test_regression_says_no_lesion_at_least_as_rightly_as_the_commonest_answer(images, tmp_path):
    start = write_start(tmp_path / "start")
    with create_artifact(tmp_path / "m", "baseline") as writer:
        vit_r.fit_predict(vit_r.Params(**RECIPE | {"epochs": 2}), images, start, writer)
        writer.info.update(name="vit_r", window_hu=list(images.window_hu))
    train = images.subset("train")
    absent = train.table["lesion_conspicuity"].isna().to_numpy()
    scores = open_model(tmp_path / "m").scorer.score([train.pixels_hu(index) for index in range(len(train))])
    right = (scores["lesion_conspicuity"].isna().to_numpy() == absent).mean()
    assert right >= max(absent.mean(), 1 - absent.mean())


def test_majority_gives_every_image_the_commonest_scores(images, tmp_path):
    table = predict("majority", images, tmp_path)
    assert len(table[list(KEYS)].drop_duplicates()) == 1
    assert table["lesion_conspicuity"].isna().all()


def test_commonest_counts_an_absent_lesion_and_breaks_ties_towards_the_better_score():
    table = pd.DataFrame(
        {
            "noise": [1, 2, 2, 1],
            "small_structures": [3, 3, 3, 1],
            "lesion_conspicuity": [None, None, 4, 1],
            "diagnostic_confidence": [4, 4, 4, 4],
        }
    )
    assert list(commonest_scores(table).values()) == [1, 3, None, 4]


def test_noise_sd_grows_with_noise_and_ignores_edges():
    rng = np.random.default_rng(0)
    flat = np.full((128, 128), 50.0)
    flat[:, :64] = 150.0
    quiet, loud = (noise_sd(flat + rng.normal(0, sd, flat.shape), (0.7, 1.4)) for sd in (10, 30))
    assert noise_sd(flat, (0.7, 1.4)) < 0.1
    assert loud / quiet == pytest.approx(3, rel=0.1)


def test_a_missing_score_is_never_passed_on(images):
    scores = pd.DataFrame(dict.fromkeys(KEYS, [np.nan] * len(images.held_out())))
    with pytest.raises(ValueError, match="predicted no score"):
        prediction_table(images.held_out(), scores, "broken")
