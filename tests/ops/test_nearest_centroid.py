"""nearest_centroid: every backend against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops import _dispatch, _native
from featdiv.ops.nearest_centroid import nearest_centroid

BACKENDS = [name for name in _dispatch.OPS["nearest_centroid"] if name in (*_dispatch.ORDER["cpu"], "reference")]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "native" and _native.missing():
        pytest.skip(str(_native.missing()))
    return request.param


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
    ("n", "d", "episodes", "ways", "shots", "queries"),
    [(2, 1, 1, 1, 1, 1), (30, 17, 7, 3, 2, 4), (90, 33, 5, 9, 4, 3), (60, 16, 3, 17, 1, 2), (50, 130, 4, 8, 8, 1)],
)
def test_small_integers_are_exact_to_the_last_tie(backend, n, d, episodes, ways, shots, queries):
    """Shots, and so sums, of small integers are exact in float32 for a power of two; ties go to the first class."""
    rng = np.random.default_rng(n + d)
    shots = 1 << int(np.log2(shots))
    rows = 8 * rng.integers(-2, 3, size=(n, d))
    index = rng.integers(n, size=(episodes, 1 << int(np.log2(ways)), shots + queries))
    expected = by_loops(rows, index, shots)
    for dtype in ("float32", "int8", "float64", "float16"):
        found = nearest_centroid(rows.astype(dtype), index, shots=shots, backend=backend)
        assert found.backend == backend
        assert found.nearest.dtype == np.int64
        np.testing.assert_array_equal(found.nearest, expected)


@pytest.mark.parametrize(("shots", "ways", "d"), [(3, 5, 7), (5, 11, 64), (1, 20, 70)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_choice_is_never_worse_than_the_best_beyond_rounding(backend, shots, ways, d, offset):
    rng = np.random.default_rng(shots)
    rows = (rng.normal(size=(200, d)) + offset).astype(np.float32)
    index = rng.integers(200, size=(30, ways, shots + 6))
    nearest = nearest_centroid(rows, index, shots=shots, backend=backend).nearest
    x = rows.astype(float)
    centroids = x[index[:, :, :shots]].mean(axis=2)
    distances = ((x[index[:, :, shots:]][:, :, :, None] - centroids[:, None, None]) ** 2).sum(axis=4)
    chosen = np.take_along_axis(distances, nearest[..., None], axis=3)[..., 0]
    # A float32 of size 1e4 is itself off by 6e-4 of a standard deviation.
    assert (chosen <= distances.min(axis=3) + (1e-5 + offset * 1e-6) * d).all()
    assert (nearest == distances.argmin(axis=3)).mean() > 0.99


@pytest.mark.parametrize("layout", ["strided", "reversed", "transposed"])
def test_rows_anywhere_in_memory(backend, layout):
    rng = np.random.default_rng(0)
    rows = 8 * rng.integers(-2, 3, size=(40, 20)).astype(np.float32)
    index = rng.integers(40, size=(6, 4, 5))
    expected = by_loops(rows, index, 2)
    wide = np.zeros((80, 60), np.float32)
    wide[::2, ::3] = rows
    moved = {"strided": wide[::2, ::3], "reversed": rows[::-1].copy()[::-1], "transposed": np.asfortranarray(rows)}
    np.testing.assert_array_equal(nearest_centroid(moved[layout], index, shots=2, backend=backend).nearest, expected)


def test_bfloat16_tensors(backend):
    if backend == "numpy":
        pytest.skip("NumPy has no bfloat16")
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(rng.integers(-8, 9, size=(40, 20))).to(torch.bfloat16)
    index = rng.integers(40, size=(6, 4, 5))
    found = nearest_centroid(rows, index, shots=1, backend=backend)
    np.testing.assert_array_equal(found.nearest, by_loops(rows.double().numpy(), index, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3])
def test_rows_that_are_not_finite(backend, bad, place):
    rows = np.random.default_rng(0).normal(size=(90, 21))
    rows[77, 20] = bad
    index = np.arange(8).reshape(1, 2, 4)
    nearest_centroid(rows, index, shots=2, backend=backend)
    index[0, 1, place] = 77
    with pytest.raises(NonFiniteError, match=r"nearest_centroid: rows: .*got 1 NaN or infinite.*row 77") as caught:
        nearest_centroid(rows, index, shots=2, backend=backend)
    assert (caught.value.count, caught.value.first_row) == (1, 77)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_distances_that_overflow_are_refused(backend):
    if backend == "native" and _native.missing():
        pytest.skip(str(_native.missing()))
    rows = np.array([[1e30], [-1e30], [1e30], [-1e30]], dtype=np.float32)
    with pytest.raises(InputError, match="expected squared distances that float32 can hold"):
        nearest_centroid(rows, np.array([[[0, 2], [1, 3]]]), shots=1, backend=backend)


def test_distances_that_vanish_are_refused():
    rows = np.array([[1.0], [-1.0], [1.0], [-1.0]], dtype=np.float32)
    index = np.array([[[0, 2], [1, 3]]])
    assert nearest_centroid(rows * np.float32(1e-15), index, shots=1).nearest.tolist() == [[[0], [1]]]
    with pytest.raises(InputError, match="squared distances that float32 can hold; rows lie 1e-20 from their mean"):
        nearest_centroid(rows * np.float32(1e-20), index, shots=1)
    assert nearest_centroid(rows * np.float32(0.0), index, shots=1).nearest.tolist() == [[[0], [0]]]


def test_arguments(backend):
    rows, index = np.ones((4, 3)), np.zeros((2, 2, 3), dtype=int)
    with pytest.raises(InputError, match=r"rows: expected shape \(n, d\)"):
        nearest_centroid(rows[0], index, shots=1, backend=backend)
    with pytest.raises(InputError, match="index: expected integers of shape"):
        nearest_centroid(rows, index[0], shots=1, backend=backend)
    with pytest.raises(InputError, match="index: expected integers of shape"):
        nearest_centroid(rows, index * 0.5, shots=1, backend=backend)
    for shots in (0, 3):
        with pytest.raises(InputError, match="shots: expected 1 to 2"):
            nearest_centroid(rows, index, shots=shots, backend=backend)
    for wrong in (-1, 4):
        with pytest.raises(InputError, match="index: expected rows from 0 to 3"):
            nearest_centroid(rows, np.full_like(index, wrong), shots=1, backend=backend)
    assert nearest_centroid(rows, index[:0], shots=1, backend=backend).nearest.shape == (0, 2, 2)
