"""Every scatter backend against float64 sums written out here, on every type, shape and scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import NonFiniteError, ZeroNormError
from featdiv.ops import _dispatch
from featdiv.ops.scatter import PRECISIONS, Sums, scatter

BACKENDS = [
    name
    for name in _dispatch.OPS["scatter"]
    if _dispatch.unsupported_reason(_dispatch.Request(op="scatter", d=8), name) is None
]


def oracle(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Sums of z in extended precision, one row at a time: nothing is shared with the code under test."""
    z = z.astype(np.longdouble)
    squares = (z * z).sum(axis=1)
    gram = np.zeros((z.shape[1], z.shape[1]), dtype=np.longdouble)
    for row in z:
        gram += np.multiply.outer(row, row)
    return z.sum(axis=0), gram, (squares[:, None] * z).sum(axis=0), float((squares * squares).sum())


def check(rows, backend, *, precision="float32", shift=None, exponent=None, normalize=None) -> Sums:
    sums = Sums.zeros(rows.shape[1], norm_sums=True)
    ran = scatter(rows, sums, shift=shift, exponent=exponent, precision=precision, normalize=normalize, backend=backend)
    assert ran == backend
    z = rows.to(torch.float64).numpy() if isinstance(rows, torch.Tensor) else np.asarray(rows, dtype=np.float64)
    z = z.astype(np.longdouble)
    if normalize:
        z = z / np.sqrt((z * z).sum(axis=1))[:, None]
    if shift is not None:
        z = z - shift
    if exponent is not None:
        z = z * np.exp2(exponent.astype(np.longdouble))
    total, gram, weighted, fourth = oracle(z)
    bound = PRECISIONS[precision]
    got = sums.symmetric_gram()
    scale = np.sqrt(np.multiply.outer(gram.diagonal(), gram.diagonal()))
    assert sums.n == len(z)
    assert np.linalg.norm((got - gram).astype(float)) <= bound * np.linalg.norm(gram.astype(float))
    assert np.all(np.abs(got - gram) <= bound * scale + 1e-300)
    assert np.all(np.abs(sums.total - total) <= bound * np.abs(z).sum(axis=0) + 1e-300)
    assert np.linalg.norm((sums.weighted - weighted).astype(float)) <= 10 * bound * float(
        ((z * z).sum(axis=1)[:, None] * np.abs(z)).sum()
    )
    assert float(sums.fourth[0]) == pytest.approx(fourth, rel=max(4 * bound, 1e-12))
    return sums


def rows_of(dtype: str, n: int, d: int, seed: int = 0):
    random = np.random.default_rng(seed)
    if dtype == "bfloat16":
        return torch.from_numpy(random.standard_normal((n, d))).to(torch.bfloat16)
    if dtype.startswith(("int", "uint")):
        top = {"8": 100, "6": 30_000, "2": 10**9, "4": 10**12}[dtype[-1]]
        low = 0 if dtype.startswith("u") else -top
        return random.integers(low, top, size=(n, d)).astype(dtype)
    return random.standard_normal((n, d)).astype(dtype)


DTYPES = ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_every_type_and_precision(backend, dtype, precision):
    check(rows_of(dtype, 700, 19), backend, precision=precision)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 5), (2, 1), (15, 3), (16, 4), (17, 257), (600, 1), (1031, 33)])
def test_odd_shapes(backend, n, d):
    check(rows_of("float32", n, d), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_add_nothing(backend):
    sums = Sums.zeros(3)
    scatter(np.empty((0, 3), np.float32), sums, backend=backend)
    assert sums.n == 0
    assert not sums.gram.any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "layout", ["columns", "step", "fortran", "reversed", "byteswapped", "misaligned", "record", "readonly"]
)
def test_every_layout(backend, layout):
    base = rows_of("float32", 300, 24)
    if layout == "columns":
        rows = base[:, 3:17]
    elif layout == "step":
        rows = base[::3, ::2]
    elif layout == "fortran":
        rows = np.asfortranarray(base)
    elif layout == "reversed":
        rows = base[::-1, ::-1]
    elif layout == "byteswapped":
        rows = base.astype(">f4")
    elif layout == "misaligned":
        raw = np.empty(base.nbytes + 1, np.uint8)
        rows = raw[1:].view(np.float32).reshape(base.shape)
        rows[...] = base
    elif layout == "record":
        # A row takes 97 bytes, which no number of floats does.
        rows = np.zeros(300, dtype=[("flag", "i1"), ("features", "f4", (24,))])["features"]
        rows[...] = base
    else:
        rows = base.copy()
        rows.setflags(write=False)
    before = rows.copy()
    check(rows, backend)
    assert np.array_equal(before, rows)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_shift_exponent_and_normalise(backend, precision):
    random = np.random.default_rng(1)
    rows = (random.standard_normal((400, 6)) + 1000.0).astype(np.float32)
    shift = np.full(6, 1000.0)
    check(rows, backend, precision=precision, shift=shift)
    check(rows, backend, precision=precision, shift=shift, exponent=np.array([3, -2, 0, 1, 7, -5], np.int32))
    check(rows, backend, precision=precision, normalize="l2")
    check(rows - 1000.0, backend, precision=precision, normalize="l2", shift=np.full(6, 0.25))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda r: r.standard_t(2.0, (3000, 12)), id="heavy tails"),
        pytest.param(lambda r: np.sign(r.standard_normal((9000, 12))) / 3, id="constant magnitude"),
        pytest.param(lambda r: np.sign(r.standard_normal((9000, 1))) * np.full(12, 0.7), id="equal columns"),
        pytest.param(lambda r: np.maximum(r.standard_normal((3000, 12)), 0), id="relu"),
        pytest.param(lambda r: r.poisson(3.0, (3000, 12)), id="counts"),
        pytest.param(lambda r: r.standard_normal((3000, 1)) + 1e-3 * r.standard_normal((3000, 12)), id="near rank one"),
    ],
)
def test_float32_keeps_its_bound_where_float32_sums_drift(backend, make):
    check(make(np.random.default_rng(2)).astype(np.float32), backend)


def test_a_drifting_tile_is_redone_in_float64():
    column = np.full((8192, 1), np.float32(1 / 3)) * np.ones(8, np.float32)
    naive = column.T @ column
    truth = 8192 * float(np.float32(1 / 3)) ** 2
    sums = check(column, "numpy")
    # Whether a plain product drifts depends on the BLAS; only where it does must the tile have been redone.
    if np.abs(naive / truth - 1.0).max() > 1e-6:
        assert sums.tiles_in_float64 > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-18, 1e25])
def test_products_that_leave_float32(backend, scale):
    rows = (np.random.default_rng(3).standard_normal((500, 5)) * scale).astype(np.float32)
    check(rows, backend, exponent=np.full(5, 60 if scale < 1 else -80, np.int32))
    if scale > 1:
        check(rows, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e-30), ("float64", 1e-50), ("float64", 1e-120)])
def test_columns_that_vanish_in_float32(backend, dtype, scale):
    rows = np.random.default_rng(5).standard_normal((300, 3)).astype(dtype)
    rows[:, 1] *= scale
    sums = check(rows, backend)
    assert sums.gram[1, 1] > 0.0
    check(rows[:, 1:2], backend, shift=np.array([scale]))
    rows[:, 1] = 0.0
    # Columns of zeros are common, and cost no float64 products.
    assert check(rows, backend).tiles_in_float64 == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_common_rows_are_not_multiplied_in_float64(backend, dtype):
    rows = np.random.default_rng(6).standard_normal((9000, 200)).astype(dtype)
    sums = Sums.zeros(200)
    scatter(rows, sums, backend=backend)
    assert sums.tiles_in_float64 == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_norm_sums_that_leave_float32(backend):
    rows = np.random.default_rng(6).standard_normal((200, 40)).astype(np.float32) * np.float32(1e14)
    check(rows, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "bfloat16"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_nonfinite_rows_are_counted_and_placed(backend, bad, dtype, precision):
    rows = rows_of(dtype, 9000, 7)
    rows[8500, 2] = bad
    rows[8700, 0] = bad
    with pytest.raises(NonFiniteError, match="got 2 NaN or infinite entries, the first in row 8500") as caught:
        scatter(rows, Sums.zeros(7), backend=backend, precision=precision)
    assert (caught.value.count, caught.value.first_row) == (2, 8500)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_rows_have_no_direction(backend):
    rows = rows_of("float32", 9000, 4)
    rows[8300:8302] = 0
    with pytest.raises(ZeroNormError, match="got 2 zero rows, the first is row 8300"):
        scatter(rows, Sums.zeros(4), backend=backend, normalize="l2")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_thread_count_changes_nothing_beyond_rounding(backend):
    from threadpoolctl import threadpool_limits

    rows = rows_of("float32", 4000, 40)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with threadpool_limits(threads):
                sums = Sums.zeros(40)
                scatter(rows, sums, backend=backend, precision="float64")
                results.append(sums.symmetric_gram())
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-12 * np.abs(results[0]).max())


def test_torch_ignores_a_users_reduced_precision_setting():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        check(rows_of("float32", 2000, 16), "torch")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "uint8"])
def test_rows_on_a_gpu(dtype):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rows = rows_of(dtype, 5000, 65)
    tensor = rows if isinstance(rows, torch.Tensor) else torch.from_numpy(rows)
    there, here = Sums.zeros(65, device="cuda"), Sums.zeros(65)
    scatter(tensor.cuda(), there)
    scatter(rows, here, backend="reference")
    truth = here.symmetric_gram()
    assert np.linalg.norm(there.symmetric_gram() - truth) <= 1e-6 * np.linalg.norm(truth)
