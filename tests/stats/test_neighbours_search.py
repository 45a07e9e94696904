"""Blocks of queries: small enough for Ctrl-C, and of no influence on what is found."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import featdiv
from featdiv.ops import _native
from featdiv.stats import neighbours_search
from featdiv.stats.neighbours import Neighbours


@pytest.mark.parametrize(
    ("n", "d", "rows"),
    [(1000, 384, 8192), (47_000, 384, (1 << 36) // (47_000 * 384)), (10**6, 768, 2048)],
)
def test_a_block_of_queries_on_the_cpu_is_a_second_of_products_where_that_costs_little(n, d, rows):
    assert neighbours_search.short_block(n, d) == rows


@pytest.mark.parametrize("self_search", [True, False])
def test_ctrl_c_is_honoured_after_a_block_and_blocks_change_nothing(self_search, monkeypatch):
    x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    queries = {} if self_search else {"queries": x[:200] + 1.0}
    whole = Neighbours.of(x, k=5, backend="numpy", **queries)
    monkeypatch.setattr(neighbours_search, "LEAST_BLOCK_ROWS", 64)
    monkeypatch.setattr(neighbours_search, "BLOCK_PRODUCTS", 64 * 300 * 12)
    done = []
    found = Neighbours.of(x, k=5, backend="numpy", progress=lambda rows, total: done.append(rows), **queries)
    assert done[:3] == [64, 128, 192]
    np.testing.assert_array_equal(found.indices, whole.indices)
    np.testing.assert_array_equal(found.values, whole.values)


def test_the_gallery_is_held_once(tmp_path):
    x = np.random.default_rng(0).normal(size=(20_000, 512)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    memory = 30 << 20
    with featdiv.open(tmp_path / "x.npy") as source:
        Neighbours.of(source, x[:50], k=1, backend="numpy", memory=memory)  # what is imported at first use
        tracemalloc.start()
        Neighbours.of(source, x[:50], k=1, backend="numpy", memory=memory)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1.5 * memory


@pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))
def test_a_native_search_hears_ctrl_c_itself(monkeypatch):
    x = np.random.default_rng(0).normal(size=(3000, 12)).astype(np.float32)
    monkeypatch.setattr(neighbours_search, "BLOCK_PRODUCTS", 1)
    monkeypatch.setattr("featdiv.ops.topk.native_.LONG_PRODUCTS", 0)
    done = []
    Neighbours.of(x, k=5, backend="native", progress=lambda rows, total: done.append(rows))
    assert done == [3000]

    def stopped(call, *, total):
        cells = np.array([0, 1])
        assert call(_native.address(cells)) == _native.STOPPED
        raise KeyboardInterrupt

    monkeypatch.setattr("featdiv.ops.topk.native_.watched", stopped)
    with pytest.raises(KeyboardInterrupt):
        Neighbours.of(x, k=5, backend="native")
