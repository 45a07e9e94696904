"""One thread for LAPACK where more would wait for one another most of the time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

SMALL = 1024
"""Columns up to which a decomposition takes one thread.

It reduces a matrix column by column, and after each column the threads of OpenBLAS wait for one another, spinning. Two
of them save 30 % for 768 columns on two idle cores (0.09 for 0.13 s); where something else holds one of the cores they
wait for its time slice at every column, and the same decomposition took 6 to 30 s.
"""


@functools.cache
def _libraries() -> Any:
    # SciPy's library is found only once it is loaded, as NumPy's is by then.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def one_thread(d: int) -> Iterator[None]:
    """Lets NumPy's and SciPy's BLAS use one thread inside, for matrices of at most `SMALL` columns.

    The setting is one for the process. threadpoolctl leaves it to the first Python thread that changes it; in others
    all stays as it is.
    """
    if d > SMALL:
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        yield
