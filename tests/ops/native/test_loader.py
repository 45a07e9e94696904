"""The loader of the native module: success and failure are remembered, explained, and never end in None."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from featdiv.errors import BackendUnavailable, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import Request, unsupported_reason


@pytest.fixture
def fresh():
    _native._load.cache_clear()
    yield
    _native._load.cache_clear()


def importing(monkeypatch, outcome):
    calls = []
    true = importlib.import_module

    def import_module(name):
        if name != "featdiv._cpu":
            return true(name)
        calls.append(name)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(importlib, "import_module", import_module)
    return calls


@pytest.mark.usefixtures("fresh")
def test_a_module_that_was_not_built_is_explained_once(monkeypatch):
    calls = importing(monkeypatch, ModuleNotFoundError("no", name="featdiv._cpu"))
    monkeypatch.setattr(_native.shutil, "which", lambda name: None)
    assert "is not built (no C++ compiler is on PATH; install g++ or clang++" in str(_native.missing())
    assert _native.describe() == _native.missing()
    with pytest.raises(BackendUnavailable, match="is not built") as error:
        _native.module()
    assert set(error.value.reasons) == {"native"}
    assert len(calls) == 1


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ImportError("undefined symbol: zap"), "does not load: undefined symbol: zap"),
        (SimpleNamespace(INTERFACE=-1), "of another version"),
    ],
)
def test_a_module_that_does_not_load_is_explained(monkeypatch, outcome, words):
    importing(monkeypatch, outcome)
    assert words in str(_native.missing())


@pytest.mark.usefixtures("fresh")
def test_a_broken_installation_is_not_taken_for_a_missing_module(monkeypatch):
    importing(monkeypatch, ModuleNotFoundError("no", name="another_package"))
    with pytest.raises(ModuleNotFoundError):
        _native.missing()


@pytest.mark.usefixtures("fresh")
def test_reasons_reach_the_dispatch(monkeypatch):
    importing(monkeypatch, ModuleNotFoundError("no", name="featdiv._cpu"))
    assert "is not built" in str(unsupported_reason(Request(op="scatter"), "native"))
    assert "CPU rows" in str(unsupported_reason(Request(op="scatter", device="cuda"), "native"))
    assert "float8" in str(unsupported_reason(Request(op="scatter", dtype="float8_e4m3fn"), "native"))


def test_the_instruction_set_is_forced_downwards_only(monkeypatch):
    monkeypatch.setattr(_native, "module", lambda: SimpleNamespace(best_isa=lambda: 1))
    monkeypatch.delenv("FEATDIV_ISA", raising=False)
    assert _native.isa() == 1
    monkeypatch.setenv("FEATDIV_ISA", "baseline")
    assert _native.isa() == 0
    for absent in ("avx512", "neon"):
        monkeypatch.setenv("FEATDIV_ISA", absent)
        with pytest.raises(InputError, match=rf"FEATDIV_ISA: expected one of baseline, .*got '{absent}'"):
            _native.isa()


def test_threads_follow_torch_then_openmp_then_the_cpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    assert _native.threads() == 5
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert _native.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert _native.threads() >= 1


def test_importing_featdiv_does_not_load_the_module():
    code = "import sys, featdiv, featdiv.ops._native; sys.exit('featdiv._cpu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_elements_that_numpy_knows_have_their_size():
    sizes = (8, 4, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8)
    for name, size in zip(_native.ELEMENTS, sizes, strict=True):
        assert name == "bfloat16" or np.dtype(name).itemsize == size
