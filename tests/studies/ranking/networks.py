"""Networks whose use is known on paper, and images of two colours, for the tests of rankings.

As a script it ranks two networks in children that are killed at random moments, then once more to the end. Arguments:
folder of the ranking, seed, number of kills. It prints JSON: how many children were killed while they worked, and the
ranking.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

import numpy as np
import torch
from torch import nn

import featdiv


class Colours(nn.Module):
    """Features: the mean of each channel, which tells the classes apart; blurred by what the position says."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.mix = nn.Linear(3, 6, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(6)[:, :3] + 0.1)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Pixels are noise that the class does not know: the larger its share, the worse the features.
        return self.fc(self.mix((1.0 - self.noise) * x.mean(dim=(2, 3)) + self.noise * x[:, :, 0, 0]))


class Broken(Colours):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this layer was never finished")


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255.0


def two_colours(n: int = 60, classes: int = 2) -> featdiv.Images:
    """Noisy images; class 0 is red on average, class 1 green."""
    rng = np.random.default_rng(5)
    labels = np.arange(n) % classes
    pixels = rng.uniform(0, 200, size=(n, 8, 8, 3))
    pixels[np.arange(n), :, :, labels] += 25.0
    return featdiv.images(pixels.astype(np.uint8), labels=labels)


EXTRACTION = {"transform": to_tensor, "workers": 0, "batch_size": 16}


def rank(out, progress=None):
    torch.manual_seed(0)
    return featdiv.rank_models(
        {"clear": Colours(), "blurred": Colours(0.8)},
        two_colours(),
        scores=["effective_rank", "vendi", "logme", "filter_cosine"],
        folds=3,
        draws=500,
        extraction=EXTRACTION,
        out=out,
        progress=progress,
    )


def main(out, seed, kills):
    torch.set_num_threads(1)
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            rank(out, lambda *_, end=writer: os.write(end, b"."))
            os._exit(0)
        os.close(writer)
        for _ in range(rng.randint(3, 14)):
            os.read(reader, 1)
        time.sleep(rng.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(reader)
        killed += os.WIFSIGNALED(status)
    print(json.dumps({"killed": killed, "ranking": rank(out).to_dict()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
