"""topk through Triton where its lists run full, and on types and strides; the op's own tests cover the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.ops.topk import listing, topk


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def truth(x, g, k, measure):
    """Float64 values rounded to float32, nearest first, equal ones by index."""
    x, g = (np.asarray(rows, float) for rows in (x, g))
    values = x @ g.T if measure == "inner" else ((x[:, None] - g) ** 2).sum(axis=2)
    values = values.astype(np.float32)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), order


def assert_nearest(x, g, k, measure):
    found = topk(x, g, k=k, measure=measure, backend="triton")
    values, order = truth(x.double() if isinstance(x, torch.Tensor) else x, g, k, measure)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.values, values, rtol=2e-7, atol=1e-12)
    return found


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_a_gallery_that_comes_nearer_and_nearer_fills_every_list(rng, measure, monkeypatch):
    """Each row is nearer than all before it, so that a block of more rows than fit is cut."""
    monkeypatch.setattr(listing, "ROOM", 0)
    calls = []
    whole = listing.ordered_keys
    monkeypatch.setattr(listing, "ordered_keys", lambda *given: calls.append(1) or whole(*given))
    x = np.ones((3, 4), np.float32)
    g = np.linspace(0.0, 0.9, 700, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    found = assert_nearest(x, g, 5, measure)
    assert found.indices[0].tolist() == [699, 698, 697, 696, 695]
    assert calls == [1]


def test_lists_in_random_order(rng, monkeypatch):
    monkeypatch.setattr(listing, "ROOM", 0)
    assert_nearest(rng.normal(size=(70, 9)), rng.normal(size=(1500, 9)), 3, "l2")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "int64", "bool"])
def test_every_element_type(rng, dtype):
    x, g = ((5 * rng.normal(size=(size, 70))).astype(dtype) for size in (20, 130))
    assert_nearest(x, g, 7, "inner")
    assert_nearest(x, g, 7, "l2")


def test_near_ties_are_decided_in_float64(rng):
    """Candidates whose products differ by less than the rounding of float32 products."""
    row = rng.normal(size=300)
    g = np.tile(row, (40, 1)) + 1e-9 * rng.normal(size=(40, 300))
    found = topk(row[None], g, k=36, measure="l2", backend="triton")
    exact = ((g - row) ** 2).sum(axis=1)
    assert found.indices[0].tolist() == np.argsort(exact, kind="stable")[:36].tolist()
    np.testing.assert_allclose(found.values[0], np.sort(exact)[:36], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-16, 1e-13, 1e15])
def test_scales_beyond_the_range_of_the_split(rng, scale):
    x, g = scale * rng.normal(size=(5, 6)), scale * rng.normal(size=(90, 6))
    found = topk(x, g, k=4, backend="triton")
    assert found.indices.tolist() == truth(x / scale, g / scale, 4, "inner")[1].tolist()


def test_rows_of_every_stride(rng):
    base = torch.from_numpy(rng.normal(size=(150, 24)).astype(np.float32))
    for x in (base[:, 3:17], base[::3, ::2], base.T.contiguous().T, base[5:]):
        assert_nearest(x, x, 4, "l2")


def test_more_queries_than_have_lists_at_a_time(rng, monkeypatch):
    monkeypatch.setattr(listing, "LIST_BYTES", 1)
    assert_nearest(rng.normal(size=(150, 5)), rng.normal(size=(64, 5)), 2, "inner")
