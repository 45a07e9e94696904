"""Entropies of shares that sum to one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def entropy(shares: npt.NDArray[np.float64]) -> float:
    """Returns the Shannon entropy H(p) = -sum p ln p in nats, with 0 ln 0 = 0."""
    positive = shares[shares > 0.0]
    return max(0.0, -float(positive @ np.log(positive)))


def renyi_entropy(shares: npt.NDArray[np.float64], q: float) -> float:
    """Returns the Rényi entropy ln(sum p^q) / (1 - q) in nats, q > 0, with its limits at 1 and infinity."""
    if q == 1.0:
        return entropy(shares)
    positive = shares[shares > 0.0]
    logs = np.log(positive)
    if math.isinf(q):
        return max(0.0, -float(logs.max()))
    if abs(q - 1.0) < 0.5:
        # ln(sum p^q) vanishes with 1 - q: write it as ln(1 + sum p (p^(q-1) - 1)), which keeps its digits.
        value = math.log1p(float(positive @ np.expm1((q - 1.0) * logs))) / (1.0 - q)
    else:
        powers = q * logs
        largest = float(powers.max())
        value = (largest + math.log(float(np.exp(powers - largest).sum()))) / (1.0 - q)
    return max(0.0, value)
