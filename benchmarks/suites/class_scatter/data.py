"""The inputs: classes with a mean and a spectrum of their own, shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.registry import Data
from suites.spectrum import data as inputs


def classes_1000(folder: Path, quick: bool) -> Data:
    """1,000 classes of 200 rows each, 256 features."""
    return inputs.labelled(folder, classes=20 if quick else 1000, rows_per_class=200, d=256)


def classes(data: Data) -> int:
    """Returns the number of classes."""
    assert data.labels is not None
    return int(np.load(data.labels, mmap_mode="r").max()) + 1


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    return inputs.primer(folder)
