"""Norm-weighted sums of several models at once, and the formulas that move them; see `featdiv.stats.cross_moments`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from featdiv.stats.moments import Float64Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CrossNormSums:
    """Sums weighted by the squared norms of one model or two, about the means.

    Attributes:
        weighted: (M, D) float64; row a is the sum of k_a z over the joint rows z of D features in all.
        fourth: (M, M) float64, symmetric; entry (a, b) is the sum of k_a k_b.
    """

    weighted: Float64Array
    fourth: Float64Array

    def __post_init__(self) -> None:
        self.weighted.setflags(write=False)
        self.fourth.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @classmethod
    def zeros(cls, sizes: Sequence[int]) -> CrossNormSums:
        """Returns the sums of no rows."""
        return cls(weighted=np.zeros((len(sizes), sum(sizes))), fourth=np.zeros((len(sizes), len(sizes))))

    def moved(self, offset: Float64Array, n: int, scatter: Float64Array, sizes: Sequence[int]) -> CrossNormSums:
        """Returns the sums about ``mean - offset``, where z becomes z + offset (the z still sum to zero).

        Args:
            offset: (D,).
            n: rows.
            scatter: (D, D) joint scatter about the mean.
            sizes: features of each model.
        """
        squares, traces, along = _projections(offset, scatter, sizes)
        mixed = _by_model(self.weighted * offset, sizes)
        bent = _by_model(along * offset, sizes)
        return CrossNormSums(
            weighted=self.weighted + 2.0 * along + (traces + n * squares)[:, None] * offset,
            fourth=np.maximum(
                self.fourth
                + 2.0 * (mixed + mixed.T)
                + 2.0 * (bent + bent.T)
                + _both_ways(traces, squares)
                + n * np.outer(squares, squares),
                0.0,
            ),
        )

    def centred(self, offset: Float64Array, n: int, scatter: Float64Array, sizes: Sequence[int]) -> CrossNormSums:
        """Returns the sums about the mean, these being about ``mean - offset``: `moved` undone.

        Args:
            offset: (D,) mean of z about that point.
            n: rows.
            scatter: (D, D) joint scatter about the mean.
            sizes: features of each model.
        """
        squares, traces, along = _projections(offset, scatter, sizes)
        mixed = _by_model(self.weighted * offset, sizes)
        bent = _by_model(along * offset, sizes)
        return CrossNormSums(
            weighted=self.weighted - 2.0 * along - (traces + n * squares)[:, None] * offset,
            fourth=np.maximum(
                self.fourth
                - 2.0 * (mixed + mixed.T)
                + 2.0 * (bent + bent.T)
                + _both_ways(traces, squares)
                + 3.0 * n * np.outer(squares, squares),
                0.0,
            ),
        )

    def __add__(self, other: CrossNormSums) -> CrossNormSums:
        return CrossNormSums(weighted=self.weighted + other.weighted, fourth=self.fourth + other.fourth)

    def __sub__(self, other: CrossNormSums) -> CrossNormSums:
        return CrossNormSums(weighted=self.weighted - other.weighted, fourth=self.fourth - other.fourth)


def slices(sizes: Sequence[int]) -> list[slice]:
    """Returns where each model's features lie in a joint row."""
    edges = np.cumsum([0, *sizes]).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _by_model(values: Float64Array, sizes: Sequence[int]) -> Float64Array:
    """Returns sums over the features of each model, which are the last axis: (..., D) to (..., M)."""
    starts = np.cumsum([0, *sizes[:-1]])
    return np.asarray(np.add.reduceat(values, starts, axis=-1))


def _both_ways(a: Float64Array, b: Float64Array) -> Float64Array:
    """Returns a b^T + b a^T, added first so that the sum it joins stays symmetric to the last bit."""
    product = np.outer(a, b)
    return np.asarray(product + product.T)


def _projections(
    offset: Float64Array, matrix: Float64Array, sizes: Sequence[int]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Returns s (M,), t (M,) and u (M, D) of the formulas in the head of `featdiv.stats.cross_moments`."""
    squares = _by_model(offset * offset, sizes)
    traces = _by_model(matrix.diagonal(), sizes)
    along = np.stack([matrix[:, at] @ offset[at] for at in slices(sizes)])
    return squares, traces, along
