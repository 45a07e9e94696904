"""nearest_centroid through the CUDA kernels, played on the host, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import BudgetExceeded, InputError, NonFiniteError
from featdiv.ops import _dispatch
from featdiv.ops.nearest_centroid import cuda_, episodes, nearest_centroid


@pytest.fixture(autouse=True)
def asked_for_on_the_host(played, monkeypatch):
    """The backend takes CPU rows, which its kernels are played on."""
    monkeypatch.setattr(cuda_, "unsupported_reason", lambda request: None)


def by_loops(rows, index, shots):
    x = np.asarray(rows, float)
    nearest = np.empty((*index.shape[:2], index.shape[2] - shots), dtype=np.int64)
    for episode, places in enumerate(index):
        centroids = [x[place[:shots]].sum(axis=0) / shots for place in places]
        for way, place in enumerate(places):
            for query, row in enumerate(place[shots:]):
                nearest[episode, way, query] = np.argmin([np.sum((x[row] - c) ** 2) for c in centroids])
    return nearest


@pytest.mark.parametrize(
    ("d", "ways", "shots", "queries", "dtype"),
    [(1, 1, 1, 1, "float32"), (33, 2, 4, 18, "int8"), (257, 8, 1, 2, "float64"), (5, 4, 2, 9, "float16")],
)
def test_small_integers_are_exact_to_the_last_tie(d, ways, shots, queries, dtype):
    random = np.random.default_rng(d)
    rows = 8 * random.integers(-2, 3, size=(40, d))
    index = random.integers(40, size=(3, ways, shots + queries))
    found = nearest_centroid(rows.astype(dtype), index, shots=shots, backend="cuda")
    assert found.backend == "cuda"
    np.testing.assert_array_equal(found.nearest, by_loops(rows, index, shots))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_choice_is_never_worse_than_the_best_beyond_rounding(offset):
    random = np.random.default_rng(3)
    rows = (random.normal(size=(100, 64)) + offset).astype(np.float32)
    index = random.integers(100, size=(6, 5, 3 + 6))
    nearest = nearest_centroid(rows, index, shots=3, backend="cuda").nearest
    x = rows.astype(float)
    centroids = x[index[:, :, :3]].mean(axis=2)
    distances = ((x[index[:, :, 3:]][:, :, :, None] - centroids[:, None, None]) ** 2).sum(axis=4)
    chosen = np.take_along_axis(distances, nearest[..., None], axis=3)[..., 0]
    # A float32 of size 1e4 is itself off by 6e-4 of a standard deviation.
    assert (chosen <= distances.min(axis=3) + (1e-5 + offset * 1e-6) * 64).all()
    assert len(np.unique(nearest)) == 5


def test_strides_bfloat16_and_some_episodes_at_a_time(monkeypatch):
    random = np.random.default_rng(0)
    rows = torch.from_numpy(random.integers(-8, 9, size=(40, 20))).to(torch.bfloat16)
    index = random.integers(40, size=(5, 4, 5))
    monkeypatch.setattr(episodes, "CENTROID_BYTES", 2 * 4 * 20 * 5)
    for x in (rows, rows[:, ::3], rows.T.contiguous().T):
        found = nearest_centroid(x, index, shots=1, backend="cuda")
        np.testing.assert_array_equal(found.nearest, by_loops(x.double().numpy(), index, 1))


def test_the_order_of_threads_does_not_matter(played):
    random = np.random.default_rng(1)
    rows, index = random.normal(size=(30, 40)), random.integers(30, size=(2, 3, 7))
    found = []
    for played.backwards in (False, True):
        found.append(nearest_centroid(rows, index, shots=2, backend="cuda").nearest)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 3])
def test_rows_that_are_not_finite(bad, place):
    rows = np.random.default_rng(0).normal(size=(90, 21))
    rows[77, 20] = bad
    index = np.arange(8).reshape(1, 2, 4)
    nearest_centroid(rows, index, shots=2, backend="cuda")
    index[0, 1, place] = 77
    with pytest.raises(NonFiniteError, match=r"nearest_centroid: rows: .*got 1 NaN or infinite.*row 77"):
        nearest_centroid(rows, index, shots=2, backend="cuda")


def test_distances_that_overflow_are_refused():
    rows = np.array([[1e30], [-1e30], [1e30], [-1e30]], dtype=np.float32)
    with pytest.raises(InputError, match="expected squared distances that float32 can hold"):
        nearest_centroid(rows, np.array([[[0, 2], [1, 3]]]), shots=1, backend="cuda")


def test_fewer_episodes_at_a_time_where_memory_is_short(monkeypatch):
    random = np.random.default_rng(2)
    rows, index = 8 * random.integers(-2, 3, size=(30, 6)), random.integers(30, size=(5, 2, 4))
    empty, largest = torch.empty, 2

    def short(shape, *arguments, **more):
        if shape[0] > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return empty(shape, *arguments, **more)

    monkeypatch.setattr(torch, "empty", short)
    found = nearest_centroid(rows, index, shots=2, backend="cuda").nearest
    np.testing.assert_array_equal(found, by_loops(rows, index, 2))
    largest = 0
    with pytest.raises(BudgetExceeded, match="an episode of 2 classes of 4 rows of 6 features needs 1 MiB"):
        nearest_centroid(rows, index, shots=2, backend="cuda")


def test_on_a_gpu_torch_is_asked_first():
    order = [name for name in _dispatch.ORDER["cuda"] if name in _dispatch.OPS["nearest_centroid"]]
    assert order == ["torch", "triton", "cuda"]
