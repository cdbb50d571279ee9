"""Slices at two doses: of the pipeline, of a study that has NDCT and LDCT, and of one that has not."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.clip.doses import FINE_PX, QUARTER_DOSE, NoisyCopies, SlicePairs, ct_noise, find_doses, fine_sd
from iqagpt.scored_images import ScoredImages

SIZE = 96
PLACE = (slice(8, 72), slice(16, 80))


def anatomy(seed: int) -> np.ndarray:
    """Return soft tissue with coarse structure of its own, HU."""
    return 60 + 2500 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), 12)


def study(folder, rows: list[tuple[str, str, int]], noise_hu: dict[str, float]) -> ScoredImages:
    """Write images ``(set, variant, anatomy)`` as a study's import does: a row counts within its variant."""
    table = pd.DataFrame(rows, columns=["slice_id", "variant", "anatomy"])
    table["row"] = table.groupby("variant").cumcount()
    table = table.assign(image_id=[f"i{k}" for k in range(len(table))], patient_id=table["slice_id"])
    rng = np.random.default_rng(1)
    with create_artifact(folder, "variants") as writer:
        for name, part in table.groupby("variant"):
            pixels = writer.array(name, (len(part), SIZE, SIZE), np.int16)
            for row, seed in zip(part["row"], part["anatomy"], strict=True):
                pixels[row] = np.rint(anatomy(seed) + noise_hu[name] * rng.normal(size=(SIZE, SIZE)))
        writer.manifest(table)
        writer.info.update(window_hu=[-160.0, 240.0], variants=list(noise_hu))
    return ScoredImages(table, open_artifact(folder, "variants"))


def test_a_studys_ndct_and_ldct_belong_together_by_what_they_show(tmp_path):
    """Three slices in one set, listed in another order at each dose, and a set without LDCT."""
    rows = [("A", "NDCT", 0), ("A", "NDCT", 1), ("A", "NDCT", 2), ("B", "NDCT", 3), ("C", "NDCT", 4)]
    rows += [("C", "LDCT", 4), ("A", "LDCT", 2), ("A", "LDCT", 0), ("A", "LDCT", 1), ("A", "Net", 0)]
    doses = find_doses(study(tmp_path / "v", rows, {"NDCT": 3.0, "LDCT": 25.0, "Net": 1.0}))
    assert isinstance(doses, SlicePairs)
    assert doses.table["anatomy"].tolist() == [0, 1, 2, 4]
    rng = np.random.default_rng(0)
    for index in range(4):
        low, normal = (doses.crop(index, PLACE, share, rng) for share in (1.0, 0.0))
        assert (low.shape, low.dtype) == ((64, 64), np.float32)
        assert 20 < (low - normal).std() < 30  # noise alone: of two slices it would be above 80
        np.testing.assert_allclose(doses.crop(index, PLACE, 0.5, rng), (low + normal) / 2, atol=1e-3)


def test_without_a_pair_copies_are_noisier(tmp_path):
    rows = [(name, variant, k) for k, name in enumerate("ABC") for variant in ("Net", "Other")]
    images = study(tmp_path / "v", rows, {"Net": 6.0, "Other": 10.0})
    doses = find_doses(images)
    assert isinstance(doses, NoisyCopies) and len(doses.table) == 6
    plain = doses.crop(3, PLACE, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(plain, images.pixels_hu(3)[PLACE])
    added = doses.crop(3, PLACE, 1.0, np.random.default_rng(0)) - plain
    # Between those of the two variants, 6 and 10 HU.
    assert 6 * QUARTER_DOSE < doses.added_hu < 10 * QUARTER_DOSE
    assert (added - ndimage.gaussian_filter(added, FINE_PX)).std() == pytest.approx(doses.added_hu, rel=0.01)


def test_the_pair_is_looked_for_in_the_split_alone(tmp_path):
    """The one pair is not among the images asked about, so these have none."""
    rows = [("A", "NDCT", 0), ("A", "LDCT", 0), ("B", "Net", 1), ("B", "NDCT", 1)]
    images = study(tmp_path / "v", rows, {"NDCT": 3.0, "LDCT": 25.0, "Net": 1.0})
    of_b = ScoredImages(images.table[images.table["slice_id"] == "B"], images.variants)
    assert find_doses(of_b).table["image_id"].tolist() == ["i2", "i3"]
    none = ScoredImages(images.table[:0], images.variants)
    assert len(find_doses(none).table) == 0


@pytest.mark.parametrize("noise_hu", [8.0, 30.0])
def test_noise_is_measured_beside_anatomy(noise_hu):
    image = anatomy(0) + noise_hu * np.random.default_rng(2).normal(size=(SIZE, SIZE))
    image[:20] = -1000.0  # air has none
    assert fine_sd(image) == pytest.approx(noise_hu, rel=0.12)


def test_noise_has_the_spectrum_of_filtered_back_projection():
    """Little at the lowest frequencies, most in the middle, less again at the highest."""
    rng = np.random.default_rng(0)
    power = np.mean([np.abs(np.fft.fft2(ct_noise((128, 128), rng))) ** 2 for _ in range(20)], axis=0)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    low, middle, high = (
        power[(frequency > a) & (frequency <= b)].mean() for a, b in ((0, 0.03), (0.1, 0.2), (0.4, 0.5))
    )
    assert middle > 2 * low and middle > 5 * high
