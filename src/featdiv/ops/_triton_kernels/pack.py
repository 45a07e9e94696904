"""Reads rows of any type, moves and scales them, and writes them as planes of terms for the tensor cores.

A packed row p comes from row source[p] of x (or ``first + p``); -1 marks filling, which becomes zeros. Planes lie one
after the other: plane t holds term t of every packed row, rows of ``padded`` entries.
"""

from __future__ import annotations

import triton
import triton.language as tl

from featdiv.ops._triton_kernels.splits import nearest_bfloat16


@triton.jit
def source_rows(source, first, count, place, gather: tl.constexpr):
    """Returns (row of x, whether there is one) for packed places."""
    if gather:
        row = tl.load(source + place, mask=place < count, other=-1)
        present = row >= 0
    else:
        row = first + place
        present = place < count
    return row, present


@triton.jit
def moved(
    x, shift, powers, largest, inverse, row, present, column, group, d, padded, row_stride, column_stride,
    has_shift: tl.constexpr, has_powers: tl.constexpr, has_norms: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """Returns z = (x / |x| - shift) 2^e of rows and columns, 0 where there are none; in float64 if ``wide``."""
    mask = present[:, None] & (column < d)[None, :]
    where = row.to(tl.int64)[:, None] * row_stride + column.to(tl.int64)[None, :] * column_stride
    value = tl.load(x + where, mask=mask, other=0)
    if wide:
        # bfloat16 goes through float32, which the interpreter needs.
        z = value.to(tl.float64) if value.dtype != tl.bfloat16 else value.to(tl.float32).to(tl.float64)
        if has_norms:
            z = z / tl.load(largest + row, mask=present, other=1.0)[:, None]
            z = z * tl.load(inverse + row, mask=present, other=1.0)[:, None]
        if has_shift:
            z = z - tl.load(shift + group.to(tl.int64) * padded + column)[None, :]
        if has_powers:
            z = z * tl.load(powers + column)[None, :]
        z = tl.where(mask, z, 0.0)
    else:
        z = value.to(tl.float32)
    return z


@triton.jit
def pack(
    x, planes, plane_stride, totals, squares, rests, source, first, count, group_of_block,
    shift, powers, largest, inverse, d, padded, row_stride, column_stride,
    block_rows: tl.constexpr, block_columns: tl.constexpr, terms: tl.constexpr, has_rests: tl.constexpr,
    gather: tl.constexpr,
    has_shift: tl.constexpr, has_powers: tl.constexpr, has_norms: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """Packs one block of rows by some columns; adds up its columns and their squares in float64.

    Writes ``totals``, ``squares`` and, if it is wanted, ``rests``, the squares of what the terms leave out:
    (blocks, padded), for each block of rows its own.
    """
    block = tl.program_id(0)
    place = block.to(tl.int64) * block_rows + tl.arange(0, block_rows)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    row, present = source_rows(source, first, count, place, gather)
    group = tl.load(group_of_block + block)
    z = moved(
        x, shift, powers, largest, inverse, row, present, column, group, d, padded, row_stride, column_stride,
        has_shift, has_powers, has_norms, wide,
    )  # fmt: skip
    exact = z.to(tl.float64)
    sums = block.to(tl.int64) * padded + column
    tl.store(totals + sums, tl.sum(exact, axis=0))
    tl.store(squares + sums, tl.sum(exact * exact, axis=0))
    out = planes + place[:, None] * padded + column[None, :]
    if terms == 1 and planes.dtype.element_ty != tl.bfloat16:
        # float16 rows as they are, or float64.
        tl.store(out, z.to(planes.dtype.element_ty))
    else:
        for _ in tl.static_range(terms):
            part = nearest_bfloat16(z.to(tl.float32))
            tl.store(out, part.to(tl.bfloat16))
            # Not by as many strides at once, which 32 bits need not hold.
            out += plane_stride
            z = z - part.to(z.dtype)
        if has_rests:
            left = z.to(tl.float64)
            tl.store(rests + sums, tl.sum(left * left, axis=0))


@triton.jit
def row_norms(
    x, largest, inverse, n, d, row_stride, column_stride, block_rows: tl.constexpr, block_columns: tl.constexpr
):
    """Writes the largest magnitude of each row, and 1 / |row / largest|; NaN for a row of zeros."""
    row = tl.program_id(0).to(tl.int64) * block_rows + tl.arange(0, block_rows)
    present = row < n
    most = tl.zeros((block_rows,), dtype=tl.float64)
    poison = tl.zeros((block_rows,), dtype=tl.float64)
    for start in range(0, d, block_columns):
        column = start + tl.arange(0, block_columns)
        mask = present[:, None] & (column < d)[None, :]
        where = row[:, None] * row_stride + column.to(tl.int64)[None, :] * column_stride
        value = tl.load(x + where, mask=mask, other=0)
        z = value.to(tl.float64) if value.dtype != tl.bfloat16 else value.to(tl.float32).to(tl.float64)
        most = tl.maximum(most, tl.max(tl.abs(z), axis=1))
        # 0 for finite entries, NaN for others, which a maximum may pass over.
        poison += tl.sum(z * 0.0, axis=1)
    most += poison
    total = tl.zeros((block_rows,), dtype=tl.float64)
    for start in range(0, d, block_columns):
        column = start + tl.arange(0, block_columns)
        mask = present[:, None] & (column < d)[None, :]
        where = row[:, None] * row_stride + column.to(tl.int64)[None, :] * column_stride
        value = tl.load(x + where, mask=mask, other=0)
        z = value.to(tl.float64) if value.dtype != tl.bfloat16 else value.to(tl.float32).to(tl.float64)
        scaled = z / most[:, None]
        total += tl.sum(scaled * scaled, axis=1)
    tl.store(largest + row, most, mask=present)
    tl.store(inverse + row, 1.0 / tl.sqrt(total), mask=present)


@triton.jit
def group_means(
    x, means, source, places, used, largest, inverse, d, padded, row_stride, column_stride,
    block_rows: tl.constexpr, block_columns: tl.constexpr, has_norms: tl.constexpr,
):  # fmt: skip
    """Writes the mean of the first used[g] packed rows of group g, which begin at places[g]."""
    group = tl.program_id(0)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    total = tl.zeros((block_rows, block_columns), dtype=tl.float64)
    count = tl.load(used + group)
    for start in range(0, count, block_rows):
        place = start + tl.arange(0, block_rows)
        row, present = source_rows(source + tl.load(places + group), 0, count, place, True)
        total += moved(
            x, x, x, largest, inverse, row, present, column, group, d, padded, row_stride, column_stride,
            False, False, has_norms, True,
        )  # fmt: skip
    tl.store(means + group.to(tl.int64) * padded + column, tl.sum(total, axis=0) / count)


@triton.jit
def squared_norms(
    x, squares, source, first, count, group_of_block, shift, powers, largest, inverse,
    d, padded, row_stride, column_stride,
    block_rows: tl.constexpr, block_columns: tl.constexpr, gather: tl.constexpr,
    has_shift: tl.constexpr, has_powers: tl.constexpr, has_norms: tl.constexpr,
):  # fmt: skip
    """Writes |z|^2 of one block of rows, 0 for filling."""
    block = tl.program_id(0)
    place = block.to(tl.int64) * block_rows + tl.arange(0, block_rows)
    row, present = source_rows(source, first, count, place, gather)
    group = tl.load(group_of_block + block)
    square = tl.zeros((block_rows,), dtype=tl.float64)
    for start in range(0, d, block_columns):
        column = start + tl.arange(0, block_columns)
        z = moved(
            x, shift, powers, largest, inverse, row, present, column, group, d, padded, row_stride, column_stride,
            has_shift, has_powers, has_norms, True,
        )  # fmt: skip
        square += tl.sum(z * z, axis=1)
    tl.store(squares + place, square)


@triton.jit
def norm_sums(
    x, squares, weights, weighted, fourth, source, first, count, group_of_block, shift, powers, largest, inverse,
    d, width, padded, row_stride, column_stride,
    block_rows: tl.constexpr, block_columns: tl.constexpr, gather: tl.constexpr,
    has_shift: tl.constexpr, has_powers: tl.constexpr, has_norms: tl.constexpr,
):  # fmt: skip
    """Writes the sums of one block of rows, weighted by squared norms of other rows, or of the same.

    sum weight z goes into ``width`` columns of ``weighted`` (blocks, padded), sum |z|^2 weight into ``fourth``.
    """
    block = tl.program_id(0)
    place = block.to(tl.int64) * block_rows + tl.arange(0, block_rows)
    row, present = source_rows(source, first, count, place, gather)
    group = tl.load(group_of_block + block)
    weight = tl.load(weights + place)
    tl.store(fourth + block, tl.sum(tl.load(squares + place) * weight, axis=0))
    for start in range(0, width, block_columns):
        column = start + tl.arange(0, block_columns)
        z = moved(
            x, shift, powers, largest, inverse, row, present, column, group, d, padded, row_stride, column_stride,
            has_shift, has_powers, has_norms, True,
        )  # fmt: skip
        tl.store(weighted + block.to(tl.int64) * padded + column, tl.sum(weight[:, None] * z, axis=0))


@triton.jit
def sum_blocks(partial, starts, out, width, block_columns: tl.constexpr, strip: tl.constexpr):
    """Adds rows starts[g] to starts[g + 1] of ``partial`` (blocks, width) to row g of ``out``, in a fixed order."""
    group = tl.program_id(0)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    total = tl.zeros((strip, block_columns), dtype=tl.float64)
    stop = tl.load(starts + group + 1)
    for start in range(tl.load(starts + group), stop, strip):
        row = start + tl.arange(0, strip)
        where = partial + row[:, None] * width + column[None, :]
        total += tl.load(where, mask=(row < stop)[:, None], other=0.0)
    target = out + group.to(tl.int64) * width + column
    tl.store(target, tl.load(target) + tl.sum(total, axis=0))
