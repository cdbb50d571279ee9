import dataclasses

import pytest
import torch
from torch import nn

from iqagpt.scored_images import open_scored_images
from iqagpt.training import Recipe, build_seeded, evaluate_loss, fit, learning_rate, summarise_curve

RECIPE = Recipe(
    epochs=3, batch_size=8, lr=0.05, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="last", seed=1,
)  # fmt: skip
CPU = torch.device("cpu")


class MeanNoise(nn.Module):
    """A line through the image's SD."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.line(images.flatten(1).std(1, keepdim=True) * 10)[:, 0]


def squared_error(images, device):
    scores = torch.tensor(images.table["noise"].to_numpy(dtype=float), device=device).float()
    return lambda model, batch, indices: nn.functional.mse_loss(model(batch), scores[torch.as_tensor(indices)])


@pytest.fixture
def images(scored_run):
    return open_scored_images(scored_run / "variants", scored_run / "split", scored_run / "captions")


def run(images, **changes):
    model = build_seeded(MeanNoise, 0)
    recipe = dataclasses.replace(RECIPE, **changes)
    curve = fit(model, squared_error, train=images.subset("train"), val=images.subset("val"), recipe=recipe, device=CPU)
    return model, curve


def test_learning_rate_follows_the_paper():
    recipe = dataclasses.replace(RECIPE, epochs=50, lr=2e-4, warmup_epochs=2)
    assert learning_rate(recipe, 0) == pytest.approx(1e-5)
    assert learning_rate(recipe, 2) == pytest.approx(2e-4)
    assert learning_rate(recipe, 26) == pytest.approx((2e-4 + 1e-6) / 2)
    assert learning_rate(recipe, 50) == pytest.approx(1e-6)


def test_loss_falls_and_the_curve_has_a_row_per_epoch(images):
    _, curve = run(images, epochs=12)
    assert curve["epoch"].tolist() == list(range(1, 13))
    assert curve["val_loss"].iloc[-1] < 0.5 * curve["val_loss"].iloc[0]


def test_same_seed_gives_the_same_weights_and_another_does_not(images):
    first, again, other = (run(images, seed=seed)[0].line.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fitting_leaves_the_global_random_state_alone(images):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(images)
    assert torch.equal(torch.get_rng_state(), before)


def test_best_keeps_the_epoch_with_the_lowest_val_loss(images):
    # A rate this high overshoots at the end of warm-up, so the best epoch is not the last.
    model, curve = run(images, keep="best", lr=30.0, epochs=4, clip_norm=0.0)
    val = images.subset("val")
    loss = evaluate_loss(model, squared_error(val, CPU), val, 3, CPU)
    assert loss == pytest.approx(curve["val_loss"].min(), rel=1e-4)
    assert summarise_curve(curve, dataclasses.replace(RECIPE, keep="best"))["epoch"] == curve["val_loss"].idxmin() + 1


def test_best_without_val_is_refused(images):
    with pytest.raises(ValueError, match="keep"):
        fit(
            MeanNoise(),
            squared_error,
            train=images.subset("train"),
            val=images.subset("nothing"),
            recipe=dataclasses.replace(RECIPE, keep="best"),
            device=CPU,
        )


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"batch_size": 0}])
def test_impossible_recipe_names_the_key(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(RECIPE, **change)
