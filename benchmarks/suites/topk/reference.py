"""The true neighbours in float64, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data
from suites import resident

_QUERIES = 4096
"""NumPy and torch take four to seven times what FAISS does: with four times as many the suite took twelve minutes."""
_BLOCK_ROWS = 512
_TELLS = 1e-6


def queries_of(data: Data) -> int:
    """Returns the number of queries: the first rows."""
    return min(_QUERIES, data.n)


def nearest(k: int) -> Callable[[Data], Answer]:
    """Returns a function that finds the k largest products of every query."""

    def found(data: Data) -> Answer:
        rows = resident.float32(data).astype(np.float64)
        values = np.empty((queries_of(data), k))
        for start in range(0, len(values), _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, len(values))
            products = rows[start:stop] @ rows.T
            values[start:stop] = -np.sort(-np.partition(products, -k, axis=1)[:, -k:], axis=1)
        return {"values": values}

    return found


def true_values(data: Data, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns the float64 products of queries with the rows that were found for them."""
    rows = resident.float32(data).astype(np.float64)
    out = np.empty(indices.shape)
    for query, found in enumerate(indices):
        out[query] = rows[found] @ rows[query]
    return out


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the largest error of a value, and the share of rows that do not belong among the nearest."""
    wanted = truth["values"]
    scale = np.abs(wanted).max()
    missed = answer["true_values"] < wanted[:, -1:] - _TELLS * scale
    return {"value": float(np.abs(answer["values"] - wanted).max() / scale), "missed": float(missed.mean())}
