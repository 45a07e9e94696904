"""Products of packed rows with packed rows, reduced tile by tile: exponentials, counts, nearest; or written out."""

from __future__ import annotations

import triton
import triton.language as tl

from featdiv.ops._triton_kernels.pack import moved, source_rows
from featdiv.ops._triton_kernels.splits import add_product, first_product


@triton.jit
def row_squares(
    x, squares, first, count, shift, largest, inverse, d, padded, row_stride, column_stride,
    block_rows: tl.constexpr, block_columns: tl.constexpr, has_shift: tl.constexpr, has_norms: tl.constexpr,
):  # fmt: skip
    """Writes |z|^2 of ``count`` rows of x, from row ``first`` on; the grid's second side has length 1."""
    place = tl.program_id(0).to(tl.int64) * block_rows + tl.arange(0, block_rows)
    row, present = source_rows(x, first, count, place, False)
    total = tl.zeros((block_rows,), dtype=tl.float64)
    for start in range(0, padded, block_columns):
        column = start + tl.arange(0, block_columns)
        z = moved(
            x, shift, shift, largest, inverse, row, present, column, tl.program_id(1), d, padded, row_stride,
            column_stride, has_shift, False, has_norms, True,
        )  # fmt: skip
        total += tl.sum(z * z, axis=1)
    tl.store(squares + place, total, mask=present)


@triton.jit
def tile_products(
    left, right, left_plane, right_plane, padded, i, j,
    height: tl.constexpr, width: tl.constexpr, chain: tl.constexpr, products: tl.constexpr, upcast: tl.constexpr,
):  # fmt: skip
    """Returns x_i . y_j of (height, width) rows: chains of ``chain`` features, the small products of a chain first."""
    kind: tl.constexpr = tl.float64 if left.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros((height, width), dtype=kind)
    for start in range(0, padded, chain):
        k = start + tl.arange(0, chain)
        a = left + i[None, :] * padded + k[:, None]
        b = right + j[None, :] * padded + k[:, None]
        a0, b0 = tl.load(a), tl.load(b)
        if products == 1:
            part = first_product(a0, b0, upcast)
        else:
            a1, b1 = tl.load(a + left_plane), tl.load(b + right_plane)
            # Not twice the stride, which 32 bits need not hold.
            a2, b2 = tl.load(a + left_plane + left_plane), tl.load(b + right_plane + right_plane)
            part = first_product(a2, b0, upcast)
            part = add_product(a0, b2, part, upcast)
            part = add_product(a1, b1, part, upcast)
            part = add_product(a1, b0, part, upcast)
            part = add_product(a0, b1, part, upcast)
            part = add_product(a0, b0, part, upcast)
        total += part
    return total


@triton.jit
def bin_of(value, low, per_unit, bins: tl.constexpr):
    """Returns 1 + the number of the bin, 0 below the first edge and bins + 1 from the last edge on."""
    place = tl.floor((value - low) * per_unit)
    return tl.minimum(tl.maximum(place, -1.0), bins * 1.0).to(tl.int32) + 1


@triton.jit
def reduce_pairs(
    left, right, left_plane, right_plane, padded, left_squares, right_squares,
    row_start, row_stop, column_start, column_stop, panels,
    rates, exp_sums, limits,
    histogram, close_rows, nearest_value, nearest_column, unsure, unsure_count, capacity,
    height: tl.constexpr, width: tl.constexpr, chain: tl.constexpr, products: tl.constexpr, segment: tl.constexpr,
    within: tl.constexpr, rate_count: tl.constexpr, rate_slots: tl.constexpr, distances: tl.constexpr,
    near_share: tl.constexpr, measure: tl.constexpr,
    bins: tl.constexpr, slots: tl.constexpr, has_threshold: tl.constexpr, upcast: tl.constexpr,
):  # fmt: skip
    """Reduces ``segment`` tiles beside one another.

    ``measure`` is 0 for none, 1 for the cosine, 2 for the distance. Pairs whose value lies within its rounding of an
    edge or of the threshold are not counted but listed in ``unsure``, and so are those too near for the sum of
    distances: (capacity, 3) rows of i, j, and 1 for the former plus 2 for the latter, of which ``unsure_count``
    would be needed. ``limits`` holds, in float64: first edge, bins per unit, rounding of the edges, relative rounding
    of the products, threshold. The sum of distances takes the slot of ``exp_sums`` after those of the rates.
    ``slots`` is 0 where there are too many bins for counting within a program.
    """
    program = tl.program_id(0)
    panel, strip = program % panels, program // panels
    i = row_start + panel.to(tl.int64) * height + tl.arange(0, height)
    first = column_start + strip.to(tl.int64) * (segment * width)
    last = tl.minimum(first + segment * width, column_stop)
    if within:
        # Tiles that lie below the diagonal hold no pair i < j.
        first = tl.maximum(first, (row_start + panel.to(tl.int64) * height) // width * width)
    kind: tl.constexpr = tl.float64 if left.dtype.element_ty == tl.float64 else tl.float32
    low, per_unit = tl.load(limits).to(kind), tl.load(limits + 1).to(kind)
    edge_slack, rounding = tl.load(limits + 2).to(kind), tl.load(limits + 3).to(kind)
    threshold = tl.load(limits + 4).to(kind)
    squares_i = tl.load(left_squares + i, mask=i < row_stop, other=0.0).to(kind)
    sums = tl.zeros((rate_slots,), dtype=tl.float64)
    best = tl.full((height,), float("-inf"), dtype=kind)
    best_column = tl.full((height,), -1, dtype=tl.int64)
    close = tl.zeros((height,), dtype=tl.int32)
    counts = tl.zeros((slots if slots > 0 else 1,), dtype=tl.int32)
    for start in range(first, last, width):
        j = start + tl.arange(0, width).to(tl.int64)
        dots = tile_products(left, right, left_plane, right_plane, padded, i, j, height, width, chain, products, upcast)
        valid = (i < row_stop)[:, None] & (j < column_stop)[None, :]
        if within:
            valid = valid & (j[None, :] > i[:, None])
        norms = squares_i[:, None] + tl.load(right_squares + j, mask=j < column_stop, other=0.0).to(kind)[None, :]
        apart = tl.maximum(norms - 2.0 * dots, 0.0)
        for r in tl.static_range(rate_count):
            rate = tl.load(rates + r).to(kind)
            terms = tl.where(valid, tl.exp(-rate * apart), 0.0)
            by_row = tl.sum(terms, axis=1).to(tl.float64)
            sums += tl.where(tl.arange(0, rate_slots) == r, tl.sum(by_row, axis=0), 0.0)
        flags = tl.zeros((height, width), dtype=tl.int32)
        if distances:
            near = valid & (apart < near_share * norms)
            far = tl.sum(tl.where(valid & (near == 0), tl.sqrt(apart), 0.0), axis=1).to(tl.float64)
            sums += tl.where(tl.arange(0, rate_slots) == rate_count, tl.sum(far, axis=0), 0.0)
            flags += tl.where(near, 2, 0)
        if measure > 0:
            if measure == 1:
                value = dots
                slack = tl.zeros((height, width), dtype=kind) + rounding
                nearness = value
            else:
                value = tl.sqrt(apart)
                most = norms * rounding
                slack = tl.minimum(tl.sqrt(most), most / tl.maximum(value, 1e-37))
                nearness = -value
            nearness = tl.where(valid, nearness, float("-inf"))
            row_best = tl.max(nearness, axis=1)
            column = start + tl.argmax(nearness, axis=1).to(tl.int64)
            better = row_best > best
            best_column = tl.where(better, column, best_column)
            best = tl.where(better, row_best, best)
            uncertain = valid & (value != value)
            slack += edge_slack
            if bins > 0:
                below = bin_of(value - slack, low, per_unit, bins)
                above = bin_of(value + slack, low, per_unit, bins)
                uncertain = uncertain | (valid & (below != above))
            if has_threshold:
                uncertain = uncertain | (valid & (value - slack <= threshold) & (value + slack >= threshold))
            certain = valid & (uncertain == 0)
            if bins > 0:
                if slots > 0:
                    # The slot past the bins takes what is not to be counted.
                    number = tl.where(certain, below, bins + 2)
                    counts += tl.histogram(tl.reshape(number, (height * width,)), slots)
                else:
                    tl.atomic_add(histogram + below, 1, mask=certain)
            if has_threshold:
                hit = certain & ((value > threshold) if measure == 1 else (value < threshold))
                close += tl.sum(hit.to(tl.int32), axis=1)
            flags += tl.where(uncertain, 1, 0)
        if distances or measure > 0:  # noqa: SIM102, for the outer one is decided when the kernel is compiled
            if tl.max(tl.max(flags, axis=1), axis=0) > 0:
                place = tl.atomic_add(unsure_count + tl.zeros((height, width), dtype=tl.int32), 1, mask=flags > 0)
                room = (flags > 0) & (place < capacity)
                where = unsure + 3 * place.to(tl.int64)
                tl.store(where, i[:, None] + tl.zeros_like(place), mask=room)
                tl.store(where + 1, j[None, :] + tl.zeros_like(place), mask=room)
                tl.store(where + 2, flags, mask=room)
    tl.store(exp_sums + program.to(tl.int64) * rate_slots + tl.arange(0, rate_slots), sums)
    if measure > 0:
        where = strip.to(tl.int64) * (panels * height) + panel * height + tl.arange(0, height)
        tl.store(nearest_value + where, best)
        tl.store(nearest_column + where, best_column)
        if has_threshold:
            tl.atomic_add(close_rows + panel * height + tl.arange(0, height), close)
        if slots > 0:
            slot = tl.arange(0, slots)
            tl.atomic_add(histogram + slot, counts.to(tl.int64), mask=slot < bins + 2)
