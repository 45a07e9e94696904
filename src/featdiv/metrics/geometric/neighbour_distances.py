"""Distances of rows to their nearest other points, and how such rows are dealt to the parts of a jackknife."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import NotEnoughData
from featdiv.metrics.geometric.rows import Rows
from featdiv.ops.scatter import reference
from featdiv.stats.neighbours import Neighbours

BUCKETS = 20
SLAB_ROWS = 128
BLOCK_BYTES = 1 << 25

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Distances:
    """Distances from different points to their nearest other points.

    Attributes:
        values: (m, k) ascending, in float64.
        nearest: (m,) place, among the m rows, of the nearest one.
        rows: (m,) which rows they are; of rows that are equal, the first.
        copies: rows that were left out, for being equal to an earlier one.
    """

    values: Float64Array
    nearest: Int64Array
    rows: Int64Array
    copies: int


def of(rows: Rows, neighbours: Neighbours, *, memory: Any = None) -> Distances:
    """Returns the distances, from a table of the k nearest other rows of every row.

    Where several rows are one point, the table finds the point several times: it would seem to have two neighbours
    at one distance, or one at distance zero. The neighbours of such rows are sought again, among different points.
    """
    everyone = np.arange(rows.n)
    values, nearest = _measured(rows.values, rows.values, everyone, neighbours.indices)
    point = _points(rows, np.flatnonzero(values[:, 0] == 0.0))
    kept = np.flatnonzero(point == everyone)
    if len(kept) == rows.n:
        return Distances(values=values, nearest=nearest, rows=everyone, copies=0)
    k = values.shape[1]
    if len(kept) <= k:
        raise NotEnoughData(f"{k} neighbours need at least {k + 1} different rows; got {len(kept)}")
    found = np.sort(np.column_stack([point[neighbours.indices], point]), axis=1)
    again = np.flatnonzero((np.diff(found, axis=1) == 0).any(axis=1) & (point == everyone))
    gallery = rows.values[kept]
    if len(again):
        # Each finds itself too.
        near = Neighbours.of(
            io.open(gallery),
            io.open(rows.values[again]),
            k=k + 1,
            distance="l2",
            backend=_same(neighbours),
            memory=memory,
        )
        with_itself, places = _measured(rows.values, gallery, again, near.indices, first=1)
        values[again], nearest[again] = with_itself[:, 1:], kept[places]
    place = np.searchsorted(kept, point[nearest[kept]])
    return Distances(values=values[kept], nearest=place, rows=kept, copies=rows.n - len(kept))


def _same(neighbours: Neighbours) -> str:
    return neighbours.backend if neighbours.index == "flat" else "auto"


def _measured(
    queries: Any, gallery: Any, which: Int64Array, indices: Int64Array, *, first: int = 0
) -> tuple[Float64Array, Int64Array]:
    """Returns ((m, k) ascending distances, (m,) the index in that place) in float64: ratios of near ones need it."""
    m, k = indices.shape
    found, nearest = np.empty((m, k)), np.empty(m, dtype=np.int64)
    step = max(1, BLOCK_BYTES // (8 * k * int(gallery.shape[1])))
    for start in range(0, m, step):
        index = indices[start : start + step]
        here = reference.to_float64(queries[which[start : start + step]])
        there = reference.to_float64(gallery[index.ravel()]).reshape(*index.shape, -1)
        there -= here[:, None]
        distances = np.sqrt(np.einsum("ijk,ijk->ij", there, there))
        # The search orders by float32: what differs by less may stand the other way round.
        order = np.argsort(distances, axis=1, kind="stable")
        found[start : start + step] = np.take_along_axis(distances, order, axis=1)
        nearest[start : start + step] = np.take_along_axis(index, order, axis=1)[:, first]
    return found, nearest


def _points(rows: Rows, copied: Int64Array) -> Int64Array:
    """Returns (n,) the index of the first row equal to each; ``copied`` are the rows that may have an equal."""
    point = np.arange(rows.n)
    if len(copied):
        # Adding zero makes the two zeros one.
        values = np.ascontiguousarray(reference.to_float64(rows.values[copied]) + 0.0)
        keys = values.view(np.dtype((np.void, values.shape[1] * values.itemsize))).ravel()
        _, first, code = np.unique(keys, return_index=True, return_inverse=True)
        point[copied] = copied[first[code.ravel()]]
    return point


def buckets(rows: Rows, distances: Distances) -> tuple[Int64Array, str]:
    """Returns ((m,) the part of the jackknife that each row belongs to, in words what the parts are made of).

    The user's groups whole; else slabs of rows. Rows that are one another's nearest share a distance, so that a row
    goes where its nearest one goes: all that hang together that way go to the slab of one of them.
    """
    if rows.groups is not None:
        names, codes = np.unique(rows.groups, return_inverse=True)
        return np.asarray(codes.reshape(-1)[distances.rows] % min(BUCKETS, len(names)), dtype=np.int64), "groups"
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    m = len(distances.rows)
    graph = csr_matrix((np.ones(m, dtype=np.int8), (np.arange(m), distances.nearest)), shape=(m, m))
    count, together = connected_components(graph, directed=False)
    order, sizes = np.argsort(together, kind="stable"), np.bincount(together)
    chosen = order[np.cumsum(sizes) - sizes + np.arange(count) % sizes]
    slab = max(SLAB_ROWS, -(-rows.n // (4 * BUCKETS)))
    part = distances.rows[chosen[together]] // slab % BUCKETS
    return np.unique(part, return_inverse=True)[1].reshape(-1).astype(np.int64), f"slabs of {SLAB_ROWS} rows"
