import shutil

import numpy as np
import pytest

from iqagpt.artifacts import create_artifact, open_artifact
from iqagpt.errors import ArtifactError
from iqagpt.scored_images import open_scored_images


@pytest.fixture
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


def test_splits_are_by_patient_and_cover_everything(images):
    parts = [images.subset(name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [32, 8, 8]
    assert len(images.held_out()) == 16
    assert not set(parts[0].table["patient_id"]) & set(images.held_out().table["patient_id"])


def test_batches_are_windowed_to_unit_range(images):
    batch = images.batch(np.array([0, 1]))
    assert batch.shape == (2, 1, 64, 64)
    assert batch.dtype == np.float32
    expected = np.clip((images.pixels_hu(1) + 160.0) / 400.0, 0, 1)
    assert np.allclose(batch[1, 0], expected, atol=1e-6)


def test_an_absent_lesion_score_is_none(images):
    scores = images.scores(0)
    assert scores == {"noise": 1, "small_structures": 1, "lesion_conspicuity": None, "diagnostic_confidence": 1}


def test_prediction_needs_no_captions(scored_run):
    images = open_scored_images(scored_run / "variants", scored_run / "split")
    assert "caption" not in images.table


def test_an_image_without_a_caption_is_an_error_that_names_it(scored_run, tmp_path):
    shutil.copytree(scored_run / "captions", tmp_path / "captions")
    table = open_artifact(tmp_path / "captions", "captions").manifest
    with create_artifact(tmp_path / "captions", "captions") as writer:
        writer.manifest(table.iloc[1:])
    with pytest.raises(ArtifactError, match=table["image_id"].iloc[0]):
        open_scored_images(scored_run / "variants", scored_run / "split", tmp_path / "captions")
