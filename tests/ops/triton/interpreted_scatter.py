"""scatter through Triton, in its interpreter, against the float64 sums of the harness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import BackendUnavailable, NonFiniteError, ZeroNormError
from featdiv.ops import _dispatch
from featdiv.ops.scatter import PRECISIONS, Sums, scatter, triton_
from featdiv.testing import cases
from featdiv.testing.compare import assert_scatter_backend

DTYPES = ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64"]


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [*((dtype, "float32") for dtype in DTYPES), *(("float32", precision) for precision in PRECISIONS)],
)
def test_every_type_and_precision(dtype, precision):
    assert_scatter_backend(triton_.scatter, cases.of_type(dtype, 131, 19), precision=precision, context=dtype)


@pytest.mark.parametrize("name", list(cases.GENERATORS))
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_every_distribution_without_falling_back_to_float64(name, precision):
    seen = []

    def watched(rows, sums, **arguments):
        triton_.scatter(rows, sums, **arguments)
        seen.append(sums)

    assert_scatter_backend(watched, cases.make(name, 200, 21).rows, precision=precision, context=name)
    assert [(sums.tiles, sums.tiles_in_float64) for sums in seen] == [(4, 0)]


@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 5), (2, 1), (63, 3), (64, 64), (65, 65), (130, 129), (300, 2)])
def test_odd_shapes(n, d):
    assert_scatter_backend(triton_.scatter, cases.of_type("float32", n, d))


def test_shift_exponent_and_normalise():
    rows = cases.of_type("float32", 100, 6, seed=1) + np.float32(1000.0)
    shift = np.full(6, 1000.0)
    exponent = np.array([3, -2, 0, 1, 7, -5], np.int32)
    assert_scatter_backend(triton_.scatter, rows, shift=shift)
    assert_scatter_backend(triton_.scatter, rows, shift=shift, exponent=exponent)
    assert_scatter_backend(triton_.scatter, rows, normalize="l2")
    assert_scatter_backend(triton_.scatter, rows - 1000, normalize="l2", shift=np.full(6, 0.25), precision="float64")


def test_strided_rows_are_read_in_place():
    base = torch.from_numpy(cases.of_type("float32", 150, 24))
    for rows in (base[:, 3:17], base[::3, ::2], base.T.contiguous().T, base[5:]):
        assert_scatter_backend(triton_.scatter, rows)


def test_more_rows_than_are_packed_at_a_time(monkeypatch):
    from featdiv.ops import _device_moments

    monkeypatch.setattr(_device_moments, "PACKED_BYTES", 1 << 17)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 3)
    assert_scatter_backend(triton_.scatter, cases.of_type("float32", 700, 30))


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_rows_beyond_the_range_of_the_split_go_to_float64(scale):
    rows = cases.of_type("float32", 70, 5) * np.float32(scale)
    sums = Sums.zeros(5)
    triton_.scatter(rows, sums)
    truth = rows.astype(float).T @ rows.astype(float)
    np.testing.assert_allclose(sums.symmetric_gram(), truth, rtol=0, atol=1e-14 * truth.max())
    assert sums.tiles_in_float64 == sums.tiles == 2


def test_bfloat16_asked_for_where_it_is_too_coarse_gets_more_terms():
    """1 + 2^-8 lies half way between two bfloat16 numbers: each square would be off by 0.8 %."""
    rows = np.full((300, 3), 1 + 2.0**-8, np.float32)
    sums = Sums.zeros(3)
    triton_.scatter(rows, sums, precision="bfloat16")
    assert sums.symmetric_gram() == pytest.approx(300 * (1 + 2.0**-8) ** 2, rel=1e-6)
    assert sums.tiles_in_float64 == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_nonfinite_rows_are_counted_and_placed(bad, precision):
    rows = cases.of_type("float32", 200, 7)
    rows[150, 2] = rows[170, 0] = bad
    with pytest.raises(NonFiniteError, match="got 2 NaN or infinite entries, the first in row 150"):
        triton_.scatter(rows, Sums.zeros(7), precision=precision)


def test_zero_rows_have_no_direction():
    rows = cases.of_type("float32", 90, 4)
    rows[70:72] = 0
    with pytest.raises(ZeroNormError, match="got 2 zero rows, the first is row 70"):
        triton_.scatter(rows, Sums.zeros(4), normalize="l2")


def test_the_op_runs_it_when_asked_by_name():
    rows = cases.of_type("float32", 50, 4)
    assert scatter(rows, Sums.zeros(4), backend="triton") == "triton"
    with pytest.raises(BackendUnavailable, match="cannot read rows of type uint16"):
        scatter(rows.astype(np.uint16), Sums.zeros(4), backend="triton")


def test_rows_without_an_interpreter_must_be_on_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    request = _dispatch.Request(op="scatter", device="cpu", dtype="float32", d=4)
    assert "works on CUDA rows; these are on 'cpu'" in triton_.unsupported_reason(request)
