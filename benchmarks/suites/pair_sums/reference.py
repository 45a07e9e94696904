"""The true reductions in float64, a block of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data
from suites import resident
from suites.diversity.reference import uniformity_of_some

BINS = 64
_ROWS = 2048


def uniformity(data: Data) -> Answer:
    """Returns the log of the mean of exp(-2 |x - y|^2) over all pairs of normalised rows."""
    return {"score": float(uniformity_of_some(data)["score"])}


def histogram(data: Data) -> Answer:
    """Returns how many pairs have a cosine in each of the bins from -1 to 1."""
    unit = _unit(data)
    counts = np.zeros(BINS, dtype=np.int64)
    for left, right in _blocks(data.n):
        counts += np.histogram(_pairs(unit[left] @ unit[right].T, left == right), BINS, range=(-1.0, 1.0))[0]
    return {"counts": counts}


def distances(data: Data) -> Answer:
    """Returns the mean distance over all pairs of rows as they are."""
    rows = resident.float32(data).astype(np.float64)
    rows -= rows.mean(axis=0)
    norms = np.einsum("ij,ij->i", rows, rows)
    total = 0.0
    for left, right in _blocks(data.n):
        squares = norms[left][:, None] + norms[right] - 2.0 * (rows[left] @ rows[right].T)
        total += float(np.sqrt(np.maximum(_pairs(squares, left == right), 0.0)).sum())
    return {"score": total / (data.n * (data.n - 1) / 2)}


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the error of the score; for a histogram, the share of pairs in the wrong bin."""
    if "counts" in truth:
        return {"score": float(np.abs(answer["counts"] - truth["counts"]).sum() / truth["counts"].sum())}
    return {"score": abs(answer["score"] / truth["score"] - 1.0)}


def _unit(data: Data) -> npt.NDArray[np.float64]:
    rows = resident.float32(data).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _blocks(n: int) -> Iterator[tuple[slice, slice]]:
    for i in range(0, n, _ROWS):
        for j in range(i, n, _ROWS):
            yield slice(i, i + _ROWS), slice(j, j + _ROWS)


def _pairs(block: npt.NDArray[np.float64], diagonal: bool) -> npt.NDArray[np.float64]:
    return block[np.triu_indices(len(block), 1)] if diagonal else block.ravel()
