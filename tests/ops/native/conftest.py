"""Native tests run on every instruction set of the machine, and skip where the module was not built."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.ops import _native


def pytest_collection_modifyitems(items):
    reason = _native.missing()
    for item in items:
        if reason and "native" in item.path.parts and item.path.name != "test_loader.py":
            item.add_marker(pytest.mark.skip(reason=reason))


def isas() -> tuple[str, ...]:
    """All but VNNI, whose kernels are those of AVX-512 and one more, which has a test file of its own."""
    best = _native.module().best_isa() if _native.missing() is None else 0
    return tuple(name for name in _native.ISAS[: best + 1] if name != "avx512vnni")


@pytest.fixture(params=isas())
def isa(request, monkeypatch):
    """Each instruction set in turn."""
    monkeypatch.setenv(_native.ISA_VARIABLE, request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture
def threads(monkeypatch):
    """Sets the number of threads that the native module is told to use."""

    def use(count: int) -> None:
        monkeypatch.setattr(_native, "threads", lambda: count)

    return use
