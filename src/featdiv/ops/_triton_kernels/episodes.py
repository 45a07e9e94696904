"""The nearest centroid of each query of many episodes: rows are read where they lie, and never gathered.

An episode takes ``taken`` rows of each of ``ways`` classes; the first ``shots`` of a class are averaged, the others
asked.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def centroids(x, index, out, centre, ways, taken, shots, d, row_stride, column_stride, block_columns: tl.constexpr):
    """Writes centroids about their mean into ``out`` (episodes, ways, d), and that mean into ``centre``."""
    episode = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    inside = column < d
    middle = tl.zeros((block_columns,), dtype=tl.float64)
    for way in range(ways):
        place = episode * ways + way
        total = tl.zeros((block_columns,), dtype=tl.float64)
        for shot in range(shots):
            where = x + tl.load(index + place * taken + shot) * row_stride + column.to(tl.int64) * column_stride
            total += tl.load(where, mask=inside, other=0).to(tl.float32).to(tl.float64)
        mean = total / shots
        tl.store(out + place * d + column, mean.to(tl.float32), mask=inside)
        middle += mean
    offset = (middle / ways).to(tl.float32)
    tl.store(centre + episode * d + column, offset, mask=inside)
    for way in range(ways):
        # One column a thread, so that the same thread has written it.
        own = out + (episode * ways + way) * d + column
        tl.store(own, tl.load(own, mask=inside, other=0.0) - offset, mask=inside)


@triton.jit
def nearest(
    x, index, given, centre, out, ways, taken, shots, d, row_stride, column_stride,
    block_queries: tl.constexpr, block_ways: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    """Writes the nearest centroid of queries, -1 where a distance is not finite, (episodes, ways, taken - shots)."""
    asked = taken - shots
    queries = ways * asked
    strips = tl.cdiv(queries, block_queries)
    episode = (tl.program_id(0) // strips).to(tl.int64)
    query = tl.program_id(0) % strips * block_queries + tl.arange(0, block_queries)
    present = query < queries
    place = (episode * ways + query // asked) * taken + shots + query % asked
    rows = x + tl.load(index + place, mask=present, other=0)[:, None] * row_stride
    best = tl.full((block_queries,), float("inf"), dtype=tl.float32)
    found = tl.full((block_queries,), 0, dtype=tl.int32)
    finite = tl.full((block_queries,), 1, dtype=tl.int32)
    for first in range(0, ways, block_ways):
        way = first + tl.arange(0, block_ways)
        there = way < ways
        sums = tl.zeros((block_queries, block_ways), dtype=tl.float32)
        for start in range(0, d, block_columns):
            column = start + tl.arange(0, block_columns)
            inside = column < d
            where = rows + column.to(tl.int64)[None, :] * column_stride
            q = tl.load(where, mask=present[:, None] & inside[None, :], other=0).to(tl.float32)
            q = tl.where(
                inside[None, :], q - tl.load(centre + episode * d + column, mask=inside, other=0.0)[None, :], 0.0
            )
            where = given + (episode * ways + way[:, None]) * d + column[None, :]
            c = tl.load(where, mask=there[:, None] & inside[None, :], other=0.0)
            off = q[:, None, :] - c[None, :, :]
            sums += tl.sum(off * off, axis=2)
        far = tl.where(there[None, :], sums, float("inf"))
        nearer = tl.min(far, axis=1)
        finite = tl.minimum(finite, tl.min(((tl.abs(sums) < float("inf")) | (~there)[None, :]).to(tl.int32), axis=1))
        found = tl.where(nearer < best, first + tl.argmin(far, axis=1), found)
        best = tl.minimum(nearer, best)
    tl.store(out + episode * queries + query, tl.where(finite == 1, found, -1).to(tl.int64), mask=present)
