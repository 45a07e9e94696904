"""Exact nearest neighbours of every row among the others: a block of rows against all, never n x n."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_ENTRIES = 1 << 22


def nearest(unit_rows: npt.NDArray[Any], k: int) -> npt.NDArray[np.int32]:
    """Returns the k rows of largest inner product with each row, itself left out; ties go to the lower index.

    Args:
        unit_rows: (n, d) rows of norm one, n > k.
        k: neighbours.

    Returns:
        (n, k) ascending indices.

    Complexity:
        n^2 d multiply-adds; memory O(n k) beside a block.
    """
    n = len(unit_rows)
    step = max(1, BLOCK_ENTRIES // n)
    found = np.empty((n, k), dtype=np.int32)
    for start in range(0, n, step):
        block = unit_rows[start : start + step]
        similarity = block @ unit_rows.T
        inside = np.arange(len(block))
        similarity[inside, start + inside] = -np.inf
        found[start : start + step] = _largest(similarity, k)
    return found


def _largest(similarity: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """Returns the ascending column indices of the k largest entries of each row; ties go to the lower index."""
    m, n = similarity.shape
    threshold = np.partition(similarity, n - k, axis=1)[:, n - k, None]
    chosen = similarity > threshold
    missing = k - chosen.sum(axis=1)
    ties = similarity == threshold
    crowded = ties.sum(axis=1) > missing
    chosen |= ties & ~crowded[:, None]
    for row in np.flatnonzero(crowded):
        chosen[row, np.flatnonzero(ties[row])[: missing[row]]] = True
    return np.nonzero(chosen)[1].reshape(m, k)
