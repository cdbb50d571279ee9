import dataclasses
from pathlib import Path

import numpy as np
import pytest

from iqagpt.config import load_section
from iqagpt.readers.measures import Measures
from iqagpt.readers.severity import noise_fault, to_severity
from iqagpt.readers.simulated import ReadParams

ROOT = Path(__file__).resolve().parents[2]
LIKE_NDCT = Measures(10.0, 0.0, 0.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def params():
    return load_section(ROOT / "params.yaml", "read", ReadParams)


def seen(**changes):
    return dataclasses.replace(LIKE_NDCT, **changes)


@pytest.mark.parametrize(
    ("value", "severity"), [(0.1, 1), (0.2, 2), (0.3, 2.5), (0.4, 3), (0.6, 4), (0.0, 0.5), (9, 4.5), (-9, 0.5)]
)
def test_anchors_mean_their_scores(value, severity):
    assert to_severity(value, (0.1, 0.2, 0.4, 0.6)) == pytest.approx(severity)


def test_falling_anchors():
    assert to_severity(5.0, (8.0, 5.0, 3.0, 1.0)) == pytest.approx(2)
    assert to_severity(99.0, (8.0, 5.0, 3.0, 1.0)) == 0.5


@pytest.mark.parametrize(
    ("noise_ratio", "texture_ratio", "usual", "fault"),
    [(0, 0, 0, 0), (0.3, 0.3, 0, 0.3), (0.3, 0.3, 0.1, 0.4), (-0.4, -0.4, 0, 0), (-0.4, -0.9, 0, 1.0),
     (-0.4, -0.9, 0.1, 0.8), (0.2, -0.7, 0, 0.8)],
)  # fmt: skip
def test_noise_left_and_texture_lost_add_up(noise_ratio, texture_ratio, usual, fault):
    image = seen(noise_ratio=noise_ratio, texture_ratio=texture_ratio)
    assert noise_fault(image, usual, slack=0.4, weight=2.0) == pytest.approx(fault)


def test_nothing_is_wrong_with_the_ndct(params):
    assert params.noise.loss(LIKE_NDCT) == 0
    assert params.small_structures.loss(LIKE_NDCT) == 0
    assert params.lesion_conspicuity.visibility(LIKE_NDCT) is None


def test_slacks_forgive_a_little(params):
    smooth = seen(texture_ratio=-params.noise.smoothing_slack)
    assert params.noise.loss(smooth) == pytest.approx(0)
    faded = 1 - params.small_structures.blur_slack
    assert params.small_structures.loss(seen(vessel_contrast=faded, vessel_sharpness=faded)) == pytest.approx(0)


@pytest.mark.parametrize("section", ["noise", "small_structures"])
def test_more_noise_is_never_better(params, section):
    losses = [getattr(params, section).loss(seen(noise_ratio=r, texture_ratio=r)) for r in np.linspace(0, 1, 11)]
    assert (np.diff(losses) > 0).all()


@pytest.mark.parametrize("section", ["noise", "small_structures"])
def test_more_smoothing_is_never_better(params, section):
    losses = [getattr(params, section).loss(seen(noise_ratio=-r, texture_ratio=-r)) for r in np.linspace(0, 1, 11)]
    assert (np.diff(losses) >= 0).all()
    assert losses[-1] > 0


@pytest.mark.parametrize("changes", [{"likeness": 0.8}, {"vessel_contrast": 0.4}, {"vessel_sharpness": 0.4}])
def test_each_loss_of_structure_counts(params, changes):
    assert params.small_structures.loss(seen(**changes)) > 0.1
    fidelity = params.noise.unlike_weight * (1 - changes.get("likeness", 1.0))
    assert params.noise.loss(seen(**changes)) == pytest.approx(fidelity)


def test_a_larger_lesion_of_equal_contrast_is_more_visible(params):
    small, large = (seen(lesion_cnr=3.0, lesion_margin=1.0, lesion_diameter_mm=size) for size in (5.0, 20.0))
    ratio = params.lesion_conspicuity.visibility(large) / params.lesion_conspicuity.visibility(small)
    assert ratio == pytest.approx(4**params.lesion_conspicuity.size_exponent)
