"""Strips: the same result as one pass, whatever the height."""

import pytest
import torch

from iqagpt.denoise.strips import STRIP_PX, in_strips


def blur(images):
    """Average 7 rows: a row depends on rows up to 3 away."""
    return torch.nn.functional.avg_pool2d(images, (7, 1), stride=1, padding=(3, 0), count_include_pad=False)


@pytest.mark.parametrize("height", [20, STRIP_PX, STRIP_PX + 1, 3 * STRIP_PX - 5])
def test_strips_equal_the_whole(height):
    images = torch.rand(2, 1, height, 6)
    assert torch.allclose(in_strips(blur, images, halo_px=3), blur(images), atol=1e-6)


def test_too_small_a_halo_would_show():
    images = torch.rand(1, 1, 2 * STRIP_PX, 6)
    assert not torch.allclose(in_strips(blur, images, halo_px=1), blur(images), atol=1e-3)
