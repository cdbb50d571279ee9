"""MAP-NN: published shape, grading, losses, import of the checkpoint, and the published figures on a real pair."""

import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from skimage.metrics import structural_similarity

from iqagpt.denoise import map_nn
from iqagpt.denoise.map_nn import Critic, MapNN, MapNNFit, MapNNParams, sobel_edges
from iqagpt.errors import InputError

WINDOW_HU = (-160.0, 240.0)
SHARED = Path(__file__).resolve().parents[2] / "../shared"
PUBLISHED = SHARED / "weights/map_nn/Trained_ABD_Model.ckpt.data-00000-of-00001"
PATIENT = SHARED / "data/aapm_layout/L506"


def params(**changes):
    values = {"weights": "presets/none.txt", "levels": 3, "width": 4, "steps": 8, "batch_size": 2, "patch_size": 24}
    values |= {"lr": 1e-3, "steps_per_epoch": 2, "critic_steps": 2, "critic_width": 2, "gradient_penalty": 10.0}
    return MapNNParams(**values | {"mse_weight": 50.0, "edge_weight": 50.0, "seed": 3} | changes)


def random_model(width=4, levels=3):
    """Return a model that is not the identity that a fresh one is."""
    torch.manual_seed(0)
    model = MapNN(width, levels, WINDOW_HU)
    torch.nn.init.normal_(model.deconv8.weight, std=0.05)
    return model


def test_all_levels_together_have_the_published_number_of_parameters():
    assert sum(p.numel() for p in MapNN(32, 5, WINDOW_HU).parameters()) == 62_016


def test_a_new_network_is_the_identity():
    image = torch.rand(1, 1, 20, 20)
    assert torch.equal(MapNN(4, 5, WINDOW_HU)(image), image)


def test_levels_are_the_same_module_applied_again():
    model = random_model()
    image = torch.rand(1, 1, 150, 20)
    with torch.inference_mode():
        series = model.variants(image)
        assert list(series) == ["map_nn_d1", "map_nn_d2", "map_nn_d3"]
        assert torch.allclose(series["map_nn_d2"], model.module(model.module(image)), atol=1e-6)
        assert torch.allclose(series["map_nn_d3"], model(image), atol=1e-6)


def test_output_stays_in_the_window():
    model = random_model()
    with torch.no_grad():
        model.deconv8.weight.mul_(100)
        denoised = model(torch.rand(1, 1, 20, 20))
    assert denoised.min() == 0
    assert denoised.max() == 1


def test_scale_is_the_window():
    model = MapNN(2, 1, WINDOW_HU)
    image = np.array([[-1024, -160, 40, 240, 900]], np.int16)
    assert model.normalise(image).tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]
    assert model.to_hu(model.normalise(image)).tolist() == [[-160, -160, 40, 240, 240]]


def test_sobel_responses_of_a_ramp_and_at_reflected_borders():
    ramp = torch.arange(5.0).repeat(5, 1)[None, None]
    vertical, horizontal = sobel_edges(ramp)[0]
    assert torch.equal(vertical, torch.zeros(5, 5))
    assert torch.equal(horizontal[:, 1:-1], torch.full((5, 3), 8.0))
    assert torch.equal(horizontal[:, [0, -1]], torch.zeros(5, 2))


def test_critic_rates_whole_patches_of_any_size():
    assert Critic(2, 30)(torch.rand(3, 1, 30, 30)).shape == (3, 1)
    assert sum(p.numel() for p in Critic(64, 64).parameters()) == 1_144_256 + 16_384 * 1024 + 1024 + 1025


@pytest.mark.parametrize(("slope", "penalty"), [(1.0, 0.0), (3.0, 4.0)])
def test_penalty_is_the_squared_distance_of_the_slope_from_one(slope, penalty):
    fit = MapNNFit(random_model(), params())
    scale = torch.tensor(slope / 24, requires_grad=True)
    fit.critic = lambda patches: scale * patches.flatten(1).sum(dim=1, keepdim=True)
    measured = fit._penalty(torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24))
    assert measured.item() == pytest.approx(penalty, abs=1e-5)
    measured.backward()
    assert scale.grad is not None


def test_a_step_moves_generator_and_critic_and_uses_its_batches():
    model = random_model()
    fit = MapNNFit(model, params())
    before = [p.clone() for p in (model.conv1.weight, fit.critic.layers[0].weight)]
    drawn = itertools.count()
    batches = ((torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24)) for _ in drawn)
    losses = fit.step(batches, step=0)
    assert next(drawn) == 3  # two for the critic, one for the generator
    assert set(losses) == {"loss", "mse", "edge", "adversarial", "critic"}
    assert losses["loss"] == pytest.approx(losses["adversarial"] + 50 * losses["mse"] + 50 * losses["edge"], rel=1e-4)
    for old, new in zip(before, (model.conv1.weight, fit.critic.layers[0].weight), strict=True):
        assert not torch.equal(old, new)


def test_learning_rate_falls_with_the_root_of_the_epoch():
    fit = MapNNFit(random_model(), params())
    batch = itertools.repeat((torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24)))
    rates = []
    for step in (0, 1, 2, 6):
        fit.step(batch, step)
        rates.append(fit.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3 / 2**0.5, 1e-3 / 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 0}, "levels: expected 1 or more, got 0"),
        ({"critic_steps": 0}, "critic_steps: expected 1 or more"),
        ({"patch_size": 16}, "patch_size: expected more than 16"),
        ({"lr": -1.0}, "lr: expected a number above 0"),
        ({"edge_weight": -1.0}, "edge_weight: expected 0 or more"),
        ({"weights": "x.data-00000-of-00001"}, "width: expected 32"),
    ],
)
def test_wrong_params_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        params(**changes)


def write_checkpoint(path, values):
    path.write_bytes(np.asarray(values, "<f4").tobytes())
    return path


def test_import_turns_kernels_round(tmp_path):
    """Element [h, w, in, out] of the file is element [out, in, h, w] here; and [h, w, out, in] is [in, out, h, w]."""
    values = np.arange(62_016, dtype=np.float32)
    state, sha256 = map_nn.import_weights(write_checkpoint(tmp_path / "c.data", values))
    assert len(sha256) == 64
    assert state["conv1.weight"][7, 0, 1, 2] == (1 * 3 + 2) * 32 + 7
    conv2 = 288
    assert state["conv2.weight"][7, 5, 1, 2] == conv2 + ((1 * 3 + 2) * 32 + 5) * 32 + 7
    deconv8 = 288 + 6 * 9216
    assert state["deconv8.weight"][7, 0, 1, 2] == deconv8 + (1 * 3 + 2) * 32 + 7
    transpose1 = deconv8 + 288
    assert state["transpose1.weight"][7, 40, 0, 0] == transpose1 + 40 * 32 + 7
    MapNN(32, 5, WINDOW_HU).load_state_dict(state)


def test_import_refuses_other_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        map_nn.import_weights(tmp_path / "none.data")
    with pytest.raises(InputError, match=r"612 bytes, expected 248064; name the \.data-00000-of-00001"):
        map_nn.import_weights(write_checkpoint(tmp_path / "c.index", np.zeros(153)))
    values = np.zeros(62_016)
    values[1000] = np.nan
    with pytest.raises(InputError, match="not finite"):
        map_nn.import_weights(write_checkpoint(tmp_path / "nan.data", values))


def read_hu(folder):
    dataset = pydicom.dcmread(next(iter(folder.glob("*.IMA"))))
    return dataset.pixel_array.astype(np.int16) + int(dataset.RescaleIntercept)


@pytest.mark.skipif(not PUBLISHED.is_file() or not PATIENT.is_dir(), reason="../shared has no MAP-NN weights and L506")
def test_published_weights_reproduce_the_figures_of_a_real_pair():
    state, _ = map_nn.import_weights(PUBLISHED)
    model = MapNN(32, 5, WINDOW_HU)
    model.load_state_dict(state)
    full, quarter = (model.normalise(read_hu(PATIENT / name)) for name in ("full_1mm", "quarter_1mm"))
    with torch.inference_mode():
        series = {"ldct": quarter} | {
            name: image[0, 0].numpy() for name, image in model.variants(torch.from_numpy(quarter)[None, None]).items()
        }
    # PSNR (dB), RMSE (HU), SSIM, mean in [0, 1]
    expected = {
        "ldct": (19.7904, 40.9772, 0.7395, 0.254042),
        "map_nn_d1": (21.8867, 32.1903, 0.7718, 0.253340),
        "map_nn_d2": (23.3865, 27.0853, 0.7923, 0.252969),
        "map_nn_d3": (24.2534, 24.5127, 0.8001, 0.252673),
        "map_nn_d4": (24.6500, 23.4186, 0.7982, 0.252537),
        "map_nn_d5": (24.7777, 23.0768, 0.7912, 0.252637),
    }
    for name, image in series.items():
        rmse = np.sqrt(np.mean((image - full).astype(np.float64) ** 2))
        ssim = structural_similarity(
            full, image, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        measured = (-20 * np.log10(rmse), 400 * rmse, ssim, image.mean(dtype=np.float64))
        assert measured == pytest.approx(expected[name], abs=1e-4), name
