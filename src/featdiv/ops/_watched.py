"""Long calls into the native module: they say how far they are, and Ctrl-C ends them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from featdiv.io.progress import Progress
from featdiv.ops import _native

T = TypeVar("T")

PERIOD = 0.1
"""Seconds between two looks at a call."""

LONG_PRODUCTS = 1e11
"""Multiply-adds from which a call may take a second, and is worth a thread that Ctrl-C reaches."""


def watched(call: Callable[[int], T], *, total: int, progress: Progress | None = None) -> T:
    """Returns ``call(address)``, made on a second thread while this one looks on.

    The module cannot see a signal, and a thread that waits in it is told of none. What this thread is told, a
    KeyboardInterrupt or an error of ``progress``, it raises as soon as the call has stopped.

    Args:
        call: keeps alive by itself all that it works on. At the address lie two int64: it adds what is done to the
            first, and stops early where the second is not zero.
        total: what is done in the end.
        progress: called with (done, ``total``) from this thread.
    """
    cells = np.zeros(2, dtype=np.int64)
    with concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="featdiv") as executor:
        try:
            future = executor.submit(lambda: call(_native.address(cells)))
            ended = False
            while not ended:
                ended = bool(concurrent.futures.wait([future], timeout=PERIOD).done)
                if progress is not None and int(cells[0]):
                    progress(int(cells[0]), total)
        except BaseException:
            cells[1] = 1
            raise
        return future.result()
