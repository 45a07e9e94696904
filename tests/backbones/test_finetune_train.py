from __future__ import annotations

import importlib.util
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import featdiv
from featdiv.backbones import finetune_job
from featdiv.backbones.finetune_train import Training
from featdiv.errors import FormatError

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")

WORKER = Path(__file__).with_name("finetune_worker.py")
spec = importlib.util.spec_from_file_location("finetune_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)


@pytest.fixture
def plain():
    """One run on all 30 images of a network without random parts, judged on 12 others."""

    def trained(network, **arguments):
        given = {
            "transform": worker.to_tensor,
            "augmentation": "none",
            "steps": 12,
            "batch_size": 7,
            "lr": 0.1,
            "weight_decay": 1e-2,
            "refit": False,
            "warmup": 0.25,
            "device": "cpu",
        }
        return featdiv.finetune(network, worker.coloured(30, 1), val=worker.coloured(12, 2), **{**given, **arguments})

    return trained


def simple():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def start_of(network, monkeypatch):
    """The weights with which training begins are drawn by the code; they are caught here, and only they."""
    caught = []
    begin = Training.__init__

    def beginning(self, *arguments):
        begin(self, *arguments)
        caught.append({name: value.clone() for name, value in self.network.state_dict().items()})

    monkeypatch.setattr(Training, "__init__", beginning)
    return caught


def by_hand(network, data, *, lr, weight_decay, steps, batch_size, warm, optimizer, decayed):
    """The same training as a bare loop over torch's own optimisers."""
    weights = [value for name, value in network.named_parameters() if decayed(name)]
    others = [value for name, value in network.named_parameters() if not decayed(name)]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = optimizer(groups)
    n = len(data)
    order = np.concatenate([np.random.default_rng([0, epoch]).permutation(n) for epoch in range(9)])
    x = torch.stack([worker.to_tensor(image) for image, _ in data])
    y = torch.from_numpy(np.asarray(data.labels))
    network.train()
    for step in range(steps):
        if step < warm:
            rate = lr / (warm + 1) * (1 + step * warm / warm)
        else:
            rate = lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = order[step * batch_size : (step + 1) * batch_size]
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimiser.step()
    return network.state_dict()


@pytest.mark.parametrize(
    ("arguments", "optimizer", "coefficient", "decayed"),
    [
        ({}, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True), 0.1, "weight"),
        ({"nesterov": False}, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9), 0.1, "weight"),
        (
            {"optimizer": "adamw", "weight_decay_divided_by_lr": False, "decay_biases": True},
            lambda groups: torch.optim.AdamW(groups, lr=1.0),
            1e-2,
            "",
        ),
    ],
)
def test_the_weights_are_those_of_a_bare_loop(plain, monkeypatch, arguments, optimizer, coefficient, decayed):
    caught = start_of(simple(), monkeypatch)
    found = plain(simple(), **arguments)
    reference = simple()
    reference.load_state_dict(caught[0])
    expected = by_hand(
        reference,
        worker.coloured(30, 1),
        lr=0.1,
        weight_decay=coefficient,
        steps=12,
        batch_size=7,
        warm=3,
        optimizer=optimizer,
        decayed=lambda name: name.endswith(decayed),
    )
    assert found.trials[0].coefficient == pytest.approx(coefficient)
    for name, value in found.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_frozen_trains_the_classifier_alone_and_leaves_the_statistics(plain):
    network = worker.network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    frozen, full = (plain(network, mode=mode).module.state_dict() for mode in ("frozen", "full"))
    kept = [name for name in before if not name.startswith("6.")]
    assert all(torch.equal(frozen[name], before[name]) for name in kept)
    assert not any(torch.equal(full[name], before[name]) for name in kept)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_scratch_begins_elsewhere_for_each_seed(plain, monkeypatch):
    network = worker.network(7)
    caught = start_of(network, monkeypatch)
    plain(network, mode="scratch", seed=(0, 1))
    first, second = caught
    given = network.state_dict()["0.weight"]
    assert not torch.equal(first["0.weight"], given)
    assert not torch.equal(second["0.weight"], first["0.weight"])
    assert float(first["0.weight"].abs().max()) <= 1 / math.sqrt(27)


def same(one, other):
    """Whether two results agree in everything but the time that they took."""
    for name, value in one.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name
    assert np.array_equal(one.predictions, other.predictions)
    for left, right in ((one.table(), other.table()), (curve(one), curve(other))):
        for row in (*left, *right):
            row.pop("seconds")
        assert left == right
    timed = ("seconds", "seconds_to_90")
    assert {k: v for k, v in one.scores.items() if k not in timed} == {
        k: v for k, v in other.scores.items() if k not in timed
    }
    return True


def curve(result):
    return [vars(point).copy() for point in result.curve]


@pytest.fixture(scope="module")
def uninterrupted():
    return worker.finetuned()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a call that ended."""
    out = tmp_path_factory.mktemp("finished")
    worker.finetuned(out=out)
    return out


@pytest.fixture
def kept(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "kept")


def test_a_run_that_is_interrupted_again_and_again_gives_the_same(uninterrupted, tmp_path):
    class InterruptedHereError(Exception):
        pass

    def after(count):
        calls = 0

        def progress(done, total):
            nonlocal calls
            calls += 1
            if calls == count:
                raise InterruptedHereError

        return progress

    interruptions = 0
    for count in (8, 3, 17, 9, 22, 14, 7, 23, 19, 11):
        try:
            worker.finetuned(out=tmp_path, progress=after(count))
        except InterruptedHereError:
            interruptions += 1
    assert interruptions >= 5
    assert same(worker.finetuned(out=tmp_path), uninterrupted)
    assert not list(tmp_path.glob("*/checkpoint-*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_is_killed_goes_on_where_it_was(uninterrupted, tmp_path):
    for last in (13, 50):
        code = f"import finetune_worker; finetune_worker.main({str(tmp_path)!r}, {last})"
        killed = subprocess.run([sys.executable, "-c", code], cwd=WORKER.parent, check=False)
        assert killed.returncode == -9
    (checkpoint,) = tmp_path.glob("*/checkpoint-*.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    done = []
    again = worker.finetuned(out=tmp_path, progress=lambda steps, total: done.append(steps))
    assert done[0] > 10
    assert same(again, uninterrupted)


def test_a_finished_call_is_read(kept, uninterrupted, monkeypatch):
    monkeypatch.setattr(Training, "finish", None)
    found = worker.finetuned(out=kept)
    assert same(found, uninterrupted)
    assert [torch.load(path, weights_only=True).keys() for path in found.weights] == [
        found.module.state_dict().keys()
    ] * 2
    with pytest.raises(TypeError):
        worker.finetuned(out=kept, label_smoothing=0.1)


def test_runs_of_another_version_are_left_alone(kept, uninterrupted, monkeypatch):
    (old,) = kept.iterdir()
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    monkeypatch.setattr(finetune_job, "FORMAT", "another layout")
    assert same(worker.finetuned(out=kept), uninterrupted)
    assert len(list(kept.iterdir())) == 2
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


@pytest.mark.parametrize(("pattern", "content"), [("run-*.json", b"{"), ("weights-*.pt", b"PK")])
def test_a_damaged_file_is_named(kept, pattern, content):
    path = sorted(kept.glob(f"*/{pattern}"))[0]
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"featdiv.finetune: out: .*{path.name}: damaged .*; delete it"):
        worker.finetuned(out=kept)


@pytest.mark.slow
def test_workers_change_nothing(uninterrupted):
    assert same(worker.finetuned(workers=2), uninterrupted)


def test_the_generators_of_the_caller_are_left_alone():
    def drawn():
        return torch.rand(()).item(), random.random(), np.random.uniform()

    def seeded():
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)

    seeded()
    expected = drawn()
    data, network = worker.coloured(40, 1), worker.network()
    seeded()
    featdiv.finetune(network, data, **{**worker.ARGUMENTS, "steps": 2})
    assert drawn() == expected


def test_another_seed_is_another_run(uninterrupted):
    first, second = (uninterrupted.trials[i] for i in (-2, -1))
    assert (first.seed, second.seed) == (0, 1)
    assert first.loss != second.loss
