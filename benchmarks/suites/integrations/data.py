"""The inputs: images as a matrix of pixels, and the labels to train on."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np

from harness.registry import Data, UnavailableError

BATCH = 32
CLASSES = 1000
_SIDE, _QUICK_SIDE = 128, 64
_STEPS, _QUICK_STEPS = 8, 3


def pictures(folder: Path, quick: bool) -> Data:
    """Noise images of 128 x 128 pixels."""
    if importlib.util.find_spec("timm") is None:
        raise UnavailableError("timm is not installed")
    return _written(folder, *((_QUICK_STEPS, _QUICK_SIDE) if quick else (_STEPS, _SIDE)))


def primer(folder: Path) -> Data:
    """One batch of small images."""
    folder = folder / "primer"
    folder.mkdir()
    return _written(folder, 1, 32)


def side(job: Data) -> int:
    """Returns the height and width of the images."""
    return math.isqrt(job.d // 3)


def _written(folder: Path, steps: int, pixels: int) -> Data:
    random = np.random.default_rng(0)
    n, d = steps * BATCH, 3 * pixels * pixels
    np.save(folder / "rows.npy", random.standard_normal((n, d), dtype=np.float32))
    np.save(folder / "labels.npy", random.integers(CLASSES, size=n))
    return Data(path=str(folder / "rows.npy"), n=n, d=d, dtype="float32", labels=str(folder / "labels.npy"))
