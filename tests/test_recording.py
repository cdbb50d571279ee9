"""A recorded step does what the ordinary one does."""

import logging

import pytest
import torch

from iqagpt import recording
from iqagpt.recording import WARM_UP, Recorded
from iqagpt.training import adamw, restore_optimizer, set_learning_rate

CPU, needs_gpu = torch.device("cpu"), pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def step_of(device, seed=0):
    """Return a model and a step on it whose learning rate changes, with dropout left out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 1)).to(device)
    optimizer = adamw(model, RECIPE, device)

    def step(inputs, targets):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, optimizer, step


class RECIPE:
    lr, weight_decay, beta2 = 1e-2, 0.02, 0.95


def losses(device, call, optimizer):
    """Fit batches of two sizes in turn, as an epoch whose images do not divide evenly."""
    generator, found = torch.Generator().manual_seed(1), []
    for number in range(24):
        size = 4 if number % 3 else 3
        set_learning_rate(optimizer, 1e-2 / (1 + number))
        pair = torch.randn(size, 8, generator=generator), torch.randn(size, 1, generator=generator)
        found.append(call(*(each.to(device) for each in pair)).item())
    return found


def test_on_a_cpu_every_call_is_an_ordinary_one():
    _, optimizer, step = step_of(CPU)
    _, other_optimizer, other = step_of(CPU)
    assert losses(CPU, Recorded(step, CPU), optimizer) == losses(CPU, other, other_optimizer)


class FakeRecording:
    """Of a GPU that is not there: notes what it was given, and answers as the function does."""

    def __init__(self, function, inputs, made):
        self.function, self.replays = function, []
        made.append(self)

    def replay(self, inputs):
        self.replays.append(inputs)
        return self.function(*inputs)


def test_each_shape_is_recorded_after_its_warm_up_and_replayed_from_then_on(monkeypatch):
    made = []
    monkeypatch.setattr(recording, "_Recording", lambda *given: FakeRecording(*given, made))
    called = Recorded(lambda x: x.sum(), torch.device("cuda"))
    for number in range(WARM_UP + 2):
        assert called(torch.full((2,), float(number))) == 2 * number
        assert called(torch.full((3,), float(number))) == 3 * number
    assert [len(each.replays) for each in made] == [2, 2]
    assert [each.replays[0][0].shape for each in made] == [(2,), (3,)]


def test_a_step_that_cannot_be_recorded_goes_on_and_says_so_once(monkeypatch, caplog):
    def refuse(function, inputs):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(recording, "_Recording", refuse)
    called = Recorded(lambda x: x + 1, torch.device("cuda"))
    with caplog.at_level(logging.WARNING):
        assert [called(torch.tensor(n)).item() for n in range(WARM_UP + 3)] == list(range(1, WARM_UP + 4))
    assert [r.message for r in caplog.records] == [
        "steps stay unrecorded and so slower: operation not permitted when stream is capturing"
    ]


def test_an_optimizer_keeps_its_own_place_when_it_goes_on_from_a_state():
    model, optimizer, step = step_of(CPU)
    losses(CPU, step, optimizer)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group.update(lr=torch.tensor(0.5), capturable=True)  # as a GPU writes it
    other = adamw(model, RECIPE, CPU)
    restore_optimizer(other, state)
    assert [(group["lr"], group["capturable"]) for group in other.param_groups] == [(RECIPE.lr, False)] * 2
    assert all(torch.equal(other.state[p]["exp_avg"], optimizer.state[p]["exp_avg"]) for p in model.parameters())


@needs_gpu
def test_on_a_gpu_replayed_steps_give_the_losses_of_ordinary_ones():
    gpu = torch.device("cuda")
    _, optimizer, step = step_of(gpu)
    _, other_optimizer, other = step_of(gpu)
    called = Recorded(step, gpu)
    assert losses(gpu, called, optimizer) == pytest.approx(losses(gpu, other, other_optimizer), rel=1e-4)
    assert len(called._recordings) == 2


@needs_gpu
def test_on_a_gpu_dropout_draws_anew_at_each_replay_and_follows_the_seed():
    gpu = torch.device("cuda")

    def draw():
        called = Recorded(lambda x: torch.nn.functional.dropout(x).sum(), gpu)
        torch.manual_seed(3)
        return [called(torch.ones(1000, device=gpu)).item() for _ in range(8)]

    first, second = draw(), draw()
    assert first == second
    assert len(set(first[WARM_UP:])) > 1
