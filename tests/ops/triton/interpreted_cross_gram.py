"""cross_gram through Triton, in its interpreter, against sums in extended precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import NonFiniteError, ZeroNormError
from featdiv.ops import _device_moments
from featdiv.ops.cross_gram import CrossSums, Side, cross_gram, triton_
from featdiv.ops.scatter import PRECISIONS
from featdiv.testing import cases
from featdiv.testing.compare import assert_cross_gram_backend


def check(x, other, **arguments) -> CrossSums:
    return assert_cross_gram_backend(triton_.cross_gram, x, other, **arguments)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        *((dtype, "float32") for dtype in ("float64", "float16", "bfloat16", "int8")),
        *(("float32", precision) for precision in PRECISIONS),
    ],
)
def test_every_kind_of_type_and_every_precision(dtype, precision):
    sums = check(
        cases.of_type(dtype, 131, 7), cases.of_type(dtype, 131, 19, seed=1), precision=precision, context=dtype
    )
    assert sums.tiles == 3
    assert sums.tiles_in_float64 == 0


@pytest.mark.parametrize(("n", "p", "q"), [(1, 1, 1), (2, 70, 1), (65, 66, 70)])
def test_odd_shapes(n, p, q):
    check(cases.of_type("float32", n, p), cases.of_type("float32", n, q, seed=1))


def test_shift_exponent_and_normalise():
    x = cases.of_type("float32", 100, 6, seed=1) + np.float32(1000.0)
    y = cases.of_type("float32", 100, 70, seed=2) - np.float32(1000.0)
    exponents = np.array([3, -2, 0, 1, 7, -5], np.int32), None
    shifts = np.full(6, 1000.0), np.full(70, -1000.0)
    check(x, y, shifts=shifts, exponents=exponents)
    check(x, y, normalize="l2", shifts=(None, np.full(70, 0.25)), precision="float64")


def test_strides_and_more_rows_than_are_packed_at_a_time(monkeypatch):
    monkeypatch.setattr(_device_moments, "PACKED_BYTES", 1 << 18)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 3)
    base = torch.from_numpy(cases.of_type("float32", 500, 24))
    check(base[:, 3:17], base.T.contiguous().T)


def test_bfloat16_asked_for_where_it_is_too_coarse_gets_more_terms():
    """1 + 2^-8 lies half way between two bfloat16 numbers: each product would be off by 0.8 %."""
    rows = np.full((300, 3), 1 + 2.0**-8, np.float32)
    sums = CrossSums.zeros(3, 3)
    cross_gram(rows, -rows, sums, precision="bfloat16", backend="triton")
    assert sums.gram == pytest.approx(-300 * (1 + 2.0**-8) ** 2, rel=1e-6)
    assert sums.tiles_in_float64 == 0


def test_rows_beyond_the_range_of_the_split_and_bad_ones():
    x, y = (
        cases.of_type("float32", 70, 5) * np.float32(1e-30),
        cases.of_type("float32", 70, 4, seed=1) * np.float32(1e30),
    )
    sums = check(x, y)
    assert sums.tiles_in_float64 == sums.tiles == 2
    y[60] = 0.0
    left, right = (Side(rows=rows, shift=None, exponent=None) for rows in (x, y))
    with pytest.raises(ZeroNormError, match=r"cross_gram: other: .* 1 zero rows, the first is row 60"):
        triton_.cross_gram(left, right, CrossSums.zeros(5, 4), normalize="l2")
    x[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"cross_gram: x: .* 1 NaN or infinite entries, the first in row 3"):
        triton_.cross_gram(left, right, CrossSums.zeros(5, 4))
