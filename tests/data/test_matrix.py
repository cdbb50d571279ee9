"""Padding and cropping about the centre."""

import numpy as np
import pytest

from iqagpt.data.matrix import fit_matrix


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (8, 2), (1, 1), (5, 6)])
def test_fitting_keeps_the_centre_and_resamples_nothing(shape):
    image = np.arange(1, 1 + np.prod(shape), dtype=np.int16).reshape(shape)
    fitted = fit_matrix(image, 4, -1024)
    assert fitted.shape == (4, 4)
    assert set(fitted.ravel()) <= {*image.ravel(), -1024}
    inside = [min(side, 4) for side in shape]
    assert (fitted != -1024).sum() == inside[0] * inside[1]
    rows, columns = (slice((side - 4) // 2, (side - 4) // 2 + 4) if side > 4 else slice(None) for side in shape)
    assert np.array_equal(fitted[fitted != -1024], image[rows, columns].ravel())
