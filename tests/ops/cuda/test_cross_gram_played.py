"""cross_gram through the CUDA kernels, played on the host, against sums in extended precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import BudgetExceeded, NonFiniteError, ZeroNormError
from featdiv.ops import _cupy, _device_cross, _device_moments, _dispatch
from featdiv.ops._routes import route
from featdiv.ops.cross_gram import CrossSums, Side, cuda_
from featdiv.ops.scatter import PRECISIONS
from featdiv.testing import cases
from featdiv.testing.compare import assert_cross_gram_backend

pytestmark = pytest.mark.usefixtures("played")


def check(x, other, **arguments) -> CrossSums:
    return assert_cross_gram_backend(cuda_.cross_gram, x, other, **arguments)


def add(x, other, sums, **arguments) -> None:
    left, right = (Side(rows=rows, shift=None, exponent=None) for rows in (x, other))
    cuda_.cross_gram(left, right, sums, **arguments)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        *((dtype, "float32") for dtype in ("float64", "float16", "bfloat16", "int8", "int64", "bool")),
        *(("float32", precision) for precision in PRECISIONS),
    ],
)
def test_every_kind_of_type_and_every_precision(dtype, precision):
    sums = check(
        cases.of_type(dtype, 131, 7), cases.of_type(dtype, 131, 19, seed=1), precision=precision, context=dtype
    )
    assert sums.tiles == 3
    assert sums.tiles_in_float64 == 0


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_tiles_of_many_features_and_features_of_more_than_one_tile(played, precision):
    check(cases.of_type("float32", 70, 141), cases.of_type("float32", 70, 66, seed=1), precision=precision)
    terms = route("float32", precision, transformed=False)
    side = 64 if precision == "float64" else 128
    assert f"gram_{terms.element}_{terms.products}_{side}" in played.launched


@pytest.mark.parametrize(("n", "p", "q"), [(1, 1, 1), (1, 5, 2), (63, 70, 3), (64, 2, 64), (65, 65, 1), (130, 3, 129)])
def test_odd_shapes(n, p, q):
    check(cases.of_type("float32", n, p), cases.of_type("float32", n, q, seed=1))


@pytest.mark.parametrize("name", list(cases.GENERATORS))
def test_every_distribution_without_falling_back_to_float64(name):
    """Features of the same rows and of others; the aligned ones are those whose sums drift."""
    rows = cases.make(name, 200, 13).rows
    x, y = (np.ascontiguousarray(rows[:, some]) for some in (slice(9), slice(4, 13)))
    for precision in ("float32", "mixed"):
        sums = check(x, y, precision=precision, context=name)
        assert sums.tiles_in_float64 == 0


def test_sums_of_constant_magnitude_do_not_drift(monkeypatch):
    """Every product of the aligned columns has the same magnitude and sign."""
    monkeypatch.setattr(_device_moments, "PROGRAMS", 1)
    signs = np.sign(np.random.default_rng(0).normal(size=(1200, 3)))
    check((signs / 3).astype(np.float32), (0.3 * signs[:, ::-1]).astype(np.float32))


def test_shift_exponent_and_normalise():
    x = cases.of_type("float32", 100, 6, seed=1) + np.float32(1000.0)
    y = cases.of_type("float32", 100, 70, seed=2) - np.float32(1000.0)
    exponents = np.array([3, -2, 0, 1, 7, -5], np.int32), None
    shifts = np.full(6, 1000.0), np.full(70, -1000.0)
    check(x, y, shifts=shifts)
    check(x, y, shifts=shifts, exponents=exponents, precision="mixed")
    check(x, y, normalize="l2")
    check(x - 1000, y, normalize="l2", shifts=(np.full(6, 0.25), None), precision="float64")
    check(x.astype(np.float16), y.astype(np.float16), shifts=(None, shifts[1]))


def test_strided_rows_are_read_in_place():
    base = torch.from_numpy(cases.of_type("float32", 150, 24))
    check(base[:, 3:17], base.T.contiguous().T)
    check(base[::3, ::2], base[:50])


def test_more_rows_than_are_packed_at_a_time(monkeypatch):
    monkeypatch.setattr(_device_moments, "PACKED_BYTES", 1 << 18)
    monkeypatch.setattr(_device_moments, "PROGRAMS", 3)
    check(cases.of_type("float32", 700, 30), cases.of_type("float32", 700, 5, seed=1))


@pytest.mark.parametrize("precision", ["bfloat16", "float32", "float64"])
def test_neither_the_order_of_threads_nor_the_moment_of_a_copy_matters(played, precision):
    x, y, found = cases.of_type("float32", 150, 21), cases.of_type("float32", 150, 70, seed=1), []
    for played.backwards, played.eager in ((False, False), (True, False), (False, True), (True, True)):
        sums = CrossSums.zeros(21, 70, norm_sums=True)
        add(x, y, sums, precision=precision, normalize="l2")
        parts = (sums.gram, sums.total, sums.other_total, sums.weighted, sums.other_weighted, sums.fourth)
        found.append(np.concatenate([part.ravel() for part in parts]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("scales", [(1e-30, 1e30), (1e25, 1.0)])
def test_rows_beyond_the_range_of_the_split_go_to_float64(scales):
    x, y = (cases.of_type("float32", 70, 5, seed) * np.float32(scale) for seed, scale in enumerate(scales))
    sums = CrossSums.zeros(5, 5)
    add(x, y, sums)
    truth = x.astype(float).T @ y.astype(float)
    np.testing.assert_allclose(sums.gram, truth, rtol=0, atol=1e-13 * np.abs(truth).max())
    assert sums.tiles_in_float64 == sums.tiles == 2


def test_bfloat16_asked_for_where_it_is_too_coarse_gets_more_terms():
    """Two magnitudes half way between bfloat16 numbers, of which one is rounded down and the other up.

    Up for negative products and down for positive ones: the products, whose sum is nearly zero, are all off by 0.8 % in
    one direction, which neither their sum nor the sums of squares give away.
    """
    low, high = 1 + 2.0**-8, 1 + 3 * 2.0**-8
    first = np.arange(300) % 2 == 0
    x = np.where(first, low, -high)[:, None].astype(np.float32)
    y = np.where(first, low, high)[:, None].astype(np.float32)
    terms = (torch.from_numpy(each).bfloat16().double().numpy() for each in (x, y))
    coarse = np.multiply(*terms).sum()
    exact = float((x.astype(float) * y).sum())
    assert abs(coarse - exact) > PRECISIONS["bfloat16"] * 300
    sums = check(x, y, precision="bfloat16")
    assert sums.gram[0, 0] == pytest.approx(exact, abs=1e-6 * 300)
    assert sums.tiles_in_float64 == 0


def test_bfloat16_is_enough_for_most_rows(played):
    check(cases.of_type("float32", 200, 9), cases.of_type("float32", 200, 4, seed=1), precision="bfloat16")
    assert not [name for name in played.launched if "gram_bfloat16_6" in name]


def test_units_that_add_up_wrongly_are_noticed(played, monkeypatch):
    """A kernel that forgets the small products: its diagonal is off, and float64 mends it."""

    def without_the_small(source, name, **more):
        planes = more["arguments"][0]
        if name.startswith("gram_bfloat16_6"):
            planes[planes.numel() // 3 :] = 0
        played.launch(source, name, **more)

    monkeypatch.setattr(_cupy, "launch", without_the_small)
    x = np.full((90, 4), 1 + 2.0**-10, np.float32)
    sums = check(x, x)
    assert sums.tiles_in_float64 == sums.tiles


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_rows_are_named_by_set_and_number(bad):
    x, y = cases.of_type("float32", 90, 4), cases.of_type("float32", 90, 3, seed=1)
    y[60] = 0.0
    with pytest.raises(ZeroNormError, match=r"cross_gram: other: .* 1 zero rows, the first is row 60"):
        add(x, y, CrossSums.zeros(4, 3), normalize="l2")
    x[80:82, 0] = bad
    for arguments in ({}, {"normalize": "l2"}, {"precision": "float64"}):
        with pytest.raises(NonFiniteError, match=r"cross_gram: x: .* 2 NaN or infinite entries, the first in row 80"):
            add(x, y, CrossSums.zeros(4, 3), **arguments)


def test_norm_sums_are_kept_only_where_they_are_wanted(played):
    sums = CrossSums.zeros(4, 3)
    add(cases.of_type("float32", 50, 4), cases.of_type("float32", 50, 3), sums)
    assert sums.weighted is sums.other_weighted is sums.fourth is None
    assert "norm_sums" not in played.launched


def test_less_memory_than_one_block_of_rows_takes(monkeypatch):
    def none(size, *arguments, **more):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", none)
    with pytest.raises(BudgetExceeded, match=r"products of rows of 5 and 7 features need 1 MiB of free memory on cpu"):
        check(cases.of_type("float32", 300, 5), cases.of_type("float32", 300, 7))


def test_it_is_asked_for_by_name_and_wants_a_device():
    request = _dispatch.Request(op="cross_gram", device="cpu", dtype="float32", d=4)
    assert "works on CUDA arrays; these are on 'cpu'" in _dispatch.unsupported_reason(request, "cuda")
    assert "works on CUDA rows; these are on 'cpu'" in _dispatch.unsupported_reason(request, "triton")
    assert 0 < _device_cross.SPLIT_SHARE < 1
