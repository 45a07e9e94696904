"""nearest_centroid through Triton, in its interpreter, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops.nearest_centroid import episodes, nearest_centroid


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
    [(1, 1, 1, 1, "float32"), (33, 2, 4, 9, "int8"), (129, 16, 1, 2, "float64")],
)
def test_small_integers_are_exact_to_the_last_tie(d, ways, shots, queries, dtype):
    random = np.random.default_rng(d)
    rows = 8 * random.integers(-2, 3, size=(40, d))
    index = random.integers(40, size=(2, ways, shots + queries))
    found = nearest_centroid(rows.astype(dtype), index, shots=shots, backend="triton")
    assert found.backend == "triton"
    np.testing.assert_array_equal(found.nearest, by_loops(rows, index, shots))


def test_a_choice_is_never_worse_than_the_best_beyond_rounding():
    random, offset = np.random.default_rng(3), 1e4
    rows = (random.normal(size=(100, 40)) + offset).astype(np.float32)
    index = random.integers(100, size=(3, 5, 3 + 6))
    nearest = nearest_centroid(rows, index, shots=3, backend="triton").nearest
    x = rows.astype(float)
    centroids = x[index[:, :, :3]].mean(axis=2)
    distances = ((x[index[:, :, 3:]][:, :, :, None] - centroids[:, None, None]) ** 2).sum(axis=4)
    chosen = np.take_along_axis(distances, nearest[..., None], axis=3)[..., 0]
    # A float32 of size 1e4 is itself off by 6e-4 of a standard deviation.
    assert (chosen <= distances.min(axis=3) + (1e-5 + offset * 1e-6) * 40).all()
    assert len(np.unique(nearest)) == 5


def test_strides_bfloat16_and_some_episodes_at_a_time(monkeypatch):
    random = np.random.default_rng(0)
    rows = torch.from_numpy(random.integers(-8, 9, size=(40, 20))).to(torch.bfloat16)
    index = random.integers(40, size=(3, 4, 5))
    monkeypatch.setattr(episodes, "CENTROID_BYTES", 2 * 4 * 20 * 5)
    x = rows.T.contiguous().T[:, ::3]
    found = nearest_centroid(x, index, shots=1, backend="triton")
    np.testing.assert_array_equal(found.nearest, by_loops(x.double().numpy(), index, 1))


@pytest.mark.parametrize("place", [0, 3])
def test_rows_that_are_not_finite_and_distances_that_overflow(place):
    rows = np.random.default_rng(0).normal(size=(90, 21))
    rows[77, 20] = np.nan
    index = np.arange(8).reshape(1, 2, 4)
    index[0, 1, place] = 77
    with pytest.raises(NonFiniteError, match=r"nearest_centroid: rows: .*got 1 NaN or infinite.*row 77"):
        nearest_centroid(rows, index, shots=2, backend="triton")
    rows = np.array([[1e30], [-1e30], [1e30], [-1e30]], dtype=np.float32)
    with pytest.raises(InputError, match="expected squared distances that float32 can hold"):
        nearest_centroid(rows, np.array([[[0, 2], [1, 3]]]), shots=1, backend="triton")
