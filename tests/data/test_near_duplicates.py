"""Images of one patient under two codes are found; other people's and other slices of the same side are not."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from iqagpt.data.near_duplicates import ALIKE, check_no_near_duplicates, structure
from iqagpt.errors import ArtifactError

WINDOW = (-160.0, 240.0)


def anatomy(seed: int) -> np.ndarray:
    """A smooth random picture of 256 px, about as varied as tissue in the window."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((256, 256)), 6)
    return 40 + 60 * field / field.std()


def noisy(image: np.ndarray, sd: float, seed: int = 99) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sd, image.shape)


def manifest(*patients: str) -> pd.DataFrame:
    ids = [f"{patient}_{i:03d}" for i, patient in enumerate(patients)]
    return pd.DataFrame({"slice_id": ids, "patient_id": patients, "row": range(len(patients))})


def test_noise_and_smoothing_leave_an_image_alike_and_other_anatomy_is_not() -> None:
    same = anatomy(0)
    for other in (noisy(same, 20), ndimage.gaussian_filter(same, 2), ndimage.median_filter(noisy(same, 30), 3)):
        assert structure(same, WINDOW) @ structure(other, WINDOW) > 0.95
    prints = np.stack([structure(anatomy(seed), WINDOW) for seed in range(12)])
    between = prints @ prints.T - 2 * np.eye(12)
    assert between.max() < 0.5 < ALIKE


def test_one_patient_under_two_codes_is_named() -> None:
    images = np.stack([anatomy(0), anatomy(1), noisy(anatomy(0), 30)]).astype(np.int16)
    sides = pd.Series(["test", "train", "train"])
    with pytest.raises(ArtifactError, match=r"L1_000 \(test\) and L3_002 \(train\).*1 such pairs.*ingest.root"):
        check_no_near_duplicates(manifest("L1", "L2", "L3"), sides, images, WINDOW)


@pytest.mark.parametrize(
    ("patients", "sides"),
    [(("L1", "L2"), ["train", "train"]), (("L1", "L1"), ["train", "test"])],
    ids=["one side", "one code: refused elsewhere"],
)
def test_what_is_no_leak_passes(patients: tuple[str, ...], sides: list[str]) -> None:
    images = np.stack([anatomy(0), noisy(anatomy(0), 5)]).astype(np.int16)
    check_no_near_duplicates(manifest(*patients), pd.Series(sides), images, WINDOW)


def test_empty_images_are_not_alike() -> None:
    images = np.full((2, 64, 64), -1000, dtype=np.int16)
    check_no_near_duplicates(manifest("L1", "L2"), pd.Series(["train", "test"]), images, WINDOW)
    assert structure(images[0], WINDOW).tolist() == [0.0] * 64 * 64
