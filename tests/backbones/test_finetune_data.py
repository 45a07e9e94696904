from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import featdiv
from featdiv.backbones.finetune_data import Draws, training_batches
from featdiv.backbones.finetune_division import Pool
from featdiv.errors import InputError


def pool_of(n, keep=False):
    """Images whose pixels are all their own number."""
    pixels = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 2, 2))
    data = featdiv.images(np.ascontiguousarray(pixels), labels=np.arange(n) % 2)
    return Pool([data], np.arange(n) % 2, keep=keep)


def number(image):
    return torch.tensor(np.asarray(image)[0, 0, 0]).float().view(1, 1, 1)


def test_each_epoch_has_every_image_once_in_another_order():
    draws = Draws(pool_of(12), number, 3, "demo")
    rows = [draws.row(draw) for draw in range(36)]
    epochs = [rows[:12], rows[12:24], rows[24:]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = Draws(pool_of(12), number, 4, "demo")
    assert [other.row(draw) for draw in range(12)] != epochs[0]


def test_batches_begin_anywhere_and_run_over_the_end_of_an_epoch():
    def batches(steps):
        draws = Draws(pool_of(10), number, 0, "demo")
        return [
            (x.flatten().tolist(), y.tolist())
            for x, y in training_batches(draws, steps, batch_size=4, workers=0, device="cpu")
        ]

    whole = batches(range(5))
    assert [len(x) for x, _ in whole] == [4] * 5
    assert Counter(value for x, _ in whole for value in x) == dict.fromkeys(range(10), 2)
    assert all(y == [value % 2 for value in x] for x, y in whole)
    assert batches(range(3, 5)) == whole[3:]


def test_augmentation_depends_on_the_draw_alone():
    def noisy(image):
        return number(image) + torch.rand(()) + np.random.uniform()

    draws = Draws(pool_of(6), noisy, 0, "demo")
    first = [draws[i][0].item() for i in range(6)]
    assert [draws[i][0].item() for i in reversed(range(6))] == first[::-1]
    assert len({value % 1 for value in first}) == 6
    assert [Draws(pool_of(6), noisy, 1, "demo")[i][0].item() for i in range(6)] != first


def test_prepared_tensors_and_images_are_told_apart():
    class Tensors:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.zeros(3, 6, 6), index % 2

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 2))
    given = {"steps": 1, "lr": 0.1, "weight_decay": 0, "augmentation": "none", "device": "cpu", "holdout": 0.5}
    found = featdiv.finetune(network, Tensors(), transform=None, **given)
    assert found.provenance.n == 4
    with pytest.raises(InputError, match=r"transform: the data holds tensors; pass transform=None"):
        featdiv.finetune(network, Tensors(), transform=number, **given)
    images = featdiv.images(np.zeros((4, 6, 6), dtype=np.uint8), labels=[0, 1, 0, 1])
    with pytest.raises(InputError, match=r"transform: the data holds PIL images; leave transform= at 'model'"):
        featdiv.finetune(network, images, transform=None, **given)
