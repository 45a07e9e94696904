"""The float64 oracle of the pair_sums op: row by row, differences taken before they are squared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import RowError
from featdiv.ops._dispatch import Request
from featdiv.ops.pair_sums import PairSums, PairTask, of_set
from featdiv.ops.scatter.reference import transformed

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    try:
        left = transformed(x, normalize=task.normalize)
    except RowError as error:
        raise of_set(error, other, in_other=False) from None
    try:
        right = left if other is None else transformed(other, normalize=task.normalize)
    except RowError as error:
        raise of_set(error, other, in_other=True) from None
    exp_sums = np.zeros(len(task.rates))
    distance_sum = 0.0
    counts = np.zeros(task.bins + 2, dtype=np.int64)
    close = 0
    close_pairs: list[tuple[int, int]] = []
    nearest: tuple[int, int, float] | None = None
    for i, row in enumerate(left):
        first = i + 1 if other is None else 0
        partners = right[first:]
        if not len(partners):
            continue
        squares = ((partners - row) ** 2).sum(axis=1)
        exp_sums += np.exp(-np.outer(task.rates, squares)).sum(axis=1)
        distance_sum += float(np.sqrt(squares).sum())
        if task.measure is None:
            continue
        values = np.sqrt(squares) if task.measure == "distance" else partners @ row
        if task.edges is not None:
            counts += bin_counts(values, task)
        if task.threshold is not None:
            found = np.flatnonzero(task.closeness(values) >= task.closeness(task.threshold))
            close += len(found)
            close_pairs += [(i, first + int(j)) for j in found[: task.examples - len(close_pairs)]]
        j = int(task.closeness(values).argmax())
        if nearest is None or task.closeness(values[j]) > task.closeness(nearest[2]):
            nearest = (i, first + j, float(values[j]))
    return PairSums(
        pairs=0,
        exp_sums=exp_sums,
        distance_sum=distance_sum if task.distances else None,
        histogram=None if task.edges is None else counts[1:-1],
        below=int(counts[0]),
        above=int(counts[-1]),
        close=None if task.threshold is None else close,
        close_pairs=np.array(close_pairs, dtype=np.int64).reshape(-1, 2),
        nearest=nearest,
    )


def bin_counts(values: npt.NDArray[np.float64], task: PairTask) -> npt.NDArray[np.int64]:
    """Returns (bins + 2,) counts, those below and above the edges at the ends.

    A cosine past 1 or a distance below 0 is so by rounding alone, and belongs into the bin at that end.
    """
    assert task.edges is not None
    inside = np.clip(values, -1.0, 1.0) if task.measure == "cosine" else values
    number = np.searchsorted(task.edges, inside, side="right")
    number[inside == task.edges[-1]] = task.bins
    return np.bincount(number, minlength=task.bins + 2).astype(np.int64)
