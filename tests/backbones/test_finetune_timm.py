"""The loop of timm's training script, made of the functions that it calls, on the same network and the same batches."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import featdiv
from featdiv.backbones import finetune_train

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

SMALL = {"input_size": (3, 32, 32), "crop_pct": 1.0, "interpolation": "bilinear"}
EPOCHS, UPDATES, BATCH, LR = 4, 5, 8, 0.1


def flags(**changed):
    """Arguments of the script, with its defaults where they matter."""
    given = {
        "opt": "sgd",
        "opt_eps": None,
        "opt_betas": None,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "lr": LR,
        "sched": "cosine",
        "sched_on_updates": True,
        "epochs": EPOCHS - 1,
        "warmup_epochs": 1,
        "warmup_prefix": True,
        "warmup_lr": LR / (UPDATES + 1),
        "min_lr": 0.0,
        "cooldown_epochs": 0,
        "decay_rate": 0.1,
        "decay_epochs": 90,
        "decay_milestones": [90, 180, 270],
        "patience_epochs": 10,
        "eval_metric": "top1",
        "lr_noise": None,
        "lr_noise_pct": 0.67,
        "lr_noise_std": 1.0,
        "lr_cycle_mul": 1.0,
        "lr_cycle_decay": 0.5,
        "lr_cycle_limit": 1,
        "lr_k_decay": 1.0,
        "seed": 0,
    }
    return SimpleNamespace(**{**given, **changed})


def trained_by_timm(network, batches, args):
    """``train_one_epoch`` of the script for every epoch: forward, loss, backward, step, schedule by updates."""
    optimizer = create_optimizer_v2(network, **optimizer_kwargs(cfg=args))
    scheduler, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args), updates_per_epoch=UPDATES)
    assert epochs == EPOCHS
    network.train()
    loss_fn = torch.nn.CrossEntropyLoss()
    for update, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        loss_fn(network(x), y).backward()
        optimizer.step()
        scheduler.step_update(num_updates=update + 1)
        if (update + 1) % UPDATES == 0:
            scheduler.step((update + 1) // UPDATES)
    return network.state_dict()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({}, {}), ({"optimizer": "adamw", "lr": 1e-3}, {"opt": "adamw", "lr": 1e-3, "warmup_lr": 1e-3 / 6})],
)
def test_the_weights_are_those_of_the_loop_of_timms_script(monkeypatch, ours, theirs):
    start, batches = [], []
    begin, draw = finetune_train.Training.__init__, finetune_train.training_batches

    def beginning(self, *arguments):
        begin(self, *arguments)
        start.append({name: value.clone() for name, value in self.network.state_dict().items()})

    def drawn(*arguments, **options):
        for batch in draw(*arguments, **options):
            batches.append(batch)
            yield batch

    monkeypatch.setattr(finetune_train.Training, "__init__", beginning)
    monkeypatch.setattr(finetune_train, "training_batches", drawn)
    pixels = np.random.default_rng(0).integers(0, 256, size=(UPDATES * BATCH + 10, 16, 16, 3), dtype=np.uint8)
    data = featdiv.images(pixels, labels=np.arange(len(pixels)) % 5)
    rows = np.arange(len(data))
    given = {"steps": EPOCHS * UPDATES, "batch_size": BATCH, "lr": LR, "weight_decay": 5e-4, "warmup": 1 / EPOCHS}
    found = featdiv.finetune(
        "test_resnet",
        data.subset(rows[: UPDATES * BATCH]),
        val=data.subset(rows[UPDATES * BATCH :]),
        mode="scratch",
        transform=SMALL,
        weight_decay_divided_by_lr=False,
        refit=False,
        device="cpu",
        **{**given, **ours},
    )
    import timm

    network = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    network.load_state_dict(start[0])
    assert len(batches) == EPOCHS * UPDATES
    for name, value in trained_by_timm(network, batches, flags(**theirs)).items():
        torch.testing.assert_close(found.module.state_dict()[name], value, rtol=1e-5, atol=1e-6)
