"""Few-shot episodes drawn without a loop over them, and judged by nearest centroid in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]

BATCH_BYTES = 1 << 20
"""Rows of a batch: few enough to stay in cache from the gathering to the product."""


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


def accuracies(rows: npt.NDArray[np.float32], order: Index, counts: Index, drawn: Episodes) -> npt.NDArray[np.float64]:
    """Returns (e,) the share of queries of each episode that are nearest to the centroid of their class.

    Args:
        rows: (n, d) features.
        order: the rows of the first class, then those of the second and so on.
        counts: how many there are of each class.
        drawn: the episodes.

    Raises:
        FloatingPointError: if a row drawn holds NaN or infinity.
    """
    e, ways, taken = drawn.places.shape
    shots, queries = drawn.shots, taken - drawn.shots
    first = np.cumsum(counts) - counts
    index = order[first[drawn.classes][:, :, None] + drawn.places]
    share = np.full((1, shots), 1.0 / shots, dtype=np.float32)
    centroids = np.empty((e, ways, 1, rows.shape[1]), dtype=np.float32)
    right = np.empty(e)
    own = np.repeat(np.arange(ways), queries)
    with np.errstate(invalid="ignore", over="ignore"):
        for part, support in _gathered(rows, index[:, :, :shots]):
            np.matmul(share, support, out=centroids[part])
        # Distances do not change with a common offset; float32 products would drown in a large one.
        centre = centroids.mean(axis=(0, 1, 2))
        if not np.isfinite(centre).all():
            raise FloatingPointError
        centroids = centroids[:, :, 0] - centre
        # Half of |q - c|^2 less |q|^2, with its sign turned; |q|^2 is the same for every class.
        level = 0.5 * np.einsum("ewd,ewd->ew", centroids, centroids) + centroids @ centre
        for part, asked in _gathered(rows, index[:, :, shots:]):
            nearness = centroids[part] @ asked.reshape(len(asked), len(own), -1).transpose(0, 2, 1)
            nearness -= level[part][:, :, None]
            if not np.isfinite(nearness).all():
                raise FloatingPointError
            right[part] = (nearness.argmax(axis=1) == own).mean(axis=1)
    return right


def _gathered(rows: npt.NDArray[np.float32], index: Index) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yields (which, rows[index[which]]), some episodes at a time, the second in memory that is used again."""
    d = rows.shape[1]
    at_once = max(1, BATCH_BYTES // (4 * d * index[0].size))
    held = np.empty((min(at_once, len(index)), *index.shape[1:], d), dtype=np.float32)
    for start in range(0, len(index), at_once):
        part = slice(start, min(start + at_once, len(index)))
        out = held[: part.stop - start]
        # All are in range; a check of each would buffer the rows.
        np.take(rows, index[part], axis=0, out=out, mode="clip")
        yield part, out
