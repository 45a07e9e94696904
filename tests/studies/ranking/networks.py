"""Networks whose use is known on paper, and images of two colours, for the tests of rankings."""

from __future__ import annotations

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
