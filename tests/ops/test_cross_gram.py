"""Every cross_gram backend against sums in extended precision, on every type, shape and scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import BackendUnavailable, InputError, NonFiniteError, ZeroNormError
from featdiv.ops import _dispatch, _native
from featdiv.ops.cross_gram import CrossSums, cross_gram, native_
from featdiv.ops.scatter import PRECISIONS
from featdiv.testing import compare

BACKENDS = [
    name
    for name in _dispatch.OPS["cross_gram"]
    if _dispatch.unsupported_reason(_dispatch.Request(op="cross_gram", d=8), name) is None
]
DTYPES = ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool"]


def wide(rows, shift=None, exponent=None, normalize=None) -> np.ndarray:
    z = rows.to(torch.float64).numpy() if isinstance(rows, torch.Tensor) else np.asarray(rows, dtype=np.float64)
    z = z.astype(np.longdouble)
    if normalize:
        z = z / np.sqrt((z * z).sum(axis=1))[:, None]
    if shift is not None:
        z = z - shift
    return z if exponent is None else z * np.exp2(exponent.astype(np.longdouble))


def plain_torch(rows, columns, side, normalize, dtype) -> torch.Tensor:
    """The rows as torch alone would transform them: in float64, and rounded to the type of the products."""
    z = (rows if isinstance(rows, torch.Tensor) else torch.from_numpy(wide(rows).astype(np.float64))).double()
    z = torch.nn.functional.normalize(z) if normalize else z
    z = z - torch.from_numpy(columns.get(f"{side}shift", np.zeros(1)))
    return torch.ldexp(z, torch.from_numpy(columns.get(f"{side}exponent", np.zeros(1, np.int32)))).to(
        getattr(torch, dtype)
    )


def check(x, y, backend, *, precision="float32", normalize=None, **columns) -> CrossSums:
    """Compares all sums with those of rows in extended precision, which share nothing with the code under test."""
    sums = CrossSums.zeros(x.shape[1], y.shape[1], norm_sums=True)
    ran = cross_gram(x, y, sums, precision=precision, normalize=normalize, backend=backend, **columns)
    assert ran == backend
    z = wide(x, columns.get("shift"), columns.get("exponent"), normalize)
    w = wide(y, columns.get("other_shift"), columns.get("other_exponent"), normalize)
    k, other_k = (z * z).sum(axis=1), (w * w).sum(axis=1)
    exact = sum((np.multiply.outer(a, b) for a, b in zip(z, w, strict=True)), np.zeros_like(sums.gram, np.longdouble))
    scale = np.sqrt(np.multiply.outer((z * z).sum(axis=0), (w * w).sum(axis=0)))
    working = "float64" if precision == "float64" else "float32"
    plain = plain_torch(x, columns, "", normalize, working).T @ plain_torch(y, columns, "other_", normalize, working)
    worst = float((np.abs(plain.numpy() - exact) / np.where(scale > 0, scale, 1)).max())
    allowed = compare.tolerance(working, terms=len(z), plain=worst)
    assert sums.n == len(z)
    assert np.all(np.abs(sums.gram - exact) <= allowed * scale + 1e-300)
    bound = PRECISIONS[working]
    assert np.all(np.abs(sums.total - z.sum(axis=0)) <= bound * np.abs(z).sum(axis=0) + 1e-300)
    assert np.all(np.abs(sums.other_total - w.sum(axis=0)) <= bound * np.abs(w).sum(axis=0) + 1e-300)
    assert np.all(np.abs(sums.weighted - other_k @ z) <= 4 * bound * (other_k @ np.abs(z)) + 1e-300)
    assert np.all(np.abs(sums.other_weighted - k @ w) <= 4 * bound * (k @ np.abs(w)) + 1e-300)
    assert float(sums.fourth[0]) == pytest.approx(float(k @ other_k), rel=4 * bound)
    return sums


def rows_of(dtype: str, n: int, d: int, seed: int):
    random = np.random.default_rng(seed)
    if dtype == "bfloat16":
        return torch.from_numpy(random.standard_normal((n, d))).to(torch.bfloat16)
    if dtype == "bool":
        return random.random((n, d)) < 0.5
    if dtype.startswith(("int", "uint")):
        top = {"8": 100, "6": 30_000, "2": 10**9, "4": 10**12}[dtype[-1]]
        return random.integers(0 if dtype.startswith("u") else -top, top, size=(n, d)).astype(dtype)
    return random.standard_normal((n, d)).astype(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_made_by_hand(backend):
    x, y = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]]), np.array([[2.0], [1.0], [-2.0]])
    sums = CrossSums.zeros(2, 1, norm_sums=True)
    for rows in (slice(0, 2), slice(2, 3)):
        cross_gram(x[rows], y[rows], sums, shift=np.array([0.0, 1.0]), exponent=np.array([1, 0]), backend=backend)
    # z = (2, 1), (6, -2), (0, 0); w = 2, 1, -2
    assert sums.n == 3
    assert sums.total.tolist() == [8.0, -1.0]
    assert sums.other_total.tolist() == [1.0]
    assert sums.gram.tolist() == [[10.0], [0.0]]
    assert sums.weighted.tolist() == [14.0, 2.0]  # 4 (2, 1) + 1 (6, -2)
    assert sums.other_weighted.tolist() == [50.0]  # 5 * 2 + 40 * 1
    assert sums.fourth.tolist() == [60.0]  # 5 * 4 + 40 * 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_every_type_and_precision(backend, dtype, precision):
    check(rows_of(dtype, 700, 19, 0), rows_of(dtype, 700, 34, 1), backend, precision=precision)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("n", "p", "q"), [(1, 1, 1), (1, 5, 2), (2, 1, 9), (15, 3, 50), (17, 257, 16), (600, 1, 48), (1031, 33, 97)]
)
def test_odd_shapes(backend, n, p, q):
    check(rows_of("float32", n, p, 2), rows_of("float32", n, q, 3), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(4))
def test_seeds(backend, seed):
    random = np.random.default_rng(seed)
    n, p, q = (int(size) for size in random.integers([1, 1, 1], [900, 80, 80]))
    check(rows_of("float32", n, p, seed + 10), rows_of("float32", n, q, seed + 20), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_add_nothing(backend):
    sums = CrossSums.zeros(3, 2, norm_sums=True)
    cross_gram(np.empty((0, 3), np.float32), np.empty((0, 2), np.float32), sums, backend=backend)
    assert sums.n == 0
    assert not sums.gram.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_norm_sums_are_kept_only_where_they_are_wanted(backend):
    x, y = rows_of("float32", 50, 4, 0), rows_of("float32", 50, 6, 1)
    sums = CrossSums.zeros(4, 6)
    cross_gram(x, y, sums, backend=backend)
    assert sums.weighted is sums.other_weighted is sums.fourth is None
    assert np.allclose(sums.gram, x.T.astype(float) @ y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", ["columns", "step", "fortran", "reversed", "byteswapped", "readonly"])
def test_every_layout(backend, layout):
    x, y = rows_of("float32", 300, 24, 0), rows_of("float32", 300, 11, 1)
    rows = {
        "columns": x[:, 3:17],
        "step": x[:, ::2],
        "fortran": np.asfortranarray(x),
        "reversed": x[::-1, ::-1],
        "byteswapped": x.astype(">f4"),
        "readonly": x.copy(),
    }[layout]
    if layout == "readonly":
        rows.setflags(write=False)
    if layout == "byteswapped":
        y = y.astype(">f4")
    before = rows.copy()
    check(rows, y, backend)
    check(y, rows, backend)
    assert np.array_equal(before, rows)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("normalize", [None, "l2"])
def test_shift_exponent_and_normalise(backend, precision, normalize):
    random = np.random.default_rng(5)
    x = (random.normal(size=(500, 30)) + 2.0).astype(np.float32)
    y = (random.normal(size=(500, 20)) * 3.0 - 7.0).astype(np.float32)
    columns = {
        "shift": wide(x, normalize=normalize).astype(np.float64).mean(axis=0),
        "other_exponent": random.integers(-3, 4, size=20).astype(np.int32),
    }
    check(x, y, backend, precision=precision, normalize=normalize, **columns)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_mean_that_is_shifted_does_not_hurt(backend):
    random = np.random.default_rng(6)
    x = (1e4 + random.normal(size=(2000, 8))).astype(np.float32)
    y = (random.normal(size=(2000, 8)) - 1e4).astype(np.float32)
    pilots = {"shift": np.full(8, 1e4), "other_shift": np.full(8, -1e4)}
    check(x, y, backend, **pilots)


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_of_constant_magnitude_keep_the_bound(backend):
    """All products of aligned columns have one sign, and float32 sums of them drift."""
    random = np.random.default_rng(7)
    signs = random.choice([-1.0, 1.0], size=(20_000, 6))
    x, y = (0.1 * signs).astype(np.float32), (0.3 * signs[:, ::-1]).astype(np.float32)
    sums = CrossSums.zeros(6, 6)
    cross_gram(x, y, sums, backend=backend)
    exact = wide(x).T @ wide(y)
    scale = np.sqrt(np.multiply.outer((wide(x) ** 2).sum(axis=0), (wide(y) ** 2).sum(axis=0)))
    assert np.all(np.abs(sums.gram - exact) <= PRECISIONS["float32"] * scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scales", [(1e-30, 1e30), (1e30, 1e30), (1e-30, 1.0), (1e-42, 1.0)])
def test_extreme_scales(backend, scales):
    x = (scales[0] * rows_of("float64", 200, 9, 0)).astype(np.float32)
    y = (scales[1] * rows_of("float64", 200, 5, 1)).astype(np.float32)
    sums = CrossSums.zeros(9, 5)
    cross_gram(x, y, sums, backend=backend)
    exact = wide(x).T @ wide(y)
    scale = np.sqrt(np.multiply.outer((wide(x) ** 2).sum(axis=0), (wide(y) ** 2).sum(axis=0)))
    assert np.all(np.abs(sums.gram - exact) <= PRECISIONS["float32"] * scale)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_rows_are_named_by_set_and_number(backend):
    x, y = rows_of("float32", 90, 4, 0), rows_of("float32", 90, 3, 1)
    y[60] = 0.0
    with pytest.raises(ZeroNormError, match=r"cross_gram: other: .* 1 zero rows, the first is row 60"):
        cross_gram(x, y, CrossSums.zeros(4, 3), normalize="l2", backend=backend)
    y[77, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"cross_gram: other: .* 1 NaN or infinite entries, the first in row 77"):
        cross_gram(x, y, CrossSums.zeros(4, 3), backend=backend)
    x[80:82, 0] = np.inf
    with pytest.raises(NonFiniteError, match=r"cross_gram: x: .* 2 NaN or infinite entries, the first in row 80"):
        cross_gram(x, y, CrossSums.zeros(4, 3), backend=backend)


@pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))
@pytest.mark.parametrize("isa", _native.ISAS)
def test_threads_and_instruction_sets(monkeypatch, isa):
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    x, y = rows_of("float32", 3000, 65, 0), rows_of("float32", 3000, 41, 1)
    found = set()
    for count in (1, 2, 5):
        monkeypatch.setattr(_native, "threads", lambda count=count: count)
        sums = check(x, y, "native")
        names = ("total", "other_total", "gram", "weighted", "other_weighted", "fourth")
        found.add(b"".join(getattr(sums, name).tobytes() for name in names))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (np.zeros(3), np.zeros((3, 2)), {}, r"x: expected shape \(m, d\)"),
        (np.zeros((3, 2)), np.zeros((3, 0)), {}, r"other: expected shape \(m, d\)"),
        (np.zeros((3, 2)), np.zeros((4, 2)), {}, "other: expected 3 rows of float64"),
        (np.zeros((3, 2)), np.zeros((3, 2), np.float32), {}, "got 3 of float32"),
        (np.zeros((3, 2)), np.zeros((3, 3)), {}, r"sums: expected accumulators of \(2, 3\) features; got \(2, 2\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"shift": np.zeros(3)}, r"shift: expected shape \(2,\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"other_exponent": np.zeros(1)}, r"other_exponent: expected shape \(2,\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"normalize": "l1"}, "normalize: expected None or 'l2'"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"precision": "tf32"}, "precision: expected one of"),
    ],
)
def test_arguments_are_checked(x, y, options, words):
    with pytest.raises(InputError, match=words):
        cross_gram(x, y, CrossSums.zeros(2, 2), **options)


@pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))
def test_accumulators_that_the_module_cannot_write_to():
    sums = CrossSums.zeros(2, 2)
    sums.gram = np.asfortranarray(np.zeros((2, 2)))[::-1]
    with pytest.raises(InputError, match=r"sums\.gram: expected a writeable C-ordered float64 array of shape \(2, 2\)"):
        cross_gram(np.ones((3, 2)), np.ones((3, 2)), sums, backend="native")
    part = CrossSums.zeros(2, 2, norm_sums=True)
    part.other_weighted = None
    with pytest.raises(InputError, match=r"sums\.other_weighted: expected .* got NoneType"):
        cross_gram(np.ones((3, 2)), np.ones((3, 2)), part, backend="native")


def test_a_wrong_backend_is_caught(monkeypatch):
    monkeypatch.setattr(_native, "missing", lambda: None)

    def forgets_the_last_row(left, right, sums, **_):
        z, w = left.rows[:-1].astype(float), right.rows[:-1].astype(float)
        sums.n += len(z) + 1
        sums.gram += z.T @ w

    monkeypatch.setattr(native_, "cross_gram", forgets_the_last_row)
    with pytest.raises(AssertionError):
        check(rows_of("float32", 40, 3, 0), rows_of("float32", 40, 2, 1), "native")


def test_an_explicit_backend_does_not_fall_back():
    with pytest.raises(BackendUnavailable, match="cross_gram has no cupy backend"):
        cross_gram(np.zeros((3, 2)), np.zeros((3, 2)), CrossSums.zeros(2, 2), backend="cupy")
