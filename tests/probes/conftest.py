"""Rows that the tests of several probes share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def blobs():
    """Train and test rows of six overlapping classes, named by words, of unequal size."""
    rng = np.random.default_rng(3)
    names = np.array(["ash", "birch", "cedar", "elm", "fir", "oak"])
    codes = rng.choice(6, size=900, p=[0.3, 0.25, 0.2, 0.15, 0.06, 0.04])
    x = (rng.normal(size=(6, 10))[codes] + 0.9 * rng.normal(size=(900, 10))).astype(np.float32)
    return x[:700], names[codes[:700]], x[700:], names[codes[700:]]
