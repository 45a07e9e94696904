"""Two related representations of the same rows, and the formulas with n x n matrices, written down on their own."""

from __future__ import annotations

import numpy as np
import pytest


def related(n=150, seed=0):
    """n rows of 12 features of unequal variance, and 9 noisy linear functions of half of them; both off centre."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12)) * np.linspace(3.0, 0.3, 12) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    y = x[:, :6] @ rng.normal(size=(6, 9)) + rng.normal(size=(n, 9)) + 4.0
    return x + rng.normal(size=12), y


@pytest.fixture
def pair():
    return related()
