"""RED-CNN: published shape, scale, import of weights, and a fit that folds exactly."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from iqagpt.denoise import red_cnn
from iqagpt.denoise.red_cnn import RedCNN, RedCNNFit, RedCNNParams
from iqagpt.errors import InputError


def params(**changes):
    values = {"weights": "presets/none.txt", "width": 4, "steps": 20, "batch_size": 2, "patch_size": 32}
    return RedCNNParams(**values | {"lr": 1e-3, "final_lr": 1e-4, "seed": 1} | changes)


def test_published_width_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in RedCNN(96).parameters()) == 1_848_865


def test_keys_and_shapes_are_those_of_the_published_code():
    shapes = {key: tuple(value.shape) for key, value in RedCNN(96).state_dict().items()}
    assert len(shapes) == 20
    assert shapes["conv1.weight"] == (96, 1, 5, 5)
    assert shapes["conv5.weight"] == shapes["tconv4.weight"] == (96, 96, 5, 5)
    assert shapes["tconv5.weight"] == (96, 1, 5, 5)
    assert shapes["tconv5.bias"] == (1,)


def test_shortcuts_join_where_published():
    """With single-tap kernels of weight one every layer hands its input on, so the sum counts the shortcuts."""
    model = RedCNN(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if name.endswith("weight"):
                parameter[0, 0, 2, 2] = 1.0
    image = torch.rand(1, 1, 40, 40)
    # conv4 joins after tconv1 (2x), conv2 after tconv3 (3x), the input at the end (4x)
    centre = (..., slice(10, -10), slice(10, -10))
    assert torch.allclose(model(image)[centre], 4 * image[centre], atol=1e-5)


def test_output_is_never_negative():
    model = RedCNN(2)
    with torch.no_grad():
        model.tconv5.bias.fill_(-5.0)
    assert model(torch.rand(1, 1, 32, 32)).min() == 0


def test_scale_is_hu_plus_1024_over_4096_and_back():
    image = np.array([[-1024, 0, 1024, 3071]], np.int16)
    assert np.allclose(RedCNN.normalise(image), [[0.0, 0.25, 0.5, 4095 / 4096]])
    assert RedCNN.to_hu(RedCNN.normalise(image)).tolist() == image.tolist()
    assert RedCNN.to_hu(np.array([2.0])).tolist() == [3071]


def test_inference_by_strips_equals_the_whole_image():
    torch.manual_seed(0)
    model = RedCNN(3)
    image = torch.rand(1, 1, 300, 40)
    with torch.inference_mode():
        assert torch.allclose(model.variants(image)["red_cnn"], model(image), atol=1e-6)


def test_fit_starts_as_identity_and_the_folded_model_is_the_fitted_function():
    torch.manual_seed(0)
    model = RedCNN(4)
    fit = RedCNNFit(model, params())
    image = 0.25 + 0.02 * torch.randn(2, 1, 32, 32)
    assert torch.equal(model(image), image)
    for step in range(10):
        fit.step(itertools.repeat((image, image + 0.01)), step)
    fitted = (image + fit.twin.residual((image - fit.CENTRE) / fit.SCALE) * fit.SCALE).relu()
    assert (model(image) - image).abs().max() > 1e-3
    assert torch.allclose(model(image), fitted, atol=1e-5)


def test_learning_rate_falls_from_first_to_last():
    fit = RedCNNFit(RedCNN(2), params(width=2))
    batch = itertools.repeat((torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)))
    rates = []
    for step in (0, 19):
        fit.step(batch, step)
        rates.append(fit.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width: expected 1 or more, got 0"),
        ({"patch_size": 24}, "patch_size: expected more than 24"),
        ({"lr": 0.0}, "lr: expected a number above 0"),
        ({"final_lr": 1.0}, "final_lr: expected above 0 and at most lr"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"weights": "my.safetensors"}, "width: expected 96"),
    ],
)
def test_wrong_params_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        params(**changes)


def published(tmp_path, **changes):
    tensors = RedCNN(96).state_dict() | changes
    file = tmp_path / "red_cnn.safetensors"
    save_file({key: value for key, value in tensors.items() if value is not None}, file)
    return file


def test_import_keeps_the_weights(tmp_path):
    marked = torch.full((96, 1, 5, 5), 0.125)
    state, sha256 = red_cnn.import_weights(published(tmp_path, **{"conv1.weight": marked}))
    assert torch.equal(state["conv1.weight"], marked)
    assert len(sha256) == 64
    RedCNN(96).load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv3.bias": None}, "missing tensor 'conv3.bias'"),
        ({"extra": torch.zeros(1)}, "unexpected tensor 'extra'"),
        ({"conv1.bias": torch.zeros(64)}, r"'conv1.bias' has shape \(64,\), expected \(96,\)"),
        ({"conv1.bias": torch.full((96,), float("nan"))}, "'conv1.bias' holds values that are not finite"),
    ],
)
def test_import_refuses_other_tensors(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        red_cnn.import_weights(published(tmp_path, **changes))


def test_import_refuses_pickles_with_the_remedy(tmp_path):
    file = tmp_path / "red_cnn.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=r"pickle.*weights red-cnn"):
        red_cnn.import_weights(file)


def test_import_refuses_missing_torn_and_oversized_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        red_cnn.import_weights(tmp_path / "none.safetensors")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(published(tmp_path).read_bytes()[:1000])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        red_cnn.import_weights(torn)
    monkeypatch.setattr(red_cnn, "MAX_WEIGHTS_BYTES", 10)
    with pytest.raises(InputError, match="1000 bytes"):
        red_cnn.import_weights(torn)
