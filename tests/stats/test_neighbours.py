"""Neighbours: hand tables, scikit-learn, float64 truth, and every backend against every other."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import featdiv
from featdiv.errors import (
    BackendUnavailable,
    BudgetExceeded,
    InputError,
    MissingDependency,
    NonFiniteError,
    NotEnoughData,
    ZeroNormError,
)
from featdiv.ops import _native
from featdiv.stats import neighbours_engines
from featdiv.stats.neighbours import Neighbours

BACKENDS = ["faiss", "native", "numpy", "torch", "reference"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    if request.param == "native" and _native.missing():
        pytest.skip(str(_native.missing()))
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def truth(gallery, queries, k, distance, *, same):
    """Neighbours by a full sort of float64 values, rounded to float32 as the contract says; ties by index."""
    g, q = np.asarray(gallery, float), np.asarray(queries, float)
    if distance == "cosine":
        g, q = g / np.linalg.norm(g, axis=1)[:, None], q / np.linalg.norm(q, axis=1)[:, None]
        cost = -np.minimum((q[:, None] * g).sum(axis=2).astype(np.float32), 1.0)
    else:
        cost = ((q[:, None] - g) ** 2).sum(axis=2).astype(np.float32)
    if same:
        np.fill_diagonal(cost, np.inf)
    order = np.argsort(cost, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cost, order, axis=1)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_a_hand_table(backend, distance):
    """Four points on a line and one off it; under l2 the middle ones tie and the lower index wins."""
    x = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    near = Neighbours.of(x, k=2, distance=distance, backend=backend)
    if distance == "l2":
        assert near.indices.tolist() == [[1, 2], [0, 2], [1, 3], [2, 1], [0, 1]]
        expected = [[1, 2], [1, 1], [1, 1], [1, 2], [26**0.5, 29**0.5]]
        np.testing.assert_allclose(near.distances, expected, rtol=1e-6)
        np.testing.assert_allclose(near.squared_distances, np.square(expected), rtol=1e-6)
    else:
        assert near.indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]
        assert near.similarities.tolist() == [[1, 1]] * 4 + [[0, 0]]
    assert (near.n, near.k, near.n_gallery, near.d, near.backend) == (5, 2, 5, 2, backend)
    assert near.leave_one_out
    assert near.recall is None


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("same", [True, False])
def test_ties_by_the_hundred_are_decided_as_in_float64(backend, rng, distance, same):
    x = rng.integers(-2, 3, size=(400, 4)).astype(np.float32)
    x = x[x.any(axis=1)]
    queries = None if same else x[::3]
    near = Neighbours.of(x, queries, k=12, distance=distance, backend=backend)
    indices, cost = truth(x, x if same else x[::3], 12, distance, same=same)
    np.testing.assert_array_equal(near.indices, indices)
    measured = -near.similarities if distance == "cosine" else near.squared_distances
    np.testing.assert_allclose(measured, cost, atol=3e-7, rtol=3e-7)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_agrees_with_scikit_learn(backend, rng, distance):
    x, q = rng.normal(size=(500, 33)), rng.normal(size=(70, 33))
    near = Neighbours.of(x.astype(np.float32), q, k=9, distance=distance, backend=backend)
    metric = "cosine" if distance == "cosine" else "euclidean"
    distances, indices = NearestNeighbors(n_neighbors=9, metric=metric, algorithm="brute").fit(x).kneighbors(q)
    assert (near.indices == indices).mean() > 0.99
    measured = 1.0 - near.similarities if distance == "cosine" else near.distances
    np.testing.assert_allclose(measured, distances, atol=2e-6)


def test_distances_far_from_the_origin_keep_their_digits(backend, rng):
    """A common offset of 1e4 leaves nothing of |x|^2 + |y|^2 - 2 x.y in float32."""
    x = rng.normal(size=(300, 8)) + 1e4
    near = Neighbours.of(x, k=5, distance="l2", backend=backend)
    distances, indices = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(x - 1e4).kneighbors(x - 1e4)
    np.testing.assert_array_equal(near.indices, indices[:, 1:])
    np.testing.assert_allclose(near.distances, distances[:, 1:], rtol=1e-5)


def test_distances_of_near_copies_are_right_though_tiny(backend, rng):
    x = rng.normal(size=(100, 16))
    twins = x + 1e-6 * rng.normal(size=x.shape)
    near = Neighbours.of(x, twins, k=1, distance="l2", backend=backend)
    assert near.indices.ravel().tolist() == list(range(100))
    np.testing.assert_allclose(near.distances.ravel(), np.linalg.norm(x - twins, axis=1), rtol=1e-6)


def test_a_row_is_left_out_by_its_place_not_by_its_distance(backend):
    """Forty copies of one row: each finds the first others of lowest index, never itself."""
    x = np.tile([[0.3, -0.7, 0.2]], (40, 1))
    near = Neighbours.of(x, k=3, backend=backend)
    expected = [[j for j in range(40) if j != i][:3] for i in range(40)]
    assert near.indices.tolist() == expected
    kept = Neighbours.of(x, x, k=3, exclude_self=False, backend=backend)
    assert kept.indices.tolist() == [[0, 1, 2]] * 40


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_shards_and_whole_give_the_same_table(backend, rng, distance):
    x = rng.integers(-3, 4, size=(5000, 6)).astype(np.float32) + 0.5
    whole = Neighbours.of(x, x[:300], k=7, distance=distance, backend=backend)
    seen = []
    parts = [x[:7], x[7:1500], x[1500:]]
    memory = 4 * 8192 * 6 + 12 * 300 * (7 + 8 + 7) + 4 * 6 * 1500
    small = Neighbours.of(
        parts,
        x[:300],
        k=7,
        distance=distance,
        backend=backend,
        memory=memory,
        progress=lambda a, b: seen.append((a, b)),
    )
    assert len(seen) == 4  # 5000 rows, some 1,500 at a time
    assert seen[-1] == (1200, 1200)
    np.testing.assert_array_equal(small.indices, whole.indices)
    np.testing.assert_array_equal(small.values, whole.values)


def test_leave_one_out_across_shards(rng):
    x = rng.integers(0, 3, size=(3000, 5)).astype(np.float32) + 1.0
    whole = Neighbours.of(x, k=4)
    small = Neighbours.of(x, k=4, memory=12 * 3000 * 4 + 4 * 8192 * 5 + 12 * 3000 * 12 + 4 * 5 * 1100)
    np.testing.assert_array_equal(small.indices, whole.indices)
    assert not (small.indices == np.arange(3000)[:, None]).any()


def test_streams_are_collected_or_refused(rng):
    x = rng.normal(size=(600, 8)).astype(np.float32)
    near = Neighbours.of((x[i : i + 100] for i in range(0, 600, 100)), k=3)
    np.testing.assert_array_equal(near.indices, Neighbours.of(x, k=3).indices)
    with pytest.raises(InputError, match=r"gallery: expected rows that can be read again.*featdiv\.convert"):
        Neighbours.of((x[i : i + 100] for i in range(0, 600, 100)), k=3, memory=10_000)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint8", "bfloat16"])
def test_any_element_type(rng, dtype):
    x = rng.normal(size=(120, 10)) * 20
    rows = torch.from_numpy(x).bfloat16() if dtype == "bfloat16" else np.abs(x).astype(dtype) + 1
    plain = rows.double().numpy() if dtype == "bfloat16" else rows.astype(np.float64)
    indices, _ = truth(plain, plain, 5, "cosine", same=True)
    np.testing.assert_array_equal(Neighbours.of(rows, k=5).indices, indices)


def test_rows_of_extreme_scale(rng):
    x = rng.normal(size=(60, 5))
    expected = Neighbours.of(x, k=4).indices
    np.testing.assert_array_equal(Neighbours.of(x * 1e200, k=4).indices, expected)
    np.testing.assert_array_equal(Neighbours.of(x * 1e-200, k=4).indices, expected)


@pytest.mark.parametrize("scale", [2.0**-110, 2.0**110])
def test_distances_whose_squares_leave_float32(backend, rng, scale):
    x = rng.normal(size=(300, 5)) + 100.0
    here = Neighbours.of(x, k=4, distance="l2", backend=backend)
    there = Neighbours.of(x * scale, k=4, distance="l2", backend=backend)
    assert np.array_equal(here.indices, there.indices)
    np.testing.assert_allclose(there.values, here.values * np.float32(scale), rtol=1e-5)


def test_distances_that_leave_float32_are_refused(rng):
    x = rng.normal(size=(50, 5))
    for scale in (1e-50, 1e50):
        with pytest.raises(
            InputError, match=r"^Neighbours\.of: gallery: expected rows whose distances float32 can hold"
        ):
            Neighbours.of(x * scale, k=2, distance="l2")
    x[3] *= 1e20
    with pytest.raises(
        InputError, match=r"gallery: expected entries up to 3\.6e\+16 from the mean.* got \d.*e\+\d+\. Lea"
    ):
        Neighbours.of(x, k=2, distance="l2")


def test_head_is_a_view_of_the_first_columns(rng):
    near = Neighbours.of(rng.normal(size=(50, 4)), k=9)
    head = near.head(2)
    assert head.k == 2
    assert np.shares_memory(head.indices, near.indices)
    with pytest.raises(InputError, match=r"Neighbours\.head: k: expected 1 to 9"):
        near.head(10)
    with pytest.raises(InputError, match=r"Neighbours\.distances: .*distance='cosine'.*similarities"):
        near.distances  # noqa: B018


def test_an_index_is_measured(rng):
    pytest.importorskip("faiss")
    centres = rng.normal(size=(16, 12)) * 4
    x = (centres[rng.integers(16, size=4000)] + rng.normal(size=(4000, 12))).astype(np.float32)
    flat = Neighbours.of(x, k=10)
    poor = Neighbours.of(x, k=10, index="IVF16,Flat")
    good = Neighbours.of(x, k=10, index="IVF16,Flat:nprobe=16")
    assert good.recall == 1.0
    np.testing.assert_array_equal(good.indices, flat.indices)
    chosen = np.unique(np.linspace(0, 3999, 1000).astype(int))
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(flat.indices[chosen], poor.indices[chosen], strict=True)]
    assert poor.recall == pytest.approx(np.mean(shares), abs=1e-12)
    assert poor.recall < 1.0
    assert poor.index == "IVF16,Flat"
    # Product quantisation loses digits; the similarities reported are those of the rows all the same.
    coarse = Neighbours.of(x, k=3, index="PQ4x4")
    unit = x / np.linalg.norm(x.astype(float), axis=1)[:, None]
    np.testing.assert_allclose(coarse.similarities[:, 0], (unit * unit[coarse.indices[:, 0]]).sum(axis=1), atol=2e-7)


def test_an_index_that_faiss_refuses(rng):
    pytest.importorskip("faiss")
    x = rng.normal(size=(300, 12)).astype(np.float32)
    with pytest.raises(InputError, match=r"index: expected 'flat' or a FAISS factory string.*'NoSuch'"):
        Neighbours.of(x, k=3, index="NoSuch")
    with pytest.raises(InputError, match="use backend='faiss', not 'numpy'"):
        Neighbours.of(x, k=3, index="IVF4,Flat", backend="numpy")
    with pytest.raises(NotEnoughData, match="finds fewer than 251 neighbours"):
        Neighbours.of(x, k=250, index="IVF4,Flat")


def test_auto_takes_the_native_op_then_faiss_then_another_and_says_so(monkeypatch, rng):
    x = rng.normal(size=(60, 4))
    expected = Neighbours.of(x, k=3, backend="reference").indices
    assert Neighbours.of(x, k=3).backend == ("faiss" if _native.missing() else "native")
    monkeypatch.setattr(_native, "missing", lambda: "it is not built")
    if importlib.util.find_spec("faiss") is not None:
        near = Neighbours.of(x, k=3)
        np.testing.assert_array_equal(near.indices, expected)
        assert (near.backend, near.notes) == ("faiss", ())
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "faiss" else pytest.fail(name))
    near = Neighbours.of(x, k=3)
    np.testing.assert_array_equal(near.indices, expected)
    assert near.backend == "numpy"
    assert near.notes == ("neither the native module nor FAISS is there, which search faster: it is not built",)
    with pytest.raises(MissingDependency, match=r"featdiv\[faiss\]"):
        Neighbours.of(x, k=3, backend="faiss")
    with pytest.raises(MissingDependency, match=r"featdiv\[faiss\]"):
        Neighbours.of(x, k=3, index="IVF4,Flat")


def test_faiss_without_gpu_support_says_so():
    faiss = pytest.importorskip("faiss")
    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS has GPU support")
    for index in ("flat", "IVF4,Flat"):
        with pytest.raises(BackendUnavailable, match=r"built without GPU support, and rows are on 'cuda:1'") as caught:
            neighbours_engines.choose("faiss", index, "cuda:1")
        assert set(caught.value.reasons) == {"faiss"}
    with pytest.raises(BackendUnavailable, match="rows of the CPU or of a CUDA device; these are on 'mps'"):
        neighbours_engines.choose("faiss", "flat", "mps")


def test_faiss_on_a_gpu_is_given_the_device_and_host_arrays(monkeypatch, rng):
    faiss = pytest.importorskip("faiss")
    seen = []

    def to_gpu(resources, device, index):
        seen.append(("index", device))
        return index

    def knn_gpu(resources, queries, gallery, k, *, metric, device):
        seen.append(("flat", device))
        return faiss.knn(queries, gallery, k, metric)

    stand_ins = {
        "StandardGpuResources": object,
        "GpuParameterSpace": faiss.ParameterSpace,
        "index_cpu_to_gpu": to_gpu,
        "knn_gpu": knn_gpu,
        "get_num_gpus": lambda: 2,
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    gallery, queries = (torch.from_numpy(rng.normal(size=(m, 6)).astype(np.float32)) for m in (300, 9))
    flat, _ = neighbours_engines.choose("faiss", "flat", "cuda:1")
    index, _ = neighbours_engines.choose("auto", "IVF4,Flat:nprobe=4", "cuda:1")
    for measure in ("inner", "l2"):
        index._index = None
        (values, found), (others, same) = (one.search(queries, gallery, 5, measure=measure) for one in (flat, index))
        near = queries.double() @ gallery.double().T if measure == "inner" else -(torch.cdist(queries, gallery) ** 2)
        np.testing.assert_array_equal(found, near.argsort(dim=1, descending=True)[:, :5])
        np.testing.assert_array_equal(same, found)
        np.testing.assert_allclose(others, values, atol=1e-5)
    assert set(seen) == {("flat", 1), ("index", 1)}
    with pytest.raises(BackendUnavailable, match="FAISS sees 2 GPUs, and rows are on 'cuda:2'"):
        neighbours_engines.choose("faiss", "flat", "cuda:2")


@pytest.mark.gpu
@pytest.mark.parametrize("index", ["flat", "IVF16,Flat:nprobe=16"])
def test_faiss_on_a_gpu_finds_what_the_cpu_finds(rng, index):
    faiss = pytest.importorskip("faiss")
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS was built without GPU support; faiss-gpu has it")
    x = rng.normal(size=(2000, 24)).astype(np.float32)
    found = Neighbours.of(torch.from_numpy(x).cuda(), k=7, index=index, backend="faiss")
    np.testing.assert_array_equal(found.indices, Neighbours.of(x, k=7).indices)
    assert found.backend == "faiss"


def test_the_backend_in_force_is_used(rng):
    x = rng.normal(size=(20, 4))
    with featdiv.use_backend("numpy"):
        assert Neighbours.of(x, k=3).backend == "numpy"
    with pytest.raises(BackendUnavailable, match="topk: backend 'cuda' cannot run this"):
        Neighbours.of(x, k=3, backend="cuda")
    with pytest.raises(InputError, match="expected one of auto, faiss, native"):
        Neighbours.of(x, k=3, backend="annoy")


def test_bad_rows_are_named(backend, rng):
    x = rng.normal(size=(30, 4))
    bad = x.copy()
    bad[17, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"Neighbours\.of: gallery: .*first in row 17") as caught:
        Neighbours.of(bad, k=3, backend=backend)
    assert caught.value.first_row == 17
    with pytest.raises(NonFiniteError, match="queries: "):
        Neighbours.of(x, bad, k=3, backend=backend)
    zero = x.copy()
    zero[5] = 0.0
    with pytest.raises(ZeroNormError, match=r"gallery: expected rows of non-zero norm; got 1 zero rows.*row 5"):
        Neighbours.of(zero, k=3, backend=backend)
    assert Neighbours.of(zero, k=3, distance="l2", backend=backend).n == 30


def test_arguments_are_checked_first(rng):
    x = rng.normal(size=(10, 4))
    with pytest.raises(NotEnoughData, match="10 neighbours need a gallery of at least 11 rows; got 10"):
        Neighbours.of(x, k=10)
    assert Neighbours.of(x, x, k=10).k == 10
    with pytest.raises(InputError, match="k: expected a positive integer"):
        Neighbours.of(x, k=0)
    with pytest.raises(InputError, match="queries: expected d=4 features"):
        Neighbours.of(x, x[:, :3], k=1)
    with pytest.raises(InputError, match="exclude_self: expected queries that are the 10 rows"):
        Neighbours.of(x, x[:3], k=1, exclude_self=True)
    with pytest.raises(InputError, match="distance: expected one of 'cosine', 'l2'"):
        Neighbours.of(x, k=1, distance="manhattan")
    with pytest.raises(BudgetExceeded, match="table of neighbours"):
        Neighbours.of(x, k=1, memory=100)


def test_the_nearest_few_of_a_table_take_no_further_search(rng, searches):
    near = Neighbours.of(rng.normal(size=(20, 6)), k=4)
    assert near.head(2).k == 2
    assert searches == [4]
