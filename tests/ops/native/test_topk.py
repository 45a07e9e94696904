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
    """Eight megabytes of gallery are packed at a time: 5,200 rows of 1,600 features take five of them."""
    rng = np.random.default_rng(4)
    g = rng.normal(size=(5200, 1600)).astype(np.float32)
    x = g[[0, 1309, 1310, 2700, 5199]] * np.float32(2.0)
    found = topk(x, g, k=1, measure="inner", backend="native")
    assert found.indices.ravel().tolist() == [0, 1309, 1310, 2700, 5199]
    np.testing.assert_allclose(
        found.values.ravel(), 2 * (g[found.indices.ravel()].astype(float) ** 2).sum(axis=1), rtol=1e-5
    )
