"""The nearest_centroid op: to which class the queries of many small random tasks are nearest.

An episode picks rows of several classes: some to support, whose mean is the centroid of their class, and some to ask
about. The op answers for all episodes at once with the class whose centroid is nearest to each query by squared
Euclidean distance, the first of those that are equally near. Rows are rounded to float32, and centroids and rows are
taken relative to the mean of the episode's centroids before they are multiplied, so that a common offset does not hurt:
with u = 2^-24, a difference of two squared distances is off by at most about sqrt(d) u (|q|^2 + |c|^2) from there.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import Request, choose, load
from featdiv.ops.scatter import describe_rows
from featdiv.ops.scatter.reference import to_float64

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["Assigned", "nearest_centroid"]

_CHECKED_ROWS = 8192
_PILOT_ROWS = 1024
_LEAST_REACH = 2.0**-55


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assigned:
    """What the op returns, on the host.

    Attributes:
        nearest: (e, ways, queries) int64, the place among the ways of the centroid that is nearest to each query.
        backend: the backend that did it.
    """

    nearest: npt.NDArray[np.int64]
    backend: str


@takes_arrays
def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int, backend: str = "auto") -> Assigned:
    """Returns the nearest centroid of every query of every episode.

    Args:
        rows: (n, d) NumPy array, or torch tensor on any device, of any float or integer type, of any strides.
        index: (e, ways, shots + queries) rows that each episode takes of each of its classes; the support comes first.
        shots: support rows of each class, at least 1.
        backend: backend name or ``"auto"``.

    Raises:
        InputError: if an argument has the wrong shape, type or range, or distances overflow float32 or vanish in it.
        NonFiniteError: if a row that an episode takes holds NaN or infinity; ``count`` and ``first_row`` are of all.
        BackendUnavailable: if no backend can run this.

    Complexity:
        e ways (shots + ways queries) d multiply-adds; native reads rows where they lie and keeps O(ways d) a thread.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.0], [1.0], [9.0], [10.0], [2.0], [8.0]])
        >>> nearest_centroid(rows, np.array([[[0, 1, 4], [2, 3, 5]]]), shots=2).nearest.tolist()
        [[[0], [1]]]
    """
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise InputError(f"nearest_centroid: rows: expected shape (n, d) with d >= 1; got {tuple(rows.shape)}")
    index = np.asarray(index)
    if index.ndim != 3 or index.dtype.kind not in "iu":
        raise InputError(
            "nearest_centroid: index: expected integers of shape (episodes, ways, shots + queries); "
            f"got {index.dtype} of shape {index.shape}"
        )
    n, (_, ways, taken) = int(rows.shape[0]), index.shape
    if ways < 1 or taken < 2:
        raise InputError(
            f"nearest_centroid: index: expected a class at least, and of each two rows or more; got shape {index.shape}"
        )
    if not 1 <= shots < taken:
        raise InputError(f"nearest_centroid: shots: expected 1 to {taken - 1}, so that queries are left; got {shots}")
    if index.size and (index.min() < 0 or index.max() >= n):
        raise InputError(
            f"nearest_centroid: index: expected rows from 0 to {n - 1}; got {index.min()} to {index.max()}"
        )
    device, dtype = describe_rows(rows)
    name = choose(Request(op="nearest_centroid", device=device, dtype=dtype, n=n, d=int(rows.shape[1])), backend)
    _check_reach(rows)
    index = np.ascontiguousarray(index, dtype=np.int64)
    nearest: npt.NDArray[np.int64] = load("nearest_centroid", name).nearest_centroid(rows, index, shots=shots)
    if (nearest < 0).any():
        _raise_for(rows)
    return Assigned(nearest=nearest, backend=name)


def _check_reach(rows: Rows) -> None:
    """Raises InputError if the squared distances of strided rows from their mean vanish in float32."""
    some = to_float64(rows[:: max(1, int(rows.shape[0]) // _PILOT_ROWS)])
    with np.errstate(invalid="ignore", over="ignore"):
        reach = float(np.abs(some - some.mean(axis=0)).max(initial=0.0))
    if 0.0 < reach < _LEAST_REACH:
        raise InputError(
            f"nearest_centroid: rows: expected squared distances that float32 can hold; rows lie {reach:.3g} from "
            "their mean. Multiply all rows by a large constant: the nearest centroids do not change."
        )


def _raise_for(rows: Rows) -> None:
    """Raises the error of rows for which some distance is not finite."""
    count, first = 0, -1
    for start in range(0, int(rows.shape[0]), _CHECKED_ROWS):
        bad = ~np.isfinite(to_float64(rows[start : start + _CHECKED_ROWS]))
        if first < 0 and bad.any():
            first = start + int(bad.any(axis=1).argmax())
        count += int(bad.sum())
    if not count:
        raise InputError(
            "nearest_centroid: rows: expected squared distances that float32 can hold; they overflow. Multiply all "
            "rows by a small constant: the nearest centroids do not change."
        )
    raise NonFiniteError(
        f"nearest_centroid: rows: expected finite rows; got {count} NaN or infinite entries, the first in row {first}",
        count=count,
        first_row=first,
    )
