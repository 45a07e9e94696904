"""Candidates for the nearest rows of a gallery, listed by tile; and what two rows measure, in float64."""

from __future__ import annotations

import triton
import triton.language as tl

from featdiv.ops._triton_kernels.pairs import tile_products


@triton.jit
def list_nearer(
    left, right, left_plane, right_plane, padded, half_squares, thresholds, keys, counts, wide, capacity,
    rows, column_start, column_stop, panels,
    height: tl.constexpr, width: tl.constexpr, chain: tl.constexpr, products: tl.constexpr, segment: tl.constexpr,
    l2: tl.constexpr, upcast: tl.constexpr,
):  # fmt: skip
    """Appends to the list of each query the rows of ``segment`` tiles that are nearer than its threshold.

    ``keys`` is (rows, wide + capacity): the first ``wide`` entries of a row are not touched. A key orders candidates,
    the nearer first and of equal ones that of lower index. ``counts`` says how much room would be needed.
    """
    program = tl.program_id(0)
    panel, strip = program % panels, program // panels
    i = panel.to(tl.int64) * height + tl.arange(0, height)
    first = column_start + strip.to(tl.int64) * (segment * width)
    last = tl.minimum(first + segment * width, column_stop)
    threshold = tl.load(thresholds + i, mask=i < rows, other=float("inf"))
    for start in range(first, last, width):
        j = start + tl.arange(0, width).to(tl.int64)
        dots = tile_products(left, right, left_plane, right_plane, padded, i, j, height, width, chain, products, upcast)
        if l2:
            dots -= tl.load(half_squares + j, mask=j < column_stop, other=0.0).to(dots.dtype)[None, :]
        nearness = dots.to(tl.float32)
        hit = (nearness > threshold[:, None]) & (j < column_stop)[None, :]
        if tl.max(tl.max(hit.to(tl.int32), axis=1), axis=0) > 0:
            # -0.0 is as near as 0.0.
            bits = tl.where(nearness == 0.0, 0.0, nearness).to(tl.int32, bitcast=True)
            ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
            key = (ordered.to(tl.int64) << 32) | (0xFFFFFFFF - j)[None, :]
            listed = hit.to(tl.int32)
            before = tl.atomic_add(counts + i, tl.sum(listed, axis=1), mask=i < rows)
            place = before[:, None] + tl.cumsum(listed, axis=1) - listed
            where = keys + i[:, None] * (wide + capacity) + wide + place
            tl.store(where, key, mask=hit & (place < capacity))


@triton.jit
def measure_pairs(
    x, y, columns, out, count, wide, d, x_row_stride, x_column_stride, y_row_stride, y_column_stride,
    block_pairs: tl.constexpr, block_columns: tl.constexpr, l2: tl.constexpr,
):  # fmt: skip
    """Writes the inner product, or the squared distance, of row p // wide of x and row columns[p] of y."""
    pair = tl.program_id(0).to(tl.int64) * block_pairs + tl.arange(0, block_pairs)
    present = pair < count
    i = pair // wide
    j = tl.load(columns + pair, mask=present, other=0)
    total = tl.zeros((block_pairs,), dtype=tl.float64)
    for start in range(0, d, block_columns):
        column = start + tl.arange(0, block_columns)
        mask = present[:, None] & (column < d)[None, :]
        k = column.to(tl.int64)[None, :]
        a = tl.load(x + i[:, None] * x_row_stride + k * x_column_stride, mask=mask, other=0)
        b = tl.load(y + j[:, None] * y_row_stride + k * y_column_stride, mask=mask, other=0)
        # bfloat16 goes through float32, which the interpreter needs.
        if a.dtype == tl.bfloat16:
            a, b = a.to(tl.float32), b.to(tl.float32)
        a, b = a.to(tl.float64), b.to(tl.float64)
        if l2:
            total += tl.sum((a - b) * (a - b), axis=1)
        else:
            total += tl.sum(a * b, axis=1)
    tl.store(out + pair, total, mask=present)
