from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import featdiv
from featdiv.backbones.forward import Room
from featdiv.errors import BudgetExceeded, InputError

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")

spec = importlib.util.spec_from_file_location("finetune_worker", Path(__file__).with_name("finetune_worker.py"))
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

GIVEN = {
    "transform": worker.to_tensor,
    "augmentation": "none",
    "steps": 9,
    "batch_size": 7,
    "lr": 0.1,
    "weight_decay": 1e-3,
    "refit": False,
    "device": "cpu",
}


class BackwardFails(torch.autograd.Function):
    """Passes through; its gradient asks for more memory than there is where the batch is larger than the limit."""

    @staticmethod
    def forward(context, x, limit):
        context.limit = limit
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        if len(gradient) > context.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return gradient, None


class Net(nn.Module):
    """Convolution, perhaps batch normalisation and dropout, classifier; takes ``limit`` images at once, and no more."""

    def __init__(self, limit=1000, *, norm=False, dropout=0.0, evaluated=1000):
        super().__init__()
        torch.manual_seed(0)
        self.limit, self.evaluated = limit, evaluated
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        if not self.training and len(x) > self.evaluated:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        x = self.norm(self.conv(x)).tanh().mean(dim=(2, 3))
        return self.fc(BackwardFails.apply(self.dropout(x), self.limit) if self.training else x)


def tuned(network, **arguments):
    return featdiv.finetune(network, worker.coloured(30, 1), val=worker.coloured(12, 2), **{**GIVEN, **arguments})


def weights(result):
    return result.module.state_dict()


def test_gradients_of_parts_add_up_to_the_step_of_the_batch():
    whole, parts = tuned(Net()), tuned(Net(limit=3))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-4, atol=1e-6)
    assert whole.trials[0].images_at_once is None
    assert [trial.images_at_once for trial in parts.trials] == [3, 3]
    assert parts.curve[-1].train_loss == pytest.approx(whole.curve[-1].train_loss, rel=1e-5)
    assert not any("memory" in note for note in whole.provenance.notes)
    (note,) = [note for note in parts.provenance.notes if "memory did not suffice" in note]
    assert "the gradients of 3 images at once were added up in 2 of 2 runs" in note


def test_a_failed_attempt_leaves_no_trace():
    """Its forward pass has moved running statistics and drawn dropout before its backward pass ran out of memory."""
    found = tuned(Net(limit=3, norm=True, dropout=0.3))

    class Knows(Room):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.images = 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featdiv.backbones.forward.Room", Knows)
        expected = tuned(Net(limit=3, norm=True, dropout=0.3))
    for name, value in weights(expected).items():
        assert torch.equal(weights(found)[name], value), name


def test_running_statistics_forget_as_much_in_parts_as_in_one_batch():
    pixels = np.full((8, 6, 6, 3), 200, dtype=np.uint8)
    same = featdiv.images(pixels, labels=np.arange(8) % 2)
    arguments = {**GIVEN, "steps": 1, "batch_size": 8, "val": same}
    network = Net(limit=2, norm=True)
    found = featdiv.finetune(network, same, **arguments).module
    mean = network.conv(torch.full((1, 3, 6, 6), 200 / 255)).mean(dim=(0, 2, 3))
    assert found.norm.momentum == 0.1
    torch.testing.assert_close(found.norm.running_mean, 0.1 * mean)


def test_evaluation_is_halved_too():
    whole, parts = tuned(Net()), tuned(Net(evaluated=2))
    assert parts.read("val_map") == whole.read("val_map")
    assert parts.trials[0].loss == pytest.approx(whole.trials[0].loss, rel=1e-6)
    assert parts.trials[0].images_at_once is None


def test_an_interrupted_run_splits_its_batches_as_before(tmp_path):
    class InterruptedHereError(Exception):
        pass

    def stop(done, total):
        if done == 7:
            raise InterruptedHereError

    arguments = {"refit": True, "checkpoint_every": 2}
    expected = tuned(Net(limit=3, dropout=0.3), **arguments)
    with pytest.raises(InterruptedHereError):
        tuned(Net(limit=3, dropout=0.3), out=tmp_path, progress=stop, **arguments)
    for _ in range(2):
        found = tuned(Net(limit=3, dropout=0.3), out=tmp_path, **arguments)
        assert [trial.images_at_once for trial in found.trials] == [3, 3]
        for name, value in weights(expected).items():
            assert torch.equal(weights(found)[name], value), name


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(BudgetExceeded, match=r"finetune: device: one image of shape \(3, 6, 6\) needs more memory"):
        tuned(Net(limit=0))


def test_an_optimiser_that_does_not_fit_is_an_error(monkeypatch):
    def never(self, closure=None):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", never)
    with pytest.raises(BudgetExceeded, match=r"optimizer: what 'adamw' keeps of each weight does not fit"):
        tuned(Net(), optimizer="adamw", lr=1e-3)


@pytest.mark.parametrize("changed", [{"compile": "eager"}, {"channels_last": True}])
def test_compile_and_channels_last_change_nothing(changed):
    plain, other = (tuned(worker.network(), mode="full", seed=(0, 1), **arguments) for arguments in ({}, changed))
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=1e-4, atol=1e-5)
    assert other.provenance.arguments[next(iter(changed))] == next(iter(changed.values()))


def test_channels_last_reaches_the_network(monkeypatch):
    seen = []
    forward = Net.forward

    def watched(self, x):
        seen.append((x.is_contiguous(memory_format=torch.channels_last), self.training))
        return forward(self, x)

    monkeypatch.setattr(Net, "forward", watched)
    tuned(Net(), channels_last=True, steps=1)
    assert (True, True) in seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compile": "fastest"}, r"compile: expected True, False or a backend of torch.compile .*; got 'fastest'"),
        ({"compile": 3}, r"compile: expected True, False"),
        ({"channels_last": "yes"}, r"channels_last: expected True or False; got 'yes'"),
    ],
)
def test_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(InputError, match="featdiv.finetune: " + message):
        tuned(Net(), **arguments)
