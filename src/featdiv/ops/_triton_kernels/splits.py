"""Numbers as sums of bfloat16 terms, each rounded to nearest even."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def nearest_bfloat16(x):
    """Returns float32 values rounded to bfloat16, still as float32.

    The last 16 bits are rounded away by integer arithmetic: Triton's interpreter truncates in its own conversion.
    """
    bits = x.to(tl.uint32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    # Rounding must not turn a NaN into a number or a zero.
    return tl.where(x == x, rounded, bits | 0x400000).to(tl.uint32).to(tl.float32, bitcast=True)


@triton.jit
def first_product(a, b, upcast: tl.constexpr):
    """Returns a^T b in float32 (float64 of float64) of (k, i) and (k, j) blocks."""
    if upcast:
        product = tl.dot(tl.trans(a.to(tl.float32)), b.to(tl.float32), input_precision="ieee")
    else:
        product = tl.dot(tl.trans(a), b)
    return product


@triton.jit
def add_product(a, b, total, upcast: tl.constexpr):
    """Returns total + a^T b; the sum is the tensor core's."""
    if upcast:
        total += tl.dot(tl.trans(a.to(tl.float32)), b.to(tl.float32), input_precision="ieee")
    else:
        total = tl.dot(tl.trans(a), b, total)
    return total
