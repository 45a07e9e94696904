"""A small fine-tuning on images of noise, and one that kills its own process at the step given."""

from __future__ import annotations

import os
import signal

import numpy as np
import torch
from torch import nn

import featdiv


def coloured(n, seed, classes=3):
    """Images (n, 6, 6, 3) of noise in which channel i is brighter for class i."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = random.uniform(0, 160, size=(n, 6, 6, 3))
    pixels[np.arange(n), :, :, labels] += 60
    return featdiv.images(pixels.astype(np.uint8), labels=labels)


def network(seed=0):
    """Convolution, batch normalisation, dropout, classifier of five classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(8, 5),
    )  # fmt: skip


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255.0


def flipped_at_random(image):
    x = to_tensor(image)
    return (x.flip(2) if torch.rand(()) < 0.5 else x) * float(np.random.uniform(0.9, 1.1))


ARGUMENTS = {
    "transform": to_tensor,
    "augmentation": flipped_at_random,
    "steps": 30,
    "batch_size": 8,
    "lr": (0.01, 0.05),
    "weight_decay": (1e-5,),
    "halving": 2,
    "ema": 0.9,
    "seed": (0, 1),
    "eval_every": 6,
    "checkpoint_every": 5,
    "device": "cpu",
}


def finetuned(**arguments):
    return featdiv.finetune(network(), coloured(40, 1), test=coloured(20, 2), **{**ARGUMENTS, **arguments})


def main(out, last):
    def progress(done, total):
        if done >= last:
            os.kill(os.getpid(), signal.SIGKILL)

    finetuned(out=out, progress=progress)
