"""Few-shot episodes drawn without a loop over them, and judged by nearest centroid all at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.ops.nearest_centroid import nearest_centroid

Index = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Episodes:
    """Which rows each episode takes.

    Attributes:
        classes: (e, ways) classes of each episode, all different.
        places: (e, ways, shots + queries) places among the rows of the class, all different; shots come first.
        shots: support rows of each class.
    """

    classes: Index
    places: Index
    shots: int

    @classmethod
    def draw(
        cls, counts: Index, *, ways: int, shots: int, queries: int, episodes: int, random: np.random.Generator
    ) -> Episodes:
        """Draws episodes: classes uniformly, then rows of each uniformly, both without replacement."""
        classes = distinct(random, np.full(episodes, len(counts)), ways)
        places = distinct(random, counts[classes].reshape(-1), shots + queries)
        return cls(classes=classes, places=places.reshape(episodes, ways, shots + queries), shots=shots)


def distinct(random: np.random.Generator, sizes: Index, k: int) -> Index:
    """Returns (m, k): k different integers from 0 to sizes[i] - 1 in row i, every ordered choice equally likely.

    Where k^2 is below the size, rows are drawn with replacement until nothing in them repeats, which takes 1.6 draws
    or fewer on average. Elsewhere by Floyd's sampling, for all rows side by side: step j draws from 0 to
    sizes - k + j, and takes the top of that range where the draw is there already. That makes each set equally likely;
    a shuffle makes each order so.

    Source:
        Bentley & Floyd 1987, "Programming pearls: a sample of brilliance".
    """
    chosen = np.empty((len(sizes), k), dtype=np.int64)
    crowded = k * k > sizes
    waiting = np.flatnonzero(~crowded)
    while len(waiting):
        drawn = (random.random((len(waiting), k)) * sizes[waiting, None]).astype(np.int64)
        chosen[waiting] = drawn
        drawn.sort(axis=1)
        waiting = waiting[(drawn[:, 1:] == drawn[:, :-1]).any(axis=1)]
    if crowded.any():
        chosen[crowded] = _floyd(random, sizes[crowded], k)
    return chosen


def _floyd(random: np.random.Generator, sizes: Index, k: int) -> Index:
    chosen = np.empty((len(sizes), k), dtype=np.int64)
    for j in range(k):
        top = sizes - k + j
        drawn = (random.random(len(sizes)) * (top + 1)).astype(np.int64)
        taken = (chosen[:, :j] == drawn[:, None]).any(axis=1)
        chosen[:, j] = np.where(taken, top, drawn)
    return np.take_along_axis(chosen, random.random(chosen.shape).argsort(axis=1), axis=1)


def accuracies(rows: Any, order: Index, counts: Index, drawn: Episodes) -> tuple[npt.NDArray[np.float64], str]:
    """Returns (e,) for each episode, the share of queries that are nearest to the centroid of their own class.

    Args:
        rows: (n, d) features, an array or a tensor on any device.
        order: the rows of the first class, then those of the second and so on.
        counts: how many there are of each class.
        drawn: the episodes.

    Returns:
        The shares, and the backend that found them.

    Raises:
        NonFiniteError: if a row drawn holds NaN or infinity.
        InputError: if squared distances overflow float32.
    """
    first = np.cumsum(counts) - counts
    index = order[first[drawn.classes][:, :, None] + drawn.places]
    found = nearest_centroid(rows, index, shots=drawn.shots)
    own = np.arange(index.shape[1])[:, None]
    return (found.nearest == own).mean(axis=(1, 2)), found.backend
