"""cross_gram through NumPy: tiles transformed in float64, multiplied in float32 where its sums keep the bound."""

from __future__ import annotations

import numpy as np

from featdiv.errors import RowError
from featdiv.ops._dispatch import PRECISIONS, Request
from featdiv.ops.cross_gram import CrossSums, Side, reference
from featdiv.ops.scatter import numpy_

_TILE_ROWS = 4096
_SMALLEST, _LARGEST = 2.0**-58, 2.0**58


def unsupported_reason(request: Request) -> str | None:
    """Returns why NumPy cannot run the request."""
    return numpy_.unsupported_reason(request)


def cross_gram(
    left: Side, right: Side, sums: CrossSums, *, precision: str = "float32", normalize: str | None = None
) -> None:
    """Adds the sums; see `featdiv.ops.cross_gram.cross_gram`."""
    m = int(left.rows.shape[0])
    for start in range(0, m, _TILE_ROWS):
        tile = slice(start, start + _TILE_ROWS)
        some = [Side(rows=side.rows[tile], shift=side.shift, exponent=side.exponent) for side in (left, right)]
        try:
            z, w = reference.transformed(*some, normalize=normalize)
        except RowError:
            # Counted over all rows.
            reference.transformed(left, right, normalize=normalize)
            raise
        product = None if precision == "float64" else _narrow_product(z, w, PRECISIONS[precision])
        if product is None:
            product = z.T @ w
            sums.tiles_in_float64 += precision != "float64"
        sums.gram += product
        sums.total += z.sum(axis=0)
        sums.other_total += w.sum(axis=0)
        if sums.fourth is not None:
            k, other_k = np.einsum("ij,ij->i", z, z), np.einsum("ij,ij->i", w, w)
            sums.weighted += other_k @ z
            sums.other_weighted += k @ w
            sums.fourth += k @ other_k
        sums.n += len(z)
        sums.tiles += 1


def _narrow_product(
    z: reference.Float64Array, w: reference.Float64Array, bound: float
) -> reference.Float64Array | None:
    """Returns z^T w multiplied in float32, or None if its sums drift, overflow or vanish.

    Sums in float32 drift where all terms have one sign: where columns are aligned. So the best aligned column of w is
    found for every column of z, and their product is taken in float64 as well.
    """
    for rows in (z, w):
        largest = np.abs(rows).max(axis=0)
        if ((largest > 0.0) & ((largest < _SMALLEST) | (largest > _LARGEST))).any():
            return None
    product = (z.astype(np.float32).T @ w.astype(np.float32)).astype(np.float64)
    scale, other_scale = np.sqrt(np.einsum("ij,ij->j", z, z)), np.sqrt(np.einsum("ij,ij->j", w, w))
    aligned = np.abs(product) / np.where(other_scale > 0.0, other_scale, 1.0)
    best = aligned.argmax(axis=1)
    exact = np.einsum("ij,ij->j", z, w[:, best])
    drift = np.abs(product[np.arange(len(best)), best] - exact)
    return product if bool((drift <= bound / 2 * scale * other_scale[best]).all()) else None
