"""Small image folders whose pixels say what they are, and a network whose features are known on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import featdiv

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")


def picture(seed, size=12):
    """An RGB image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8))


@pytest.fixture
def write():
    """Writes an image file of noise, and the folders above it."""

    def written(path, seed=0, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path, **options)
        return path

    return written


@pytest.fixture
def folder(tmp_path, write):
    """train: 3 cats, 2 dogs; test: 1 cat, 2 dogs."""
    counts = {"train": {"cat": 3, "dog": 2}, "test": {"cat": 1, "dog": 2}}
    seed = 0
    for split, classes in counts.items():
        for name, count in classes.items():
            for index in range(count):
                write(tmp_path / "pets" / split / name / f"{index}.png", seed)
                seed += 1
    return tmp_path / "pets"


class Means(nn.Module):
    """Features: the mean of each channel, and three times that of the first; then a classifier."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 4, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.cat([torch.eye(3), torch.tensor([[3.0, 0.0, 0.0]])]))
        self.fc = nn.Linear(4, 2)
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.fc(self.mix(x.mean(dim=(2, 3))))


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255.0


@pytest.fixture
def means():
    torch.manual_seed(0)
    return Means()


@pytest.fixture
def scaled():
    """PIL image to a tensor in [0, 1]."""
    return to_tensor


@pytest.fixture
def pixels():
    """50 images of noise, each of another brightness."""
    random = np.random.default_rng(3)
    noise = random.uniform(size=(50, 6, 6, 3)) * random.uniform(size=(50, 1, 1, 3))
    return (noise * 255).astype(np.uint8)


@pytest.fixture
def expected(pixels):
    """What `Means` makes of the pixels before its classifier, in float64."""
    means = pixels.mean(axis=(1, 2), dtype=np.float64) / 255.0
    return np.concatenate([means, 3.0 * means[:, :1]], axis=1)


@pytest.fixture
def run(means, pixels, scaled):
    """Extracts from the 50 images with the network of known features; its batches are in ``means.batches``."""

    def extracted(**arguments):
        means.batches.clear()
        data = arguments.pop("data", None) or featdiv.images(pixels, labels=np.arange(50) % 3)
        arguments = {"transform": scaled, "batch_size": 8, "shard_rows": 10, "workers": 0, **arguments}
        return featdiv.extract(means, data, **arguments)

    return extracted
