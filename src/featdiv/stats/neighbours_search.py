"""The search behind `Neighbours`: candidates in float32, near ties decided in float64, shards merged as they pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.io.progress import Progress
from featdiv.stats.neighbours_engines import Engine
from featdiv.stats.neighbours_rows import Side

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

SPARE = 8
"""Candidates beyond k, so that rounding does not decide who is among the k."""

MOST_SPARE = 1024
"""Candidates beyond k for queries that have many others as near as the k-th, copies for example."""

BLOCK_ROWS = 8192
LEAST_BLOCK_ROWS = 2048
BLOCK_PRODUCTS = 1 << 36
"""Multiply-adds between two chances for Ctrl-C where an engine sees none: about a second on two cores. Below the least
block, for which the gallery is read anew, a search would lose more than it gains."""

_PAIR_BYTES = 1 << 26
_RELATIVE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What float32 takes for the nearest rows of some queries.

    Attributes:
        rows: (m,) the queries.
        squares: (m,) squared norms of their vectors.
        values: (m, w) nearness, descending: cosines, or negative squared distances.
        indices: (m, w) rows of the gallery.
    """

    rows: Int64Array
    squares: npt.NDArray[np.float64]
    values: Float32Array
    indices: Int64Array

    def cut(self, start: int, stop: int) -> Candidates:
        """Returns those of the queries [start, stop)."""
        part = slice(start, stop)
        return Candidates(
            rows=self.rows[part], squares=self.squares[part], values=self.values[part], indices=self.indices[part]
        )

    def merged(self, other: Candidates, wide: int) -> Candidates:
        """Returns the nearest of both, which are of the same queries and different rows of the gallery."""
        values = np.concatenate([self.values, other.values], axis=1)
        indices = np.concatenate([self.indices, other.indices], axis=1)
        order = np.lexsort((indices, -values), axis=1)[:, :wide]
        return dataclasses.replace(
            self,
            values=np.take_along_axis(values, order, axis=1),
            indices=np.take_along_axis(indices, order, axis=1),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """One search of queries in a gallery.

    Attributes:
        gallery: the rows to find.
        queries: the rows to find neighbours of.
        same: whether row i of the queries is row i of the gallery, and must not find itself.
        engine: what searches.
        shard_rows: gallery rows to hold at a time.
        progress: called with (rows done, rows in all).
    """

    gallery: Side
    queries: Side
    same: bool
    engine: Engine
    shard_rows: int
    progress: Progress | None = None

    @property
    def available(self) -> int:
        """Rows that a query can find."""
        return self.gallery.n - self.same

    def run(self, k: int) -> tuple[Float32Array, Int64Array]:
        """Returns (m, k) nearness and rows of the gallery, nearest first."""
        wide = min(k + SPARE, self.available) if self.engine.exact else k
        m = self.queries.n
        values, indices = np.empty((m, k), np.float32), np.empty((m, k), np.int64)
        for found in self._searched(wide):
            values[found.rows], indices[found.rows] = self._settled(found, k)
        return values, indices

    def some(self, rows: Int64Array, k: int) -> Int64Array:
        """Returns (r, k) neighbours of a few queries, nearest first."""
        return self._settled(self._search_again(rows, min(k + SPARE, self.available)), k)[1]

    def _searched(self, wide: int) -> Iterator[Candidates]:
        """Yields the candidates of all queries, in blocks."""
        m, shards = self.queries.n, -(-self.gallery.n // self.shard_rows)
        best: list[Candidates] = []
        for number, (first, shard) in enumerate(self.gallery.shards(self.shard_rows)):
            whole = shard if shards == 1 and self.queries is self.gallery else None
            for turn, (start, block) in enumerate(self._query_blocks(whole)):
                rows = np.arange(start, start + len(block))
                found = self._find(block, rows, shard, first, wide)
                if shards == 1:
                    yield found
                elif number == 0:
                    best.append(found)
                else:
                    best[turn] = best[turn].merged(found, wide)
                if self.progress is not None:
                    self.progress(number * m + start + len(block), shards * m)
        yield from best

    def _query_blocks(self, whole: Any) -> Iterator[tuple[int, Any]]:
        """Yields (start, vectors) of the queries; ``whole`` are the vectors of all, if they are in memory."""
        heard = self.gallery.device != "cpu" or self.engine.interruptible
        n, d = min(self.shard_rows, self.gallery.n), self.gallery.source.d
        rows = BLOCK_ROWS if heard else short_block(n, d)
        if whole is None:
            yield from self.queries.blocks(rows)
            return
        for start in range(0, len(whole), rows):
            yield start, whole[start : start + rows]

    def _find(self, block: Any, rows: Int64Array, shard: Any, first: int, wide: int) -> Candidates:
        """Returns the candidates in a shard whose rows start at ``first``; fewer than ``wide`` where it is small."""
        measure = "inner" if self.gallery.distance == "cosine" else "l2"
        values, indices = self.engine.search(block, shard, min(wide + self.same, len(shard)), measure=measure)
        indices = indices + first
        if self.same:
            values, indices = without(values, indices, rows, wide)
        host = block if isinstance(block, np.ndarray) else block.cpu().numpy()
        squares = np.einsum("ij,ij->i", host, host).astype(np.float64)
        return Candidates(rows=rows, squares=squares, values=values, indices=indices)

    def _settled(self, found: Candidates, k: int) -> tuple[Float32Array, Int64Array]:
        """Returns the first k candidates, near ties decided in float64."""
        bound = self._rounding(found)
        values, indices = self._decided(found, bound)
        wide = found.values.shape[1]
        if self.engine.exact and wide < min(self.available, k + MOST_SPARE):
            # Where the last candidate is as near as the k-th, so may others be that were not found.
            crowded = np.flatnonzero(found.values[:, k - 1] - found.values[:, -1] <= 2.0 * bound[:, -1])
            if len(crowded):
                again = self._search_again(found.rows[crowded], min(self.available, k + MOST_SPARE, 4 * wide))
                values[crowded, :k], indices[crowded, :k] = self._settled(again, k)
        return values[:, :k], indices[:, :k]

    def _search_again(self, rows: Int64Array, wide: int) -> Candidates:
        """Returns more candidates of a few queries."""
        block = self.queries.vectors(self.queries.source.take(rows), 0)
        best: Candidates | None = None
        for first, shard in self.gallery.shards(self.shard_rows):
            found = self._find(block, rows, shard, first, wide)
            best = found if best is None else best.merged(found, wide)
        assert best is not None
        return best

    def _rounding(self, found: Candidates) -> npt.NDArray[np.float64]:
        """Returns (m, w) bounds on the rounding of each nearness."""
        unit = 2.0**-24 * (4.0 + 0.5 * np.sqrt(self.gallery.source.d))
        if self.gallery.distance == "cosine":
            return np.broadcast_to(unit, found.values.shape)
        # A neighbour is no further from the origin than the query and the way between them.
        reach = np.sqrt(found.squares)[:, None] + np.sqrt(-found.values.astype(np.float64))
        return np.asarray(unit * (found.squares[:, None] + reach**2))

    def _decided(self, found: Candidates, bound: npt.NDArray[np.float64]) -> tuple[Float32Array, Int64Array]:
        """Returns the candidates in the order of float64 arithmetic on the rows themselves, equal ones by index.

        Only candidates nearer to one another than their rounding are computed again, and distances so small that
        rounding would be a visible part of them.
        """
        values, indices = found.values.copy(), found.indices.copy()
        if not self.engine.exact:
            unsure = np.ones(values.shape, dtype=bool)
        else:
            tied = values[:, :-1] - values[:, 1:] <= 2.0 * bound[:, 1:]
            unsure = np.zeros(values.shape, dtype=bool)
            unsure[:, 1:] |= tied
            unsure[:, :-1] |= tied
            if self.gallery.distance == "l2":
                unsure |= bound > -_RELATIVE * values
        where, column = np.nonzero(unsure)
        values[where, column] = self._exact(found.rows[where], indices[where, column])
        if self.gallery.distance == "cosine":
            np.clip(values, -1.0, 1.0, out=values)
        changed = np.unique(where)
        order = np.lexsort((indices[changed], -values[changed]), axis=1)
        values[changed] = np.take_along_axis(values[changed], order, axis=1)
        indices[changed] = np.take_along_axis(indices[changed], order, axis=1)
        return values, indices

    def _exact(self, rows: Int64Array, others: Int64Array) -> Float32Array:
        """Returns the nearness of pairs (query, row of the gallery), computed in float64."""
        out = np.empty(len(rows), dtype=np.float32)
        step = max(1, _PAIR_BYTES // (8 * self.gallery.source.d))
        for start in range(0, len(rows), step):
            pairs = slice(start, start + step)
            left, right = _gathered(self.queries, rows[pairs]), _gathered(self.gallery, others[pairs])
            if self.gallery.distance == "cosine":
                out[pairs] = np.einsum("ij,ij->i", left, right)
            else:
                left -= right
                out[pairs] = -np.einsum("ij,ij->i", left, left)
        return out


def short_block(n: int, d: int) -> int:
    """Returns how many queries to search for between two chances for Ctrl-C."""
    return min(BLOCK_ROWS, max(LEAST_BLOCK_ROWS, BLOCK_PRODUCTS // (n * d)))


def _gathered(side: Side, index: Int64Array) -> npt.NDArray[np.float64]:
    unique, place = np.unique(index, return_inverse=True)
    return side.exact(unique)[place.reshape(-1)]


def without(values: Float32Array, indices: Int64Array, rows: Int64Array, wide: int) -> tuple[Float32Array, Int64Array]:
    """Returns the first ``wide`` columns of tables from which the rows themselves are gone."""
    own = indices == rows[:, None]
    if values.shape[1] == wide + 1:
        own[~own.any(axis=1), -1] = True
        return values[~own].reshape(len(rows), wide), indices[~own].reshape(len(rows), wide)
    # A shard of so few rows that all are candidates: the row itself goes last, and out when shards are merged.
    values = np.where(own, np.float32(-np.inf), values)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(indices, order, axis=1)
