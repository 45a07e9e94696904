"""Products of packed rows, one triangle or a rectangle of them, summed by segment and then by group."""

from __future__ import annotations

import functools
from typing import Any

import triton
import triton.language as tl

from featdiv.ops._triton_kernels.splits import add_product, first_product


@triton.jit
def gram(
    planes, plane_stride, padded, tile_row, tile_column, tiles, starts, slab,
    height: tl.constexpr, width: tl.constexpr, block_rows: tl.constexpr, chain: tl.constexpr, products: tl.constexpr,
    upcast: tl.constexpr,
):  # fmt: skip
    """Writes sum z_i z_j^T over one segment, for one tile, into ``slab`` (segments, tiles, height, width) in float64.

    Tensor cores round sums towards zero. So they sum ``chain`` rows (64 at most), the small products first, and each
    such sum is added by Kahan's rule: a segment may be of any length.
    """
    program = tl.program_id(0)
    tile, segment = program % tiles, program // tiles
    # Without these promises the rows could not be copied 16 bytes at a time.
    i = tl.multiple_of(tl.load(tile_row + tile), height) + tl.arange(0, height)
    j = tl.multiple_of(tl.load(tile_column + tile), width) + tl.arange(0, width)
    kind: tl.constexpr = tl.float64 if planes.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros((height, width), dtype=kind)
    lost = tl.zeros((height, width), dtype=kind)
    links: tl.constexpr = block_rows // chain
    for link in range(tl.load(starts + segment) * links, tl.load(starts + segment + 1) * links):
        row = (link * chain + tl.arange(0, chain)) * padded
        left, right = planes + row[:, None] + i[None, :], planes + row[:, None] + j[None, :]
        a0, b0 = tl.load(left), tl.load(right)
        if products == 1:
            part = first_product(a0, b0, upcast)
        else:
            a1, b1 = tl.load(left + plane_stride), tl.load(right + plane_stride)
            if products == 6:
                a2, b2 = tl.load(left + 2 * plane_stride), tl.load(right + 2 * plane_stride)
                part = first_product(a2, b0, upcast)
                part = add_product(a0, b2, part, upcast)
                part = add_product(a1, b1, part, upcast)
                part = add_product(a1, b0, part, upcast)
            else:
                part = first_product(a1, b0, upcast)
            part = add_product(a0, b1, part, upcast)
            part = add_product(a0, b0, part, upcast)
        part = part - lost
        larger = total + part
        lost = (larger - total) - part
        total = larger
    inner = tl.arange(0, height)[:, None] * width + tl.arange(0, width)[None, :]
    out = slab + program.to(tl.int64) * (height * width) + inner
    tl.store(out, total.to(tl.float64) - lost.to(tl.float64))


@triton.jit
def sum_segments(
    slab, tile_row, tile_column, tiles, of_group, out, rows, columns, first_column,
    height: tl.constexpr, width: tl.constexpr, strip: tl.constexpr,
):  # fmt: skip
    """Adds the segments of each group, in their order, to ``out`` (groups, rows, columns).

    The first column of ``out`` is the packed column ``first_column``.
    """
    program = tl.program_id(0)
    tile, group = program % tiles, program // tiles
    inner_row = tl.program_id(1) * strip + tl.arange(0, strip)
    inner = inner_row[:, None] * width + tl.arange(0, width)[None, :]
    total = tl.zeros((strip, width), dtype=tl.float64)
    for segment in range(tl.load(of_group + group), tl.load(of_group + group + 1)):
        total += tl.load(slab + (segment * tiles + tile) * (height * width) + inner)
    i = tl.load(tile_row + tile) + inner_row
    j = tl.load(tile_column + tile) - first_column + tl.arange(0, width)
    mask = (i < rows)[:, None] & (j < columns)[None, :]
    where = out + group.to(tl.int64) * rows * columns + i.to(tl.int64)[:, None] * columns + j[None, :]
    tl.store(where, tl.load(where, mask=mask, other=0.0) + total, mask=mask)


@functools.cache
def tuned_gram(pipelines: tuple[tuple[int, int], ...]) -> Any:
    """Returns the kernel `gram`, which first times the (warps, stages) it may run with; none changes a number."""
    if not isinstance(gram, triton.JITFunction):
        return gram
    configurations = [triton.Config({}, num_warps=warps, num_stages=stages) for warps, stages in pipelines]
    return triton.autotune(configs=configurations, key=["padded"])(gram)
