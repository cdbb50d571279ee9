"""Several processes fit what one does."""

import numpy as np
import pytest
import torch
from torch import distributed

from iqagpt import processes
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.fitting import TrainParams, caption_loss
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.errors import InputError
from iqagpt.scored_images import open_scored_images
from iqagpt.training import Fitting, build_seeded

STEPS = 20
ENCODER, TEXT = EncoderParams("conv", 16, 32, 1, 2), TextParams(32, 1, 1, 2, 64, 0.0)
PARAMS = TrainParams(
    epochs=50, batch_size=7, lr=1e-3, warmup_epochs=1, warmup_lr=1e-5, min_lr=1e-6, weight_decay=0.02, beta2=0.95,
    clip_norm=1.0, augment=True, keep="last", seed=1,
)  # fmt: skip


def fit_steps(run):
    """Return the losses of the first steps and of the validation after them; batches of 7 and 6 do not divide by two."""
    images = open_scored_images(run / "variants", run / "split", run / "captions")
    tokenizer = CaptionTokenizer.load(run / "captions")
    model = build_seeded(lambda: Captioner(ENCODER, TEXT, image_size=64, vocabulary_size=tokenizer.size), 0)
    fitting = Fitting(
        model,
        lambda subset, device: caption_loss(subset, tokenizer, device),
        train=images.subset("train"),
        val=images.subset("val"),
        recipe=PARAMS,
        device=torch.device("cpu"),
    )
    losses, val = [], 0.0
    while len(losses) < STEPS:
        val = fitting.run_epoch()["val_loss"]
        losses.extend(fitting.step_losses)
    return np.array([*losses[:STEPS], val])


def work(rank, run, place):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
    np.save(place / f"{rank}.npy", fit_steps(run))
    distributed.destroy_process_group()


def test_two_processes_have_the_losses_of_one(scored_run, tmp_path):
    torch.multiprocessing.spawn(work, (scored_run, tmp_path), nprocs=2)
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in range(2))
    alone = fit_steps(scored_run)
    assert np.array_equal(first, second)
    assert np.abs(first / alone - 1).max() < 1e-5
    assert alone[STEPS - 1] < alone[0]


def test_one_process_is_the_first_of_one():
    with processes.process_group() as first:
        assert first
        assert (processes.rank(), processes.count()) == (0, 1)
        assert processes.share(np.arange(5)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", ["0", "two", "-1"])
def test_a_wrong_number_of_processes_is_refused(monkeypatch, number):
    monkeypatch.setenv("IQAGPT_PROCESSES", number)
    message = f"IQAGPT_PROCESSES: expected a whole number above 0, got '{number}'"
    with pytest.raises(InputError, match=message), processes.process_group():
        pytest.fail("a group of that size")


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("IQAGPT_PROCESSES", "3")
    monkeypatch.setattr(processes, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="3 processes, but 2 GPU"), processes.process_group():
        pytest.fail("GPUs that are not there")


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    from iqagpt import device

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert device._of_this_process("cuda") == "cuda:1"
    assert device._of_this_process("cpu") == "cpu"
    monkeypatch.setenv("IQAGPT_DEVICE", "cuda:0")
    with pytest.raises(InputError, match="one GPU for several processes"):
        device.pick_device()


def test_shared_batch_norm_is_batch_norm():
    torch.manual_seed(0)
    plain = torch.nn.BatchNorm2d(3)
    torch.nn.init.normal_(plain.weight)
    shared = processes.SharedBatchNorm2d.like(plain)
    images = torch.randn(4, 3, 5, 5) * 3 + 100
    for norm in (plain, shared):
        norm(images).square().sum().backward()
    assert torch.allclose(plain(images), shared(images), atol=1e-4)
    assert torch.allclose(plain.weight.grad, shared.weight.grad, rtol=1e-4)
    for name, buffer in plain.named_buffers():
        assert torch.allclose(buffer.float(), shared.get_buffer(name).float(), rtol=1e-5), name
