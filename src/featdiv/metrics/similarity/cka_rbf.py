"""CKA of Gaussian kernels, from rows: kernels are formed a block of rows at a time, never whole."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.stats import arguments
from featdiv.stats.moments import Float64Array

MEDIAN_ROWS = 2048
BLOCK_ENTRIES = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """A Gaussian kernel over rows, less one: centring takes the one away, and near it small differences keep digits.

    Attributes:
        rows: (n, d) float64, centred, which changes no distance.
        squares: (n,) squared norms.
        scale: 1 / (2 s^2).
    """

    rows: Float64Array
    squares: Float64Array
    scale: float

    def block(self, start: int, stop: int) -> Float64Array:
        """Returns rows start to stop of exp(-|x_i - x_j|^2 / (2 s^2)) - 1: (stop - start, n)."""
        distances = self.squares[start:stop, None] + self.squares - 2.0 * (self.rows[start:stop] @ self.rows.T)
        np.maximum(distances, 0.0, out=distances)
        distances *= -self.scale
        return np.expm1(distances, out=distances)


def prepare(rows: Any, *, name: str, bandwidth: float = 1.0, seed: int = 0) -> Kernel:
    """Returns the kernel of one side.

    Args:
        rows: (n, d) NumPy array.
        name: of the side, for messages.
        bandwidth: s over the median distance of two rows (over all pairs of at most 2,048 rows).
        seed: which rows, where there are more.

    Raises:
        NotEnoughData: if the median distance is zero.
    """
    centred = np.asarray(rows, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    index = np.arange(len(centred))
    if len(index) > MEDIAN_ROWS:
        index = np.sort(np.random.default_rng(seed).choice(len(index), MEDIAN_ROWS, replace=False))
    few = centred[index]
    distances = squares[index][:, None] + squares[index] - 2.0 * (few @ few.T)
    pairs = distances[np.triu_indices(len(index), 1)]
    median = float(np.median(np.maximum(pairs, 0.0))) if pairs.size else 0.0
    if not median > 0.0:
        raise NotEnoughData(
            f"the median distance between rows of {name} is zero, which leaves the kernel without width"
        )
    return Kernel(rows=centred, squares=squares, scale=0.5 / bandwidth / bandwidth / median)


def check_bandwidth(bandwidth: Any, *, function: str = "cka") -> None:
    """Raises InputError unless ``bandwidth`` is positive and finite."""
    expected = "a positive multiple of the median distance"
    arguments.number(function, "bandwidth", bandwidth, expected, lambda width: 0.0 < width < math.inf)


def core(x: Kernel, other: Kernel, **_: Any) -> float:
    """Returns the biased CKA of two kernels: the cosine of the doubly centred kernels."""
    n = len(x.rows)
    sums = np.zeros(3)
    row_sums = np.empty((2, n))
    step = max(1, BLOCK_ENTRIES // n)
    for start in range(0, n, step):
        k, l = x.block(start, start + step), other.block(start, start + step)  # noqa: E741
        sums += [np.einsum("ij,ij->", k, l), np.einsum("ij,ij->", k, k), np.einsum("ij,ij->", l, l)]
        row_sums[0, start : start + step] = k.sum(axis=1)
        row_sums[1, start : start + step] = l.sum(axis=1)
    totals = row_sums.sum(axis=1)
    # tr(H K H L) = sum K L - (2/n) 1'KL1 + (1'K1)(1'L1)/n^2 for the centring matrix H.
    kl, kk, ll = (
        sums[place] - 2.0 / n * float(row_sums[a] @ row_sums[b]) + totals[a] * totals[b] / n**2
        for place, (a, b) in enumerate(((0, 1), (0, 0), (1, 1)))
    )
    if not (kk > 0.0 and ll > 0.0):
        raise NotEnoughData("the kernel of one side is the same for all pairs of rows; take another bandwidth")
    return min(1.0, float(kl / math.sqrt(kk) / math.sqrt(ll)))
