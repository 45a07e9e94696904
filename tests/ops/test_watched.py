from __future__ import annotations

import _thread
import ctypes
import signal
import time

import numpy as np
import pytest

from featdiv.errors import InputError
from featdiv.ops import _native
from featdiv.ops._watched import watched
from featdiv.ops.pair_sums import pair_sums

TOTAL = 10


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Call:
    """Stands for a call into the module: counts one up, waits until it is told to stop, and says that it has."""

    def __init__(self, *, then=lambda: None):
        self.ended = False
        self.then = then

    def __call__(self, address):
        cells = (ctypes.c_int64 * 2).from_address(address)
        cells[0] = 1
        self.then()
        for _ in range(2000):
            if cells[1]:
                break
            time.sleep(0.01)
        self.ended = bool(cells[1])


def test_what_the_call_returns_and_raises():
    assert watched(lambda address: 7, total=TOTAL) == 7
    with pytest.raises(InputError, match="told"):
        watched(lambda address: (_ for _ in ()).throw(InputError("told")), total=TOTAL)


def test_an_error_of_progress_stops_the_call():
    call = Call()

    def refuse(done, total):
        assert (done, total) == (1, TOTAL)
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        watched(call, total=TOTAL, progress=refuse)
    assert call.ended


def test_an_interruption_stops_the_call():
    call = Call(then=_thread.interrupt_main)
    # A process that a shell starts in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            watched(call, total=TOTAL)
    finally:
        signal.signal(signal.SIGINT, before)
    # An executor that is interrupted while it starts a thread does not wait for it.
    deadline = time.monotonic() + 10
    while not call.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert call.ended


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("precision", ["float32", "mixed", "float64"])
def test_pairs_are_counted(backend, precision, rng):
    x, y = rng.normal(size=(1130, 5)), rng.normal(size=(101, 5))
    # Blocks in order, which a backend may know; blocks that it is called for one by one.
    for other, blocks, total in (
        (None, None, 1130 * 1129 // 2),
        (y, None, 1130 * 101),
        (None, np.arange(1130) // 400, 1130 * 1129 // 2),
        (None, np.arange(1130) % 3, 1130 * 1129 // 2),
    ):
        seen = []
        told = {"progress": lambda done, all_of_them, seen=seen: seen.append((done, all_of_them))}
        pair_sums(x, other, blocks=blocks, precision=precision, backend=backend, **told)
        # The last but one is what the backend itself has counted.
        assert seen[-2:] == [(total, total)] * 2
        assert seen == sorted(seen)


def test_a_call_that_is_told_to_stop_compares_nothing(rng, monkeypatch):
    if reason := _native.missing():
        pytest.skip(reason)

    def stopped(call, *, total, progress):
        cells = np.array([0, 1])
        found = call(_native.address(cells))
        assert found[0] == _native.STOPPED
        assert not cells[0]
        raise KeyboardInterrupt

    monkeypatch.setattr("featdiv.ops.pair_sums.native_.watched", stopped)
    with pytest.raises(KeyboardInterrupt):
        pair_sums(rng.normal(size=(300, 4)), backend="native", progress=lambda done, total: None)


def test_a_progress_that_cannot_be_called(rng):
    with pytest.raises(InputError, match=r"pair_sums: progress: .*pairs done, pairs in all"):
        pair_sums(rng.normal(size=(30, 4)), progress=True)
