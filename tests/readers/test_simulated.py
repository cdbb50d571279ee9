import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.config import load_section
from iqagpt.criteria import ALWAYS_SCORED, KEYS
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.readers.agreement import ceiling, describe_scores
from iqagpt.readers.measures import Measures
from iqagpt.readers.simulated import ReadParams, measure_images, score_images, usual_noise_hu

ROOT = Path(__file__).resolve().parents[2]
LIKE_NDCT = Measures(10.0, 0.0, 0.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def params():
    return load_section(ROOT / "params.yaml", "read", ReadParams)


@pytest.fixture(scope="module")
def variants(tmp_path_factory, ct_slice):
    images = {
        "ndct": ct_slice.ndct,
        "ldct": ct_slice.ldct,
        "blurred": np.rint(ndimage.gaussian_filter(ct_slice.ldct.astype(float), 1.2)).astype(np.int16),
    }
    path = tmp_path_factory.mktemp("variants") / "variants"
    with create_artifact(path, "variants") as writer:
        rows = []
        for variant, image in images.items():
            pixels = writer.array(variant, (2, *image.shape), np.int16)
            pixels[0], pixels[1] = image, image[:, ::-1]
            for row in range(2):
                name = f"A_{row:03d}"
                ids = {"image_id": f"{name}_{variant}", "slice_id": name, "patient_id": "A", "variant": variant}
                lesion = {"has_lesion": int(row == 0), "lesion_contrast_hu": -45.0 if row == 0 else None}
                rows.append({**ids, "row": row, "pixel_spacing_mm": 1.2, **lesion})
        masks = writer.array("lesion_mask", (2, *ct_slice.mask.shape), np.uint8)
        masks[0] = ct_slice.mask
        writer.manifest(pd.DataFrame(rows))
        writer.info.update(window_hu=[-160.0, 240.0], variants=list(images))
    return open_artifact(path, "variants")


def test_the_ndct_is_best(params):
    found = params.severities(LIKE_NDCT, 10.0)
    assert found["lesion_conspicuity"] is None
    assert all(found[key] < 1.5 for key in ALWAYS_SCORED)


@pytest.mark.parametrize(("change", "key"), [
    ({"noise_ratio": 0.5}, "noise"), ({"texture_ratio": -1.5}, "noise"), ({"noise_ratio": 0.5}, "small_structures"),
    ({"likeness": 0.7}, "small_structures"),
    ({"vessel_contrast": 0.3}, "small_structures"), ({"vessel_sharpness": 0.3}, "small_structures"),
])  # fmt: skip
def test_each_measure_counts_for_its_criterion(params, change, key):
    worse = params.severities(dataclasses.replace(LIKE_NDCT, **change), 10.0)
    assert worse[key] > params.severities(LIKE_NDCT, 10.0)[key] + 0.3


def test_an_unusually_noisy_ndct_is_a_little_worse(params):
    noisy = dataclasses.replace(LIKE_NDCT, noise_hu=14.0)
    assert params.severities(noisy, 10.0)["noise"] > params.severities(LIKE_NDCT, 10.0)["noise"] + 0.3
    own = dataclasses.replace(params, usual_weight=0.0)
    assert own.severities(noisy, 10.0) == own.severities(LIKE_NDCT, 10.0)


def test_usual_noise_is_that_of_like_series():
    table = pd.DataFrame({
        "variant": ["ndct", "ndct", "ndct", "ldct", "ndct", "ldct"],
        "thickness_mm": [3.0, 3.0, 3.0, 3.0, 1.0, 1.0],
        "kernel": "B30f",
    })  # fmt: skip
    found = usual_noise_hu(table, pd.Series([4.0, 5.0, 6.0, 99.0, 20.0, 50.0]))
    assert found.tolist() == [5, 5, 5, 5, 20, 20]
    assert usual_noise_hu(table[["variant"]], pd.Series([4.0, 5.0, 6.0, 99.0, 20.0, 50.0])).tolist() == [5.5] * 6


def test_a_lesion_is_worse_if_faint_blurred_or_small(params):
    clear = dataclasses.replace(LIKE_NDCT, lesion_cnr=4.0, lesion_margin=1.0, lesion_diameter_mm=15.0)
    worst = [{"lesion_cnr": 1.0}, {"lesion_margin": 0.2}, {"lesion_diameter_mm": 5.0}]
    for change in worst:
        faint = dataclasses.replace(clear, **change)
        assert params.lesion_conspicuity.severity(faint) > params.lesion_conspicuity.severity(clear)


def test_confidence_lies_between_mean_and_worst(params):
    seen = dataclasses.replace(LIKE_NDCT, noise_ratio=0.3, lesion_cnr=1.0, lesion_margin=0.2, lesion_diameter_mm=8.0)
    found = params.severities(seen, 10.0)
    others = [found[key] for key in KEYS if key != "diagnostic_confidence"]
    assert np.mean(others) < found["diagnostic_confidence"] < max(others)


def test_over_smoothing_costs_little_confidence(params):
    smooth = params.severities(dataclasses.replace(LIKE_NDCT, texture_ratio=-0.9), 10.0)
    assert smooth["noise"] > 3
    assert smooth["diagnostic_confidence"] < 2


def test_every_image_is_measured_in_the_order_of_the_manifest(variants, params):
    measured = measure_images(variants, params)
    assert measured["image_id"].tolist() == variants.manifest["image_id"].tolist()
    lesions = measured["lesion_conspicuity_severity"].notna()
    assert lesions.tolist() == (variants.manifest["has_lesion"] == 1).tolist()


def test_ndct_scores_best_and_ldct_worst(variants, params):
    exact = dataclasses.replace(params, variability=0.0)
    scores = score_images(measure_images(variants, params), exact)
    means = scores.groupby("variant")[list(KEYS)].mean()
    assert (means.loc["ndct"] <= means.loc["blurred"]).all()
    assert (means.loc["ndct"] < means.loc["ldct"]).all()
    assert means.loc["ldct", "noise"] == means["noise"].max()
    assert (scores["score_source"] == "simulated").all()


def test_variability_is_seeded_and_sized(params):
    measured = pd.DataFrame(
        {"image_id": [f"A_{k}" for k in range(4000)], "slice_id": "A", "patient_id": "A", "variant": "ndct"}
    )
    for key in KEYS:
        measured[f"{key}_severity"] = 2.5
    measured["lesion_conspicuity_severity"] = np.nan
    once, again = score_images(measured, params), score_images(measured, params)
    pd.testing.assert_frame_equal(once, again)
    assert score_images(measured, dataclasses.replace(params, seed=99))["noise"].ne(once["noise"]).any()
    assert once["noise"].mean() == pytest.approx(2.5, abs=0.03)
    assert once["lesion_conspicuity"].isna().all()
    # Half of the variance is common, so that two criteria agree more often than by chance.
    assert 0.6 < (once["noise"] == once["small_structures"]).mean() < 0.75
    wide = dataclasses.replace(params, variability=1.0, shared=0.0)
    assert score_images(measured, wide)["noise"].astype(float).std() == pytest.approx(1, abs=0.1)


def test_order_of_images_does_not_matter(variants, params):
    measured = measure_images(variants, params)
    forward = score_images(measured, params)
    backward = score_images(measured[::-1].reset_index(drop=True), params)[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(forward, backward)


def test_without_variability_the_ceiling_is_one(variants, params):
    measured = measure_images(variants, params)
    exact = score_images(measured, params, noise_free=True)
    assert ceiling(exact, exact)["accuracy"]["mean"] == 1
    assert ceiling(exact, score_images(measured, dataclasses.replace(params, variability=2.0)))["accuracy"]["mean"] < 1


def test_description_adds_up(variants, params):
    found = describe_scores(score_images(measure_images(variants, params), params))
    assert found["images"] == 6
    for parts in found["distribution"].values():
        assert sum(parts.values()) == pytest.approx(1)
    assert found["distribution"]["lesion_conspicuity"]["no lesion"] == 0.5
    assert set(found["mean"]) == {"ndct", "ldct", "blurred"}


def test_without_ndct_there_is_nothing_to_compare_with(tmp_path, params):
    with create_artifact(tmp_path / "variants", "variants") as writer:
        writer.manifest(pd.DataFrame({"image_id": ["A_ldct"], "slice_id": ["A"], "variant": ["ldct"]}))
    with pytest.raises(ArtifactError, match="no variant 'ndct'"):
        measure_images(open_artifact(tmp_path / "variants", "variants"), params)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("variability", -0.1, "variability"),
        ("shared", 1.5, "shared"),
        ("readers", 0, "readers"),
        ("between", -0.1, "between"),
        ("consensus", "simulated_2", "consensus"),
        ("usual_weight", 2, "usual_weight"),
        ("worst_weight", -1, "worst_weight"),
        ("seed", -3, "seed"),
        ("noise", {"anchors": [0.1, 0.3, 0.2, 0.6]}, "noise.anchors"),
        ("noise_weight", 1.1, "noise_weight"),
        ("noise", {"smoothing_weight": -0.1}, "noise.smoothing_weight"),
        ("small_structures", {"unlike_weight": -0.1}, "small_structures.unlike_weight"),
        ("small_structures", {"blur_slack": -0.1}, "small_structures.blur_slack"),
        ("small_structures", {"anchors": [0.1, 0.2, 0.3]}, "small_structures.anchors"),
        ("lesion_conspicuity", {"cnr_anchors": [1.0, 2.0, 3.0, 4.0]}, "lesion_conspicuity.cnr_anchors"),
        ("lesion_conspicuity", {"margin_weight": 2.0}, "lesion_conspicuity.margin_weight"),
    ],
)
def test_bad_values_are_named(key, value, where, tmp_path):
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["read"]
    section[key] = section[key] | value if isinstance(value, dict) else value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"read": section}))
    with pytest.raises(ParamsError, match=rf"read\.{where}: expected"):
        load_section(tmp_path / "params.yaml", "read", ReadParams)
