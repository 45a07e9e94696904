"""Every backend of every op that runs on a GPU, on a GPU: element types, odd shapes, strides, another stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv
from featdiv.errors import NonFiniteError
from featdiv.ops import _cuda_sm90, _dispatch
from featdiv.ops.class_scatter import class_scatter
from featdiv.ops.cross_gram import CrossSums, cross_gram
from featdiv.ops.eigvals_batched import eigvals_batched
from featdiv.ops.nearest_centroid import nearest_centroid
from featdiv.ops.pair_sums import pair_sums
from featdiv.ops.scatter import PRECISIONS, Sums, scatter
from featdiv.ops.topk import topk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

SHAPES = [(1, 1), (1, 5), (63, 3), (64, 64), (65, 65), (1031, 129), (5000, 200)]


def cases(op: str, *values):
    """Parameters (backend, *values) for each backend of an op that may run on a GPU, skipped with its reason."""
    found = []
    for backend in _dispatch.ORDER["cuda"]:
        if backend not in _dispatch.OPS[op]:
            continue
        reason = "no CUDA device"
        if torch.cuda.is_available():
            reason = _dispatch.unsupported_reason(_dispatch.Request(op=op, device="cuda", d=8), backend)
        marks = [pytest.mark.skipif(reason is not None, reason=str(reason))]
        found += [pytest.param(backend, value, marks=marks) for value in values]
    return found


def rows_of(dtype: str, n: int, d: int) -> torch.Tensor:
    rows = 3.0 * torch.from_numpy(np.random.default_rng(0).normal(size=(n, d))) + 1.0
    return rows.clamp(min=0).to(getattr(torch, dtype)) if dtype == "uint8" else rows.to(getattr(torch, dtype))


def check_scatter(rows, backend, precision="float32", **arguments):
    there, here = (Sums.zeros(rows.shape[1], norm_sums=True, device=device) for device in ("cuda", "cpu"))
    scatter(rows.cuda(), there, backend=backend, precision=precision, **arguments)
    scatter(rows, here, backend="reference", **arguments)
    truth = here.symmetric_gram()
    scale = np.sqrt(np.outer(truth.diagonal(), truth.diagonal()))
    assert (np.abs(there.symmetric_gram() - truth) <= PRECISIONS[precision] * scale + 1e-300).all()
    assert there.n == here.n
    np.testing.assert_allclose(there.fourth.cpu(), here.fourth, rtol=1e-5)


def check_cross_gram(x, y, backend, precision="float32", **arguments):
    there, here = (CrossSums.zeros(x.shape[1], y.shape[1], norm_sums=True, device=each) for each in ("cuda", "cpu"))
    cross_gram(x.cuda(), y.cuda(), there, backend=backend, precision=precision, **arguments)
    cross_gram(x, y, here, backend="reference", **arguments)
    sizes = [Sums.zeros(each.shape[1]) for each in (x, y)]
    scatter(x, sizes[0], backend="reference", **arguments)
    scatter(y, sizes[1], backend="reference", normalize=arguments.get("normalize"))
    scale = np.sqrt(np.outer(*(each.symmetric_gram().diagonal() for each in sizes)))
    assert (np.abs(there.gram.cpu().numpy() - here.gram) <= PRECISIONS[precision] * scale + 1e-300).all()
    for name in ("total", "other_total", "weighted", "other_weighted", "fourth"):
        got, want = getattr(there, name).cpu().numpy(), getattr(here, name)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
    assert there.n == here.n


@pytest.mark.parametrize(("backend", "dtype"), cases("scatter", "float64", "float32", "float16", "bfloat16", "uint8"))
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_scatter_of_every_type(backend, dtype, precision):
    check_scatter(rows_of(dtype, 1000, 65), backend, precision)


@pytest.mark.parametrize(("backend", "shape"), cases("scatter", *SHAPES))
def test_scatter_of_odd_shapes(backend, shape):
    rows = rows_of("float32", *shape)
    check_scatter(rows, backend)
    check_scatter(rows, backend, shift=np.full(shape[1], 1.0), normalize="l2")
    check_scatter(rows.T.contiguous().T[::2], backend)


@pytest.mark.parametrize(("backend", "name"), cases("scatter", "constant", "heavy", "near rank one"))
def test_scatter_keeps_its_bound_where_sums_of_tensor_cores_drift(backend, name):
    random = np.random.default_rng(1)
    rows = {
        "constant": np.sign(random.normal(size=(200_000, 64))) / 3,
        "heavy": random.standard_t(2.0, (50_000, 64)),
        "near rank one": random.normal(size=(50_000, 1)) + 1e-3 * random.normal(size=(50_000, 64)),
    }[name]
    check_scatter(torch.from_numpy(rows.astype(np.float32)), backend)


def insist(monkeypatch, products: str) -> None:
    reason = _cuda_sm90.problem(torch.device("cuda", 0), products)
    if reason is not None:
        pytest.skip(f"{products} is not used because {reason}")
    monkeypatch.setenv(_cuda_sm90.VARIABLE, products)


@pytest.mark.parametrize("products", list(_cuda_sm90.KINDS))
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_scatter_by_each_kind_of_products(monkeypatch, products, dtype):
    insist(monkeypatch, products)
    for precision in PRECISIONS:
        check_scatter(rows_of(dtype, 3000, 300), "cuda", precision)


@pytest.mark.parametrize("products", list(_cuda_sm90.KINDS))
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_long_segments_by_each_kind_of_products(monkeypatch, products, dtype):
    """Far more rows in each than a block has room for; the same bits each time."""
    insist(monkeypatch, products)
    rows = rows_of(dtype, 100_003, 260)
    check_scatter(rows, "cuda")
    found = [Sums.zeros(260, device="cuda") for _ in range(5)]
    for sums in found:
        scatter(rows.cuda(), sums, backend="cuda")
    assert all(torch.equal(sums.gram, found[0].gram) for sums in found)


@pytest.mark.parametrize(("backend", "bad"), cases("scatter", float("nan"), float("inf")))
def test_scatter_finds_bad_rows(backend, bad):
    rows = rows_of("float32", 700, 7)
    rows[650, 2] = bad
    with pytest.raises(NonFiniteError, match="the first in row 650"):
        scatter(rows.cuda(), Sums.zeros(7, device="cuda"), backend=backend)


@pytest.mark.parametrize(("backend", "dtype"), cases("cross_gram", "float64", "float32", "float16", "bfloat16"))
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_cross_gram_of_every_type(backend, dtype, precision):
    check_cross_gram(rows_of(dtype, 1000, 65), rows_of(dtype, 1000, 200).flip(0), backend, precision)


@pytest.mark.parametrize(("backend", "shape"), cases("cross_gram", *SHAPES))
def test_cross_gram_of_odd_shapes(backend, shape):
    x = rows_of("float32", *shape)
    y = rows_of("float32", shape[0], 3)
    check_cross_gram(x, y, backend)
    check_cross_gram(y.T.contiguous().T[::2], x[::2], backend, shift=np.full(3, 0.25), normalize="l2")


@pytest.mark.parametrize(("backend", "n"), cases("cross_gram", 200_000))
def test_cross_gram_of_aligned_features_does_not_drift(backend, n):
    signs = torch.from_numpy(np.sign(np.random.default_rng(1).normal(size=(n, 64))).astype(np.float32))
    check_cross_gram(signs / 3, 0.3 * signs.flip(1), backend)


@pytest.mark.parametrize(("backend", "d"), cases("class_scatter", 1, 65, 200))
def test_class_scatter(backend, d):
    labels = np.repeat(np.arange(9), [0, 1, 2, 63, 64, 65, 700, 3, 0])
    np.random.default_rng(2).shuffle(labels)
    rows = rows_of("float32", len(labels), d)
    got = class_scatter(rows.cuda(), labels, classes=9, backend=backend)
    want = class_scatter(rows, labels, classes=9, backend="reference")
    np.testing.assert_allclose(got.means, want.means, rtol=0, atol=1e-6 * np.abs(want.means).max())
    for mine, truth in zip(got.scatters, want.scatters, strict=True):
        spread = np.sqrt(np.diag(truth))
        assert (np.abs(mine - truth) <= 1e-6 * np.outer(spread, spread)).all()


@pytest.mark.parametrize(("backend", "measure"), cases("pair_sums", "cosine", "distance"))
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_pair_sums(backend, measure, precision):
    x, y = rows_of("float32", 700, 40), rows_of("float32", 333, 40).flip(1)
    arguments = {"measure": measure, "bins": 50, "threshold": 0.5, "examples": 9, "precision": precision}
    for other in (None, y):
        moved = None if other is None else other.cuda()
        got = pair_sums(x.cuda(), moved, rates=[0.5, 2.0], distances=True, backend=backend, **arguments)
        want = pair_sums(x, other, rates=[0.5, 2.0], distances=True, backend="reference", **arguments)
        np.testing.assert_allclose(got.exp_sums, want.exp_sums, rtol=1e-6)
        assert got.distance_sum == pytest.approx(want.distance_sum, rel=1e-6)
        assert got.histogram.tolist() == want.histogram.tolist()
        assert (got.close, got.close_pairs.tolist()) == (want.close, want.close_pairs.tolist())
        assert got.nearest[2] == pytest.approx(want.nearest[2], rel=1e-9)


@pytest.mark.parametrize(("backend", "measure"), cases("topk", "inner", "l2"))
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_topk_of_small_integers_is_exact_to_the_last_tie(backend, measure, dtype):
    random = np.random.default_rng(3)
    x, g = random.integers(-3, 4, size=(700, 20)), random.integers(-3, 4, size=(9000, 20))
    values = x @ g.T if measure == "inner" else ((x[:, None] - g) ** 2).sum(axis=2)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :50]
    device = [torch.from_numpy(rows).to(getattr(torch, dtype)).cuda() for rows in (x, g)]
    found = topk(*device, k=50, measure=measure, backend=backend)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.values, np.take_along_axis(values, order, axis=1))


@pytest.mark.parametrize(("backend", "measure"), cases("topk", "inner", "l2"))
def test_topk_of_a_sorted_gallery(backend, measure):
    """Each row is nearer than all before it: lists of candidates run full."""
    gallery = torch.linspace(0.0, 0.9, 5000)[:, None] * torch.ones(8)
    found = topk(torch.ones(65, 8).cuda(), gallery.cuda(), k=20, measure=measure, backend=backend)
    assert (found.indices == np.arange(4999, 4979, -1)).all()


@pytest.mark.parametrize(("backend", "dtype"), cases("nearest_centroid", "float32", "float64", "bfloat16", "int8"))
@pytest.mark.parametrize("ways", [1, 4, 16])
def test_nearest_centroid_of_small_integers_is_exact_to_the_last_tie(backend, dtype, ways):
    random = np.random.default_rng(4)
    rows = torch.from_numpy(8 * random.integers(-2, 3, size=(700, 65))).to(getattr(torch, dtype))
    index = random.integers(700, size=(300, ways, 17))
    want = nearest_centroid(rows, index, shots=2, backend="reference").nearest
    for device in (rows.cuda(), rows.cuda().T.contiguous().T):
        np.testing.assert_array_equal(nearest_centroid(device, index, shots=2, backend=backend).nearest, want)


@pytest.mark.parametrize(("backend", "d"), cases("eigvals_batched", 1, 2, 17, 64, 256))
@pytest.mark.parametrize("vectors", [False, True])
def test_eigvals_batched(backend, d, vectors):
    half = np.random.default_rng(d).normal(size=(5, d, d))
    matrices = half + half.transpose(0, 2, 1)
    side = torch.cuda.Stream()
    given = torch.from_numpy(matrices).cuda()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        got = eigvals_batched(given, vectors=vectors, backend=backend)
    bound = 1e-14 * d * 4 * np.sqrt(d)
    np.testing.assert_allclose(got.values, np.linalg.eigvalsh(matrices), rtol=0, atol=bound)
    if vectors:
        assert np.abs(matrices @ got.vectors - got.vectors * got.values[:, None]).max() <= bound


def test_cupy_arrays_are_shared_and_worked_on_in_their_stream():
    cupy = pytest.importorskip("cupy")
    values = np.random.default_rng(5).normal(size=(3000, 40)).astype(np.float32)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        x = cupy.zeros(values.shape, np.float32)
        # What the op must wait for: a long product, and only then the rows.
        (cupy.ones((8192, 8192), np.float32) @ cupy.ones((8192, 8192), np.float32)).sum()
        x += cupy.asarray(values)
        found = topk(x, x, k=5)
        opened = featdiv.open(x)
        spectrum = featdiv.spectrum(x)
    stream.synchronize()
    assert opened.device == "cuda:0"
    assert opened.rows.data_ptr() == x.data.ptr
    np.testing.assert_array_equal(found.indices, topk(values, values, k=5).indices)
    np.testing.assert_allclose(spectrum.effective_rank, featdiv.spectrum(values).effective_rank, rtol=1e-6)


@pytest.mark.parametrize(("backend", "n"), cases("scatter", 100, 5000))
def test_the_same_numbers_twice(backend, n):
    rows = rows_of("float32", n, 130).cuda()
    found = []
    for _ in range(2):
        sums = Sums.zeros(130, device="cuda")
        scatter(rows, sums, backend=backend)
        found.append(sums.symmetric_gram())
    if backend != "torch":
        np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6 * np.abs(found[0]).max())
