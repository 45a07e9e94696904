"""The topk kernels, played on the host as their backend launches them, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.ops import _cuda_pairs
from featdiv.ops.topk import cuda_, listing


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def truth(x, g, k, measure):
    """Float64 values rounded to float32, nearest first, equal ones by index."""
    x, g = (np.asarray(rows, float) for rows in (x, g))
    values = x @ g.T if measure == "inner" else ((x[:, None] - g) ** 2).sum(axis=2)
    values = values.astype(np.float32)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), order


def assert_nearest(x, g, k, measure):
    found = cuda_.topk(x, g, k=k, measure=measure)
    values, order = truth(*(each.double() if isinstance(each, torch.Tensor) else each for each in (x, g)), k, measure)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.values, values, rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize("measure", ["inner", "l2"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("eager", [False, True])
def test_the_order_of_threads_and_copies_does_not_matter(played, rng, measure, backwards, eager):
    played.backwards, played.eager = backwards, eager
    assert_nearest(rng.normal(size=(5, 70)), rng.normal(size=(150, 70)), 4, measure)
    assert set(played.launched) == {"list_nearer_bfloat16"}


@pytest.mark.parametrize(("m", "n", "d", "k"), [(1, 1, 1, 1), (3, 2, 1, 2), (129, 65, 3, 65), (7, 700, 33, 3)])
@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_small_integers_are_exact_to_the_last_tie(played, rng, m, n, d, k, measure):
    x, g = (rng.integers(-3, 4, size=(size, d)).astype(np.float32) for size in (m, n))
    assert_nearest(x, g, k, measure)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "int64"])
def test_element_types_and_strides(played, rng, dtype):
    base = torch.from_numpy(9 * rng.normal(size=(90, 22))).to(getattr(torch, dtype))
    assert_nearest(base[:40:3], base.T.contiguous().T, 3, "l2")
    assert_nearest(base[:9, 3:17], base[::2, 3:17], 3, "inner")


@pytest.mark.parametrize("scale", [1e-18, 1e15])
def test_scales(played, rng, scale):
    x, g = scale * rng.normal(size=(5, 6)), scale * rng.normal(size=(90, 6))
    found = cuda_.topk(x, g, k=4, measure="inner")
    assert found.indices.tolist() == truth(x / scale, g / scale, 4, "inner")[1].tolist()
    # Squares of 1e-18 are below what terms of bfloat16 hold.
    assert set(played.launched) == {"list_nearer_float64" if scale < 1 else "list_nearer_bfloat16"}


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_lists_that_run_full(played, measure, monkeypatch):
    """Each row is nearer than all before it."""
    monkeypatch.setattr(listing, "ROOM", 0)
    g = np.linspace(0.0, 0.9, 600, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    found = cuda_.topk(np.ones((3, 4), np.float32), g, k=5, measure=measure)
    assert found.indices.tolist() == [[599, 598, 597, 596, 595]] * 3


def test_more_queries_than_have_lists_at_a_time(played, rng, monkeypatch):
    monkeypatch.setattr(listing, "LIST_BYTES", 1)
    assert_nearest(rng.normal(size=(150, 5)), rng.normal(size=(64, 5)), 2, "inner")
    assert len(played.launched) == 3


def test_copies_of_a_row_come_in_the_order_of_their_index(played, rng):
    row = rng.normal(size=37)
    gallery = rng.normal(size=(300, 37)) * 0.01
    copies = np.sort(rng.choice(300, 30, replace=False))
    gallery[copies] = row
    found = cuda_.topk(row[None].astype(np.float32), gallery.astype(np.float32), k=25, measure="l2")
    assert found.indices[0].tolist() == copies[:25].tolist()


@pytest.mark.parametrize("tile", [_cuda_pairs.BFLOAT16, _cuda_pairs.FLOAT64], ids=lambda tile: tile.terms)
def test_rows_come_back_from_their_planes(rng, tile):
    rows = rng.normal(size=(130, 70))
    packed = _cuda_pairs.PackedRows(rows, normalize=True, shift=torch.full((70,), 0.25, dtype=torch.float64))
    packed.pack(tile)
    want = rows / np.linalg.norm(rows, axis=1)[:, None] - 0.25
    back = packed.planes.double().sum(dim=0).numpy()
    np.testing.assert_allclose(back[:130, :70], want, rtol=0, atol=2.0**-26 if tile.terms == "bfloat16" else 1e-15)
    assert not back[130:].any()
    assert not back[:, 70:].any()
    np.testing.assert_allclose(packed.squares, (want**2).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(packed.take(torch.tensor([3, 1])), want[[3, 1]], atol=1e-15)
