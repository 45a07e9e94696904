from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.linalg  # noqa: F401
import threadpoolctl

from featdiv.metrics.spectral.eigenvalues import both_raw
from featdiv.ops._blas import SMALL, one_thread


def _threads():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def _two_threads():
    if not _threads():
        pytest.skip("no BLAS here whose threads can be counted")
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def test_small_matrices_take_one_thread_and_give_the_others_back():
    before = _threads()
    assert set(before) == {2}
    with one_thread(SMALL):
        assert set(_threads()) == {1}
        with one_thread(3):
            assert set(_threads()) == {1}
        assert set(_threads()) == {1}
    assert _threads() == before
    with one_thread(SMALL + 1):
        assert _threads() == before
    with pytest.raises(ZeroDivisionError), one_thread(3):
        raise ZeroDivisionError
    assert _threads() == before


def test_python_threads_leave_no_limit_behind():
    before = _threads()
    entered, over = threading.Event(), threading.Event()

    def other():
        with one_thread(3):
            entered.set()
            over.wait(60)

    thread = threading.Thread(target=other)
    with one_thread(3):
        thread.start()
        assert entered.wait(60)
        assert set(_threads()) == {1}
    over.set()
    thread.join()
    assert _threads() == before


def test_spectra_are_decomposed_so(monkeypatch):
    from scipy.linalg import lapack

    found = []
    reduce = lapack.dsytrd
    monkeypatch.setattr(
        lapack, "dsytrd", lambda *args, **options: (found.append(_threads()), reduce(*args, **options))[1]
    )
    both_raw(np.eye(70), np.ones(70), 100)
    assert {count for counts in found for count in counts} == {1}
