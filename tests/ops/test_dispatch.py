"""One place picks a backend, says why not, and never falls back from an explicit choice."""

from __future__ import annotations

import pickle
import types

import numpy as np
import pytest

import featdiv
from featdiv.errors import BackendUnavailable, InputError
from featdiv.ops import _dispatch
from featdiv.ops.scatter import Sums, scatter


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("FEATDIV_BACKEND", raising=False)


def fake_backends(monkeypatch, **reasons):
    modules = {
        name: types.SimpleNamespace(unsupported_reason=lambda _, r=reason: r) for name, reason in reasons.items()
    }
    monkeypatch.setitem(_dispatch.OPS, "scatter", tuple(reasons))
    monkeypatch.setattr(_dispatch, "load", lambda op, name: modules[name])


def test_auto_takes_the_first_without_a_reason(monkeypatch):
    fake_backends(monkeypatch, native="not built", numpy=None, torch=None)
    assert _dispatch.choose(_dispatch.Request(op="scatter")) == "numpy"
    assert _dispatch.choose(_dispatch.Request(op="scatter", device="cuda")) == "torch"


def test_auto_never_takes_the_reference(monkeypatch):
    fake_backends(monkeypatch, reference=None)
    with pytest.raises(BackendUnavailable, match="no backend can run"):
        _dispatch.choose(_dispatch.Request(op="scatter"))


def test_an_explicit_choice_does_not_fall_back(monkeypatch):
    fake_backends(monkeypatch, native="no compiler when featdiv was installed", numpy=None)
    with pytest.raises(BackendUnavailable, match="'native' cannot run this: no compiler when featdiv") as caught:
        _dispatch.choose(_dispatch.Request(op="scatter"), "native")
    assert caught.value.reasons == {"native": "no compiler when featdiv was installed"}
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons


def test_none_can(monkeypatch):
    fake_backends(monkeypatch, numpy="wrong type", torch="no device")
    with pytest.raises(BackendUnavailable, match="numpy: wrong type; torch: no device"):
        _dispatch.choose(_dispatch.Request(op="scatter"))


def test_an_error_inside_a_backend_is_not_unsupported(monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("featdiv.ops.scatter.numpy_.scatter", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        scatter(np.ones((3, 2)), Sums.zeros(2), backend="numpy")


def test_precedence_is_argument_then_scope_then_environment(monkeypatch):
    assert _dispatch.requested() == "auto"
    monkeypatch.setenv("FEATDIV_BACKEND", "torch")
    assert _dispatch.requested() == "torch"
    with featdiv.use_backend("numpy"):
        assert _dispatch.requested() == "numpy"
        assert _dispatch.requested("reference") == "reference"
        with featdiv.use_backend("auto"):
            assert _dispatch.requested() == "auto"
        assert _dispatch.requested() == "numpy"
    assert _dispatch.requested() == "torch"


def test_unknown_names_are_refused_where_they_are_given(monkeypatch):
    with pytest.raises(InputError, match=r"use_backend: name: expected 'auto' or one of native.*got 'cuBLAS'"):
        featdiv.use_backend("cuBLAS").__enter__()
    monkeypatch.setenv("FEATDIV_BACKEND", "fast")
    with pytest.raises(InputError, match=r"FEATDIV_BACKEND: expected.*got 'fast'"):
        _dispatch.requested()


def test_cpu_backends_say_that_gpu_rows_are_not_theirs():
    request = _dispatch.Request(op="scatter", device="cuda")
    assert "CPU rows" in str(_dispatch.unsupported_reason(request, "numpy"))


def test_mps_is_refused_in_words():
    request = _dispatch.Request(op="scatter", device="mps")
    with pytest.raises(BackendUnavailable, match=r"no float64.*\.cpu\(\)"):
        _dispatch.choose(request)
