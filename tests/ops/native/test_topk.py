"""The native topk on every instruction set and number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.ops import _native
from featdiv.ops.topk import topk

pytestmark = pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))


@pytest.mark.parametrize("isa", _native.ISAS)
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_every_instruction_set_and_thread_count(monkeypatch, isa, threads, measure):
    """Small integers, whose products are exact: the same bits as a full sort in float64, with queries held twice."""
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    monkeypatch.setattr(_native, "threads", lambda: int(threads))
    rng = np.random.default_rng(2)
    x, g = rng.integers(-3, 4, size=(8300, 5)), rng.integers(-3, 4, size=(700, 5))
    values = x @ g.T if measure == "inner" else ((x[:, None] - g) ** 2).sum(axis=2)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :9]
    found = topk(x.astype(np.float32), g.astype(np.float32), k=9, measure=measure, backend="native")
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.values, np.take_along_axis(values, order, axis=1))


def test_a_gallery_of_many_packed_blocks():
    """Eight megabytes of gallery are packed at a time: 5,200 rows of 1,600 features take five of them as floats.

    As integers, which are compared from 51 queries on where the processor has them, they take three.
    """
    rng = np.random.default_rng(4)
    g = rng.normal(size=(5200, 1600)).astype(np.float32)
    rows = np.array([0, 1309, 1310, 2700, 5199])
    for queries in (rows, np.tile(rows, 11)):
        found = topk(g[queries] * np.float32(2.0), g, k=1, measure="inner", backend="native")
        np.testing.assert_array_equal(found.indices.ravel(), queries)
        np.testing.assert_allclose(found.values.ravel(), 2 * (g[queries].astype(float) ** 2).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("measure", ["inner", "l2"])
def test_rounded_products_of_more_queries_than_are_held(measure):
    """Candidates of 8,192 queries are held at a time."""
    rng = np.random.default_rng(6)
    x, g = (rng.normal(size=(n, 32)) for n in (8250, 70))
    values = x @ g.T if measure == "inner" else -((x[:, None] - g) ** 2).sum(axis=2)
    found = topk(x, g, k=4, measure=measure, backend="native")
    np.testing.assert_array_equal(found.indices, np.argsort(-values, axis=1)[:, :4])
    nearest = np.take_along_axis(values, found.indices, axis=1)
    np.testing.assert_allclose(found.values, nearest if measure == "inner" else -nearest, rtol=1e-5, atol=1e-6)


def neighbours(x, g, k, measure):
    """The k nearest in float64, rounded to float32, equal ones by index."""
    x, g = x.astype(np.float64), g.astype(np.float64)
    values = (x[:, None] * g).sum(axis=2) if measure == "inner" else ((x[:, None] - g) ** 2).sum(axis=2)
    values = values.astype(np.float32)
    order = np.argsort(-values if measure == "inner" else values, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(values, order, axis=1)


@pytest.mark.parametrize("isa", ["avx512", "avx512vnni"])
@pytest.mark.parametrize("measure", ["inner", "l2"])
@pytest.mark.parametrize("kind", ["plain", "close", "clustered", "lengths", "copies", "almost equal"])
def test_rounded_products_leave_the_same_neighbours(monkeypatch, isa, measure, kind):
    """From 32 features on rows are compared as integers first, which cannot tell copies and almost equal rows."""
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    rng = np.random.default_rng(3)
    x, g = (rng.normal(size=(n, 37)).astype(np.float32) for n in (310, 1100))
    if kind == "close":
        # Some rows are nearer to one another than integers tell: few enough to be compared as they are.
        g[40:100] = g[50] + 1e-5 * g[40:100]
        x[:99] = g[50] + 0.1 * x[:99]
    elif kind == "clustered":
        g[100:400] = g[50] + 1e-3 * g[100:400]
        x[:99] = g[100:199]
    elif kind == "lengths":
        x, g = (rows * np.exp(rng.normal(size=(len(rows), 1))).astype(np.float32) for rows in (x, g))
    elif kind == "copies":
        g[300:] = np.tile(g[:4], (200, 1))
        x[:50] = g[1]
    elif kind == "almost equal":
        x, g = 1 + 1e-5 * x, 1 + 1e-5 * g
    indices, values = neighbours(x, g, 9, measure)
    found = topk(x, g, k=9, measure=measure, backend="native")
    scale = np.linalg.norm(x.astype(np.float64), axis=1)[:, None] * np.linalg.norm(g.astype(np.float64), axis=1).max()
    if measure == "l2":
        scale = 2 * scale + (x.astype(np.float64) ** 2).sum(1)[:, None] + (g.astype(np.float64) ** 2).sum(1).max()
    assert (np.abs(found.values - values) <= 1e-6 * scale).all()
    assert all(len(set(row)) == 9 for row in found.indices.tolist())
    if isa == "avx512vnni" and kind in ("plain", "close", "lengths"):
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_allclose(found.values, values, rtol=2e-6)


def test_queries_that_rounded_products_do_not_decide():
    """Half of the queries have hundreds of rows as near as the k-th, and are compared as floats: places stay theirs."""
    rng = np.random.default_rng(5)
    g = rng.normal(size=(2400, 64)).astype(np.float32)
    g[1000:] = g[0]
    x = rng.normal(size=(400, 64)).astype(np.float32)
    x[::2] = g[0]
    indices, values = neighbours(x, g, 5, "inner")
    found = topk(x, g, k=5, measure="inner", backend="native")
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.values, values, rtol=2e-6)
