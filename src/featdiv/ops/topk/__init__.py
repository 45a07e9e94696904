"""The topk op: the k nearest rows of a gallery for every query, without ever storing all the products.

The measure is the inner product x . y (largest first) or the squared Euclidean distance |x - y|^2 (smallest first).
Rows are rounded to float32 and products are added in float32: with u = 2^-24, a product is off by at most about
sqrt(d) u |x| |y|, a squared distance by sqrt(d) u (|x|^2 + |y|^2). Rows whose *computed* values are equal come in the
order of their index, and the lower index is kept where they straddle the k-th place. Identical rows of the gallery
have equal values in the backends native, triton, cuda and reference; a BLAS may round them differently by their place.
Distances far from the origin lose what the rows have in common: subtract a common mean first. The backends triton and
cuda take candidates by such products, and compute the values of the candidates again in float64.

Native on a processor with AVX-512 VNNI or AVX-VNNI compares rows rounded to 16-bit integers first, at twice the rate.
With x' = x rounded and e(x) = |x - x'|, a product of those is off by at most e(x) |y| + (|x| + e(x)) e(y), some 1e-4
|x| |y|. What may still be among the k nearest by that bound is computed in float64 from the rows; a query for which
that is more than 1.75 k + 84 rows, as among copies, is compared in float32 as above.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import Request, choose, load
from featdiv.ops.scatter import describe_rows

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["Nearest", "topk"]

MEASURES = ("inner", "l2")
LARGEST = 2.0**55
"""Magnitude up to which squared distances of `MOST_FEATURES` features stay within float32; of more, less."""

MOST_FEATURES = 1 << 15

_CHECKED_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest:
    """What the op returns, on the host.

    Attributes:
        values: (m, k) float32, the measure of each neighbour, nearest first.
        indices: (m, k) int64 rows of the gallery.
        backend: the backend that did it.
    """

    values: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]
    backend: str = ""


@takes_arrays
def topk(
    queries: Rows,
    gallery: Rows,
    *,
    k: int,
    measure: str = "inner",
    backend: str = "auto",
) -> Nearest:
    """Returns the k nearest rows of the gallery for every query.

    Args:
        queries: (m, d) NumPy, torch or CuPy array on any device, of any float or integer type, of any strides.
        gallery: (n, d) rows of the same kind, on the same device.
        k: neighbours, at most n.
        measure: ``"inner"`` for the largest inner products, ``"l2"`` for the smallest squared distances.
        backend: backend name or ``"auto"``.

    Raises:
        InputError: if an argument has the wrong shape, type or range, or the rows exceed the range of float32 products.
        NonFiniteError: if a row holds NaN or infinity; ``count`` and ``first_row`` count within the set that is named.
        BackendUnavailable: if no backend can run this.

    Complexity:
        n m d multiply-adds; memory O(m k) beside blocks of rows and of products.

    Example:
        >>> import numpy as np
        >>> nearest = topk(np.array([[1.0, 0.1]]), np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]]), k=2)
        >>> nearest.indices.tolist(), nearest.values.tolist()
        ([[2, 1]], [[2.0, 1.0]])
    """
    kind = _checked_shapes(queries, gallery)
    m, n = int(queries.shape[0]), int(gallery.shape[0])
    if measure not in MEASURES:
        raise InputError(f"topk: measure: expected 'inner' or 'l2'; got {measure!r}")
    if not 1 <= k <= n:
        raise InputError(f"topk: k: expected 1 to {n}, the rows of the gallery; got {k}")
    request = Request(op="topk", device=kind[0], dtype=kind[1], n=n, d=int(queries.shape[1]))
    name = choose(request, backend)
    largest = check_range(queries, "queries")
    if gallery is not queries:
        largest = max(largest, check_range(gallery, "gallery"))
    if 0.0 < largest < 1.0 / LARGEST:
        raise InputError(
            f"topk: expected rows with entries of at least {1.0 / LARGEST:.3g}, whose products float32 can hold; the "
            f"largest of all is {largest:.3g}. Multiply all rows by a large constant: neighbours do not change."
        )
    if m == 0:
        return Nearest(values=np.empty((0, k), np.float32), indices=np.empty((0, k), np.int64), backend=name)
    found: Nearest = load("topk", name).topk(queries, gallery, k=k, measure=measure)
    return dataclasses.replace(found, backend=name)


def _checked_shapes(queries: Rows, gallery: Rows) -> tuple[str, str]:
    for name, rows in (("queries", queries), ("gallery", gallery)):
        if rows.ndim != 2 or rows.shape[1] < 1:
            raise InputError(f"topk: {name}: expected shape (n, d) with d >= 1; got {tuple(rows.shape)}")
    kind = describe_rows(gallery)
    other = describe_rows(queries)
    if other != kind or queries.shape[1] != gallery.shape[1]:
        raise InputError(
            f"topk: queries: expected {kind[1]} rows of {gallery.shape[1]} features on {kind[0]!r}, like the gallery; "
            f"got {other[1]} rows of {queries.shape[1]} features on {other[0]!r}"
        )
    if int(gallery.shape[0]) >= 1 << 32:
        raise InputError(f"topk: gallery: expected fewer than 2^32 rows; got {gallery.shape[0]}")
    return kind


def check_range(rows: Rows, name: str) -> float:
    """Returns the largest magnitude; raises the error of rows that are not finite, or whose products overflow."""
    d = int(rows.shape[1])
    largest, allowed = 0.0, LARGEST * min(1.0, math.sqrt(MOST_FEATURES / d))
    step = max(1, _CHECKED_BYTES // (8 * d))
    for start in range(0, int(rows.shape[0]), step):
        block = rows[start : start + step]
        low, high = _ends(block)
        if not (np.isfinite(low) and np.isfinite(high)):
            _raise_not_finite(rows, name)
        largest = max(largest, -low, high)
    if largest > allowed:
        raise InputError(
            f"topk: {name}: expected entries up to {allowed:.3g}, whose products float32 can hold; got {largest:.3g}. "
            "Multiply all rows by a small constant: neighbours do not change."
        )
    return largest


def _ends(block: Rows) -> tuple[float, float]:
    if isinstance(block, np.ndarray):
        return float(block.min()), float(block.max())
    low, high = block.aminmax()
    return float(low), float(high)


def _raise_not_finite(rows: Rows, name: str) -> None:
    if not isinstance(rows, np.ndarray):
        rows = rows.double().cpu().numpy()
    bad = ~np.isfinite(rows)
    count, first = int(bad.sum()), int(bad.any(axis=1).argmax())
    raise NonFiniteError(
        f"topk: {name}: expected finite rows; got {count} NaN or infinite entries, the first in row {first}",
        count=count,
        first_row=first,
    )
