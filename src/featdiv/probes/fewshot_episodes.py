"""Few-shot episodes drawn without a loop over them, and judged by nearest centroid in batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]

BATCH_BYTES = 1 << 22
"""Queries of a batch: small enough to stay in the cache between the gathering and the product."""


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

    Floyd's sampling, for all rows side by side: step j draws from 0 to sizes - k + j, and takes the top of that range
    where the draw is there already. That makes each set equally likely; a shuffle makes each order so.

    Source:
        Bentley & Floyd 1987, "Programming pearls: a sample of brilliance".
    """
    chosen = np.empty((len(sizes), k), dtype=np.int64)
    for j in range(k):
        top = sizes - k + j
        drawn = (random.random(len(sizes)) * (top + 1)).astype(np.int64)
        taken = (chosen[:, :j] == drawn[:, None]).any(axis=1)
        chosen[:, j] = np.where(taken, top, drawn)
    return np.take_along_axis(chosen, random.random(chosen.shape).argsort(axis=1), axis=1)


def accuracies(rows: npt.NDArray[np.float32], members: Sequence[Index], drawn: Episodes) -> npt.NDArray[np.float64]:
    """Returns (e,) the share of queries of each episode that are nearest to the centroid of their class.

    Support sets and queries are visited class after class, whatever their episodes: the rows of one class stay in the
    cache while they are gathered.

    Args:
        rows: (n, d) features.
        members: the rows of each class.
        drawn: the episodes.

    Raises:
        FloatingPointError: if a row drawn holds NaN or infinity.
    """
    from scipy.sparse import csr_array

    e, ways, taken = drawn.places.shape
    shots, queries = drawn.shots, taken - drawn.shots
    slots = e * ways
    flat = drawn.classes.reshape(-1)
    order = flat.argsort(kind="stable")
    places = drawn.places.reshape(slots, taken)[order]
    index = np.empty_like(places)
    edges = np.searchsorted(flat[order], np.arange(len(members) + 1))
    for k, (start, stop) in enumerate(itertools.pairwise(edges.tolist())):
        index[start:stop] = members[k][places[start:stop]]
    support = csr_array(
        (
            np.full(slots * shots, 1.0 / shots, dtype=np.float32),
            index[:, :shots].reshape(-1),
            np.arange(0, slots * shots + 1, shots),
        ),
        shape=(slots, len(rows)),
    )
    centroids = np.empty((slots, rows.shape[1]), dtype=np.float32)
    centroids[order] = support @ rows
    # Distances do not change with a common offset; float32 products would drown in a large one.
    with np.errstate(invalid="ignore", over="ignore"):
        centre = centroids.mean(axis=0)
    if not np.isfinite(centre).all():
        raise FloatingPointError
    centroids -= centre
    centroids = centroids.reshape(e, ways, -1)
    squares = np.einsum("ewd,ewd->ew", centroids, centroids) + 2.0 * (centroids @ centre)
    episode, own = np.divmod(order, ways)
    right = np.empty(slots, dtype=np.int64)
    at_once = max(1, BATCH_BYTES // (4 * rows.shape[1] * queries))
    for start in range(0, slots, at_once):
        part = slice(start, start + at_once)
        asked = rows[index[part, shots:].reshape(-1)].reshape(-1, queries, rows.shape[1])
        # |q - c|^2 less |q|^2, which is the same for every class.
        with np.errstate(invalid="ignore", over="ignore"):
            distances = centroids[episode[part]] @ asked.transpose(0, 2, 1)
        if not np.isfinite(distances).all():
            raise FloatingPointError
        distances *= -2.0
        distances += squares[episode[part]][:, :, None]
        right[order[part]] = (distances.argmin(axis=1) == own[part, None]).sum(axis=1)
    return right.reshape(e, ways).sum(axis=1) / (ways * queries)
