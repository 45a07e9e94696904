"""Native scatter against the float64 oracle and closed forms, on every instruction set, any threads."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _native
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops.scatter import Sums, native_, scatter

DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


def summed(rows, backend="native", **options):
    sums = Sums.zeros(int(rows.shape[1]), norm_sums=options.pop("norm_sums", True))
    assert scatter(rows, sums, backend=backend, **options) == backend
    return sums


def assert_agree(got: Sums, want: Sums, bound: float) -> None:
    """The tolerance of the contract: Frobenius and entrywise for the products, like it for the rest."""
    true = want.symmetric_gram()
    # Powers of two, so that neither squares nor products of the scales overflow; exact.
    spread = np.sqrt(np.diag(true))
    scale = np.where(spread > 0, np.exp2(np.round(np.log2(np.where(spread > 0, spread, 1.0)))), 1.0)
    error = (got.symmetric_gram() - true) / scale[:, None] / scale
    size = spread / scale
    assert got.n == want.n
    assert (np.abs(error) <= bound * np.outer(size, size)).all(), np.abs(error).max()
    weight = np.outer(scale / scale.max(), scale / scale.max())
    assert np.linalg.norm(error * weight) <= bound * np.linalg.norm(true / scale[:, None] / scale * weight)
    assert (np.abs(got.total - want.total) <= bound * np.sqrt(max(want.n, 1)) * spread).all()
    if want.weighted is not None:
        room = 4 * bound * np.sqrt(float(want.fourth[0])) * spread
        assert (np.abs(got.weighted - want.weighted) <= room).all()
        assert abs(got.fourth[0] - want.fourth[0]) <= 4 * bound * want.fourth[0]


def rows_of(dtype: str, rng, n: int, d: int):
    values = rng.normal(3.0, 2.0, size=(n, d))
    if dtype == "bfloat16":
        return torch.from_numpy(values).to(torch.bfloat16)
    if dtype == "bool":
        return values > 3.0
    if dtype.startswith("uint"):
        values = np.abs(values)
    return np.ascontiguousarray((values * 9 if "int" in dtype else values).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_element_type(isa, rng, dtype, precision):
    rows = rows_of(dtype, rng, 203, 67)
    shift = rng.normal(3.0, 1.0, size=67)
    exponent = rng.integers(-3, 4, size=67).astype(np.int32)
    exact = {"shift": shift.astype(np.float32).astype(float), "exponent": exponent}
    for options in ({}, {"shift": shift}, exact):
        got = summed(rows, precision=precision, **options)
        assert_agree(got, summed(rows, "reference", **options), max(PRECISIONS[precision], 2e-14))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32"])
def test_rows_divided_by_their_norms(isa, rng, dtype):
    rows = rows_of(dtype, rng, 130, 50)
    shift = rng.normal(0.0, 0.1, size=50)
    got = summed(rows, normalize="l2", shift=shift)
    assert_agree(got, summed(rows, "reference", normalize="l2", shift=shift), 1e-6)


@pytest.mark.parametrize("d", [1, 2, 3, 8, 15, 16, 17, 31, 47, 48, 49, 95, 96, 97, 145])
@pytest.mark.parametrize("n", [1, 2, 31, 33, 64, 65])
def test_odd_shapes(isa, rng, n, d):
    rows = rng.normal(size=(n, d)).astype(np.float32)
    assert_agree(summed(rows), summed(rows, "reference"), 1e-6)
    assert_agree(summed(rows, precision="float64"), summed(rows, "reference"), 2e-14)


def test_many_tiles_of_rows(isa, rng):
    rows = rng.normal(size=(9000, 20)).astype(np.float32)
    got = summed(rows)
    assert got.tiles > 1
    assert_agree(got, summed(rows, "reference"), 1e-6)


CASES = {
    "gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "heavy-tailed": lambda rng, n, d: rng.standard_t(2, size=(n, d)),
    "near-rank-one": lambda rng, n, d: rng.normal(size=(n, 1)) + 1e-3 * rng.normal(size=(n, d)),
    "relu": lambda rng, n, d: np.maximum(rng.normal(size=(n, d)), 0.0),
    "signs": lambda rng, n, d: np.sign(rng.normal(size=(n, d))) * rng.uniform(0.1, 4.0, size=d),
    "one sign": lambda rng, n, d: rng.uniform(1.0, 2.0, size=d) * np.ones((n, d)),
    "copies": lambda rng, n, d: np.sign(rng.normal(size=(n, 1))) * np.full((n, d), 1.3579),
    "counts": lambda rng, n, d: rng.poisson(3.0, size=(n, d)),
    "offset": lambda rng, n, d: 100.0 + rng.normal(size=(n, d)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_bound_holds_on_every_distribution(isa, rng, case, dtype):
    values = CASES[case](rng, 2100, 60)
    rows = torch.from_numpy(values).to(torch.bfloat16) if dtype == "bfloat16" else values.astype(dtype)
    assert_agree(summed(rows, norm_sums=False), summed(rows, "reference", norm_sums=False), 1e-6)


@pytest.mark.parametrize("low_bits", [0x555555, 0x3FFFFF, 0x7FFFFF, 0x2AAAAA, 0x124924])
def test_constant_columns_have_a_closed_form(isa, low_bits):
    """n times the square: rounding is the same at every addition, and the last bits are unfavourable."""
    value = np.array([0x3F800000 + low_bits], dtype=np.uint32).view(np.float32)[0]
    rows = np.full((4096, 5), value, dtype=np.float32)
    truth = 4096 * float(value) ** 2
    gram = summed(rows).symmetric_gram()
    assert np.abs(gram / truth - 1).max() <= 1e-6
    assert summed(rows).total == pytest.approx(4096 * float(value), rel=2e-7)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-20, 1e18, 1e30])
def test_scales_where_float32_products_leave_their_range(isa, rng, scale):
    rows = (scale * rng.normal(size=(700, 30))).astype(np.float32)
    assert_agree(summed(rows, norm_sums=False), summed(rows, "reference", norm_sums=False), 1e-6)


def test_columns_of_many_scales_and_zero_columns(isa, rng):
    rows = (10.0 ** rng.uniform(-37, 36, size=40) * rng.normal(size=(600, 40))).astype(np.float32)
    rows[:, 7] = 0.0
    got, want = summed(rows, norm_sums=False), summed(rows, "reference", norm_sums=False)
    assert got.tiles_in_float64 == got.tiles
    assert_agree(got, want, 1e-6)
    assert (got.symmetric_gram()[7] == 0).all()


def test_only_the_tile_that_needs_it_is_multiplied_in_float64(rng):
    rows = rng.normal(size=(20000, 16)).astype(np.float32)
    rows[17000] *= np.float32(1e25)
    got = summed(rows, norm_sums=False)
    assert got.tiles_in_float64 == 1 < got.tiles
    assert_agree(got, summed(rows, "reference", norm_sums=False), 1e-6)


def test_float64_values_that_float32_cannot_hold(isa, rng):
    rows = 1e200 * rng.normal(size=(50, 9))
    less = rows / 1e60
    assert_agree(summed(less, norm_sums=False), summed(less, "reference", norm_sums=False), 1e-6)
    assert_agree(summed(rows, normalize="l2"), summed(rows, "reference", normalize="l2"), 1e-6)
    tiny = rows / 1e200 / 1e200
    assert_agree(summed(tiny, normalize="l2"), summed(tiny, "reference", normalize="l2"), 1e-6)


def test_wide_types_are_shifted_before_they_are_rounded(isa, rng):
    small = rng.integers(-50, 50, size=(300, 12))
    for rows in (2**40 + small, 1e9 + small.astype(np.float64)):
        shift = np.full(12, float(rows[0, 0] - small[0, 0]))
        truth = small.T.astype(float) @ small
        assert (summed(rows, shift=shift).symmetric_gram() == truth).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(isa, rng, dtype, value):
    rows = rows_of(dtype, rng, 1500, 33)
    for i, j in ((1203, 32), (700, 0), (700, 16)):
        rows[i, j] = value
    for options in ({}, {"shift": np.full(33, 3.3)}, {"normalize": "l2"}, {"precision": "float64"}):
        with pytest.raises(NonFiniteError, match="3 NaN or infinite entries, the first in row 700") as error:
            summed(rows, **options)
        assert (error.value.count, error.value.first_row) == (3, 700)
    columns = np.asfortranarray(rows) if isinstance(rows, np.ndarray) else rows.T.contiguous().T
    with pytest.raises(NonFiniteError, match="3 NaN or infinite entries, the first in row 700"):
        summed(columns)


def test_zero_rows_have_no_direction(isa, rng):
    rows = rng.normal(size=(400, 20)).astype(np.float32)
    rows[[300, 310]] = 0.0
    with pytest.raises(ZeroNormError, match="2 zero rows, the first is row 300"):
        summed(rows, normalize="l2")
    rows[350, 3] = np.nan
    with pytest.raises(NonFiniteError, match="row 350"):
        summed(rows, normalize="l2")


def test_any_strides_and_addresses(isa, rng):
    base = rng.normal(size=(300, 90)).astype(np.float32)
    raw = np.frombuffer(b"x" + base.tobytes(), dtype=np.uint8)[1:]
    views = {
        "rows": base[::3],
        "backwards": base[::-1],
        "columns": base[:, ::2],
        "columns backwards": base[:, ::-1],
        "inner": base[5:200, 7:60],
        "transposed": base.T,
        "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(base[0], (77, 90)),
        "misaligned": np.ndarray(base.shape, np.float32, buffer=raw.data),
        "big endian": base.astype(">f4"),
        "read only": np.ndarray(base.shape, np.float32, buffer=base.tobytes()),
        "torch": torch.from_numpy(base)[::2, 3:],
        "torch columns": torch.from_numpy(base).to(torch.bfloat16)[:, ::3],
        "torch grad": torch.from_numpy(base.copy()).requires_grad_(),
    }
    for name, view in views.items():
        before = np.array(view) if isinstance(view, np.ndarray) else view.detach().float().numpy().copy()
        assert_agree(summed(view), summed(view, "reference"), 1e-6)
        after = np.array(view) if isinstance(view, np.ndarray) else view.detach().float().numpy()
        assert (before == after).all(), name


def test_no_rows(isa):
    got = summed(np.zeros((0, 5), dtype=np.float32))
    assert got.n == 0
    assert not got.gram.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_nothing(isa, rng, threads, dtype):
    rows = rows_of(dtype, rng, 5000, 100)
    results = []
    for count in (1, 2, 3, 8):
        threads(count)
        sums = summed(rows, shift=np.full(100, 3.0))
        results.append(b"".join(s.tobytes() for s in (sums.gram, sums.total, sums.weighted, sums.fourth)))
    assert len(set(results)) == 1


def test_calls_add_to_what_is_there(rng):
    rows = rng.normal(size=(500, 40)).astype(np.float32)
    sums = Sums.zeros(40, norm_sums=True)
    scatter(rows[:123], sums, backend="native")
    scatter(rows[123:], sums, backend="native")
    assert_agree(sums, summed(rows, "reference"), 1e-6)


def test_the_lower_triangle_is_left_alone(isa, rng):
    sums = Sums.zeros(70)
    sums.gram[np.tril_indices(70, -1)] = 123.0
    scatter(rng.normal(size=(100, 70)), sums, backend="native")
    assert (sums.gram[np.tril_indices(70, -1)] == 123.0).all()


def test_accumulators_and_columns_are_checked(rng):
    rows = rng.normal(size=(10, 4))
    with pytest.raises(InputError, match=r"shift: expected shape \(4,\)"):
        summed(rows, shift=np.zeros(3))
    with pytest.raises(InputError, match=r"exponent: expected shape \(4,\)"):
        summed(rows, exponent=np.zeros(5, dtype=np.int32))
    for broken in (np.zeros((4, 4), order="F"), np.zeros((3, 3)), np.zeros((4, 4), dtype=np.float32)):
        sums = Sums(n=0, total=np.zeros(4), gram=broken)
        with pytest.raises(InputError, match=r"sums\.gram: expected a writeable"):
            scatter(rows, sums, backend="native")


def test_a_wrong_kernel_is_caught(rng, monkeypatch):
    """The tolerance sees an error of three bounds in one entry, and one missing row."""
    rows = rng.normal(size=(500, 30)).astype(np.float32)
    true = native_.scatter

    def off_by_a_little(rows, sums, **options):
        true(rows, sums, **options)
        sums.gram[3, 17] += 3e-6 * np.sqrt(sums.gram[3, 3] * sums.gram[17, 17])

    def a_row_short(rows, sums, **options):
        true(rows[1:], sums, **options)
        sums.n += 1

    for planted in (off_by_a_little, a_row_short):
        monkeypatch.setattr(native_, "scatter", planted)
        with pytest.raises(AssertionError):
            assert_agree(summed(rows), summed(rows, "reference"), 1e-6)


def test_a_forked_child_has_threads_of_its_own(rng, threads):
    threads(3)
    rows = rng.normal(size=(4000, 64)).astype(np.float32)
    want = summed(rows).gram.tobytes()
    child = os.fork()
    if child == 0:
        try:
            good = summed(rows).gram.tobytes() == want
        except BaseException:
            good = False
        os._exit(0 if good else 1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked child hangs")
    assert summed(rows).gram.tobytes() == want


def test_python_threads_may_call_at_the_same_time(rng, threads):
    threads(2)
    rows = rng.normal(size=(3000, 50)).astype(np.float32)
    want = summed(rows).gram.tobytes()
    results = []
    workers = [threading.Thread(target=lambda: results.append(summed(rows).gram.tobytes())) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert results == [want] * 4


def test_it_is_the_first_choice_on_the_cpu(rng):
    sums = Sums.zeros(3)
    assert scatter(rng.normal(size=(10, 3)), sums) == "native"
    assert _native.describe().startswith("featdiv._cpu (")
