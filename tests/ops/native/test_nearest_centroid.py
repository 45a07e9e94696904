"""The native nearest_centroid on every instruction set and number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.ops import _native
from featdiv.ops.nearest_centroid import nearest_centroid

pytestmark = pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))


@pytest.mark.parametrize("isa", _native.ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ways", [1, 2, 4, 8, 16])
def test_every_instruction_set_and_thread_count(monkeypatch, isa, threads, ways):
    """Small integers, whose means and products are exact: what float64 gives, to the last tie."""
    if _native.ISAS.index(isa) > _native.module().best_isa():
        pytest.skip(f"this machine has no {isa}")
    monkeypatch.setenv(_native.ISA_VARIABLE, isa)
    monkeypatch.setattr(_native, "threads", lambda: threads)
    rng = np.random.default_rng(2)
    for d in (1, 5, 16, 31, 64):
        rows = 32 * rng.integers(-2, 3, size=(300, d)).astype(np.float32)
        index = rng.integers(300, size=(50, ways, 7))
        expected = nearest_centroid(rows, index, shots=2, backend="reference")
        found = nearest_centroid(rows, index, shots=2, backend="native")
        np.testing.assert_array_equal(found.nearest, expected.nearest)
