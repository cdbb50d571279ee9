import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.focal_path import SIGMAS, FocalPath, lesion_loss, lesion_places
from iqagpt.captioner.image_encoder import EncoderParams, build_image_encoder
from iqagpt.captioner.text_stack import TextParams
from iqagpt.training import build_seeded

ENCODER = EncoderParams("focal", 16, 32, 1, 2)
SIDE = 128


def disc(row, column, radius):
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def spots(seed, count=12):
    """Images with a disc 0.1 darker than the rest in noise of that SD, and their masks."""
    rng = np.random.default_rng(seed)
    masks = np.stack([disc(*rng.integers(24, SIDE - 24, 2), 12) for _ in range(count)])
    images = 0.6 - 0.1 * masks + rng.normal(0, 0.1, masks.shape)
    return torch.from_numpy(images.clip(0, 1).astype(np.float32))[:, None], masks.astype(np.uint8)


# Channels


def test_a_flat_image_has_no_differences_up_to_its_edges():
    channels = FocalPath(SIDE).channels(torch.full((2, 1, SIDE, SIDE), 0.6))
    assert channels.shape == (2, 8, SIDE // 4, SIDE // 4)
    assert channels[:, :4].abs().max() < 1e-4
    assert channels[0, 4:, 0, 0].tolist() == pytest.approx([1.0, 1 / 3, -1.0, -1.0], abs=1e-4)


def test_gaussians_are_scipys():
    image = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    small = image.reshape(SIDE // 4, 4, SIDE // 4, 4).mean((1, 3)).astype(float)
    blurred = [gaussian_filter(small, s, mode="nearest", radius=int(np.ceil(3 * s))) for s in SIGMAS]
    expected = [((a - b) / 0.0375).clip(-2, 2) for a, b in zip(blurred, blurred[2:], strict=False)]
    found = FocalPath(SIDE).channels(torch.from_numpy(image)[None, None])[0, :4]
    assert np.abs(found.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(("radius", "channel"), [(6, 0), (12, 1), (18, 2), (28, 3)])
def test_a_spot_differs_most_at_its_place_and_size(radius, channel):
    image = torch.from_numpy(0.5 + 0.03 * disc(50, 78, radius)).float()
    differences = FocalPath(SIDE).channels(image[None, None])[0, :4]
    where = np.unravel_index(int(differences.argmax()), differences.shape)
    assert where[0] == channel
    assert np.hypot(where[1] - 50 / 4, where[2] - 78 / 4) <= 1


# Learning


def test_the_loss_falls_and_unseen_spots_are_found():
    path = build_seeded(lambda: FocalPath(SIDE), 0)
    images, masks = spots(0, count=24)
    optimizer = torch.optim.AdamW(path.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = lesion_loss(path(images), lesion_places(masks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0], losses
    unseen, masks = spots(1)
    with torch.no_grad():
        strongest = path.eval()(unseen).flatten(1).argmax(1)
    hit = lesion_places(masks).flatten(1)[torch.arange(len(masks)), strongest]
    assert hit.float().mean() > 0.9


def test_a_place_counts_where_a_lesion_covers_three_tenths_of_it():
    masks = np.zeros((1, 16, 16), np.uint8)
    masks[0, :2, :8] = 1  # a quarter
    masks[0, 8:11, 8:] = 1  # three eighths
    assert lesion_places(masks).tolist() == [[[False, False], [False, True]]]


def test_the_loss_is_a_sum_over_places_and_a_mean_over_images():
    places = torch.tensor([[[True, False]], [[False, False]]])
    assert lesion_loss(torch.zeros(2, 1, 2), places).item() == pytest.approx((2 + 1 + 1 + 1) * np.log(2) / 2)


# Within the image encoder


def change_of_tokens(patch_size, silenced):
    """How far each patch's token moves when a spot appears, with one of the projection's two inputs silenced."""
    params = dataclasses.replace(ENCODER, patch_size=patch_size)
    embed = build_seeded(lambda: build_image_encoder(params, SIDE), 0).eval().patch_embed
    with torch.no_grad():
        embed.structure_proj.weight.zero_()
        embed.texture_proj.weight.zero_()
        embed.focal_proj.weight[:, silenced] = 0
        image = torch.full((1, 1, SIDE, SIDE), 0.5)
        return (embed(image + 0.1 * torch.from_numpy(disc(52, 84, 6))) - embed(image)).norm(dim=-1)[0]


@pytest.mark.parametrize("patch_size", [8, 16, 32])
def test_a_spot_changes_the_token_of_its_patch(patch_size):
    change = change_of_tokens(patch_size, silenced=1)
    row, column = divmod(int(change.argmax()), SIDE // patch_size)
    # An untaught path may answer more to the spot's surroundings than to its centre.
    assert max(abs(row - 52 // patch_size), abs(column - 84 // patch_size)) <= max(1, 24 // patch_size)
    assert change.min() < 0.1 * change.max()


def test_every_token_is_told_of_the_strongest_place():
    change = change_of_tokens(16, silenced=0)
    assert change.min() > 0
    torch.testing.assert_close(change, change[:1].expand_as(change))


def test_captions_do_not_move_the_path():
    text = TextParams(32, 1, 1, 2, 64, 0.0)
    model = build_seeded(lambda: Captioner(ENCODER, text, image_size=SIDE, vocabulary_size=20), 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2, weight_decay=0.1)
    model(spots(0)[0], torch.randint(20, (12, 5))).logsumexp(-1).mean().backward()
    optimizer.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(".focal." in name for name in moved)
    assert {
        "image_encoder.patch_embed.focal_proj.weight",
        "image_encoder.patch_embed.structure.2.running_mean",
    } <= moved


def test_the_convolutional_stem_starts_as_without_the_path():
    plain = dataclasses.replace(ENCODER, stem="conv")
    one, two = (build_seeded(lambda p=p: build_image_encoder(p, SIDE), 0).patch_embed for p in (plain, ENCODER))
    other = two.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.state_dict().items())
