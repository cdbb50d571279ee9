import numpy as np
import pytest

from iqagpt.readers.variability import VariabilityParams, reader_bias, reading_noise

IMAGES = [f"A_{k:03d}_ndct" for k in range(3000)]


def panel(readers=3, variability=0.2, between=0.5, shared=0.5):
    return VariabilityParams(readers, "median", variability, between, shared)


def test_the_first_reader_has_no_bias_and_others_keep_theirs():
    assert panel().names() == ["simulated_1", "simulated_2", "simulated_3"]
    assert not reader_bias(panel(), "simulated_1", 1).any()
    few, many = panel(2), panel(20)
    for name in ("simulated_1", "simulated_2"):
        assert np.array_equal(reader_bias(few, name, 1), reader_bias(many, name, 1))
        assert np.array_equal(reading_noise(few, name, IMAGES[:5], 1), reading_noise(many, name, IMAGES[:5], 1))


def test_biases_spread_as_stated():
    """The variance of a difference between two readers is twice that of one reader."""
    params = panel(2, between=0.5)
    drawn = np.array([reader_bias(params, "simulated_2", seed) for seed in range(2000)])
    assert drawn.std(axis=0) == pytest.approx([0.5 * np.sqrt(2)] * 4, rel=0.06)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.5, abs=0.06)
    assert not reader_bias(panel(2, between=0.0), "simulated_2", 1).any()


def test_readings_of_two_readers_are_independent():
    first, second = (reading_noise(panel(), name, IMAGES, 4) for name in ("simulated_1", "simulated_2"))
    assert first.shape == (3000, 4)
    assert first.std() == pytest.approx(0.2, rel=0.05)
    assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] == pytest.approx(0, abs=0.06)
    assert np.corrcoef(first[:, 0], first[:, 1])[0, 1] == pytest.approx(0.5, abs=0.06)


def test_no_images():
    assert reading_noise(panel(), "simulated_1", [], 4).shape == (0, 4)


@pytest.mark.parametrize(("change", "message"), [
    ({"readers": 0}, "readers: expected 1 to 99, got 0"),
    ({"between": -0.1}, "between: expected 0 to 3 score steps, got -0.1"),
    ({"variability": 4}, "variability: expected 0 to 3"),
    ({"shared": 2}, "shared: expected 0 to 1"),
])  # fmt: skip
def test_bad_values(change, message):
    with pytest.raises(ValueError, match=message):
        panel(**change)
    with pytest.raises(ValueError, match="consensus: expected median or a reader's name, got ' '"):
        VariabilityParams(1, " ", 0.1, 0.1, 0.1)
