"""Batches: what is loaded, and that turning on a device is turning image by image."""

import dataclasses

import numpy as np
import pytest
import torch

from iqagpt import batches
from iqagpt.batches import Draw, in_batches, in_order, load_images, shuffled, turn
from iqagpt.ct import apply_window
from iqagpt.scored_images import open_scored_images

CPU = torch.device("cpu")


@pytest.fixture
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


def test_images_are_windowed_turned_and_flipped(images):
    draw = Draw(np.array([5, 0, 9]), np.array([1, 0, 3]), np.array([0, 1, 1]))
    (batch,) = load_images(images, [draw], CPU)
    expected = [
        np.rot90(apply_window(images.pixels_hu(5), images.window_hu)),
        apply_window(images.pixels_hu(0), images.window_hu)[:, ::-1],
        np.rot90(apply_window(images.pixels_hu(9), images.window_hu), 3)[:, ::-1],
    ]
    assert batch.dtype == torch.float32
    assert np.array_equal(batch.numpy()[:, 0], np.stack(expected))


def test_batches_come_in_the_order_asked_for(images):
    draws = [in_order(len(images))[batch] for batch in in_batches(len(images), 7)]
    loaded = list(load_images(images, draws, CPU))
    assert np.array_equal(torch.cat(loaded).numpy(), images.batch(np.arange(len(images))))


def test_an_error_of_the_background_thread_is_seen(images):
    with pytest.raises(IndexError):
        list(load_images(images, [in_order(10**6)], CPU))


def test_turning_a_batch_is_turning_each_image():
    images = torch.arange(8 * 16).reshape(8, 1, 4, 4)
    turns, flips = torch.arange(8) % 4, torch.arange(8) // 4
    expected = [torch.rot90(image, int(k), (-2, -1)) for image, k in zip(images, turns, strict=True)]
    expected = [image.flip(-1) if flip else image for image, flip in zip(expected, flips, strict=True)]
    assert torch.equal(turn(images, turns, flips), torch.stack(expected))


def test_an_epoch_draws_every_image_once_and_follows_from_seed_and_epoch():
    first, again, later = (
        shuffled(50, 1, 3, augment=True),
        shuffled(50, 1, 3, augment=True),
        shuffled(50, 1, 4, augment=True),
    )
    assert sorted(first.indices) == list(range(50))
    for name in ("indices", "turns", "flips"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(later, name))
    assert set(first.turns) == {0, 1, 2, 3}
    assert not shuffled(50, 1, 3, augment=False).turns.any()


@pytest.mark.parametrize(("count", "size", "sizes"), [(10, 4, [4, 3, 3]), (8, 4, [4, 4]), (3, 8, [3])])
def test_batches_have_nearly_one_size(count, size, sizes):
    assert [len(batch) for batch in in_batches(count, size)] == sizes


def test_fingerprint_follows_pixels_and_targets(images):
    table = images.table.copy()
    table.loc[3, "noise"] = 4 - table.loc[3, "noise"]
    changed = dataclasses.replace(images, table=table)
    assert images.fingerprint() == dataclasses.replace(images).fingerprint()
    assert images.fingerprint() != changed.fingerprint()
    assert images.fingerprint() != images.subset("train").fingerprint()


def test_images_held_on_a_device_are_those_read_one_by_one(images):
    """The path of a GPU, run on the CPU."""
    draw = shuffled(len(images), 1, 0, augment=True)
    (read,) = load_images(images, [draw], CPU)
    held = batches._from_device(batches._to_device(images, CPU), draw, images.window_hu)
    assert torch.equal(read, held)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_images(images):
    draw = shuffled(len(images), 1, 0, augment=True)
    (here,), (there,) = load_images(images, [draw], CPU), load_images(images, [draw], torch.device("cuda"))
    assert torch.equal(here, there.cpu())
