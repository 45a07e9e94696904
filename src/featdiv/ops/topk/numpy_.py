"""topk through NumPy: BLAS products of blocks, each merged into the best so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import Request
from featdiv.ops.topk import Nearest

_QUERY_ROWS = 1024
_GALLERY_ROWS = 4096
_LOW = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)


def unsupported_reason(request: Request) -> str | None:
    """Returns why NumPy cannot run the request."""
    if request.device != "cpu":
        return f"it works on CPU rows; these are on {request.device!r}"
    if request.dtype == "bfloat16":
        return "NumPy has no bfloat16"
    return None


def topk(queries: Any, gallery: Any, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    n = len(gallery)
    values = np.empty((len(queries), k), dtype=np.float32)
    indices = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), _QUERY_ROWS):
        block = _float32(queries[start : start + _QUERY_ROWS])
        best = np.zeros((len(block), 0), dtype=np.uint64)
        for first in range(0, n, _GALLERY_ROWS):
            tile = _float32(gallery[first : first + _GALLERY_ROWS])
            keys = np.concatenate([best, _keys(_nearness(block, tile, measure), first)], axis=1)
            if keys.shape[1] > k:
                keys = np.partition(keys, keys.shape[1] - k, axis=1)[:, -k:]
            best = keys
        best = np.sort(best, axis=1)[:, ::-1]
        nearness, indices[start : start + len(block)] = _unpacked(best)
        values[start : start + len(block)] = nearness if measure == "inner" else np.maximum(-nearness, 0.0)
    return Nearest(values=values, indices=indices)


def _float32(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(rows, dtype=np.float32)


def _nearness(block: npt.NDArray[np.float32], tile: npt.NDArray[np.float32], measure: str) -> npt.NDArray[np.float32]:
    """Returns the (b, g) inner products, or negative squared distances, of two blocks of rows."""
    products: npt.NDArray[np.float32] = block @ tile.T
    if measure == "inner":
        return products
    products *= np.float32(2.0)
    products -= np.einsum("ij,ij->i", block, block)[:, None]
    products -= np.einsum("ij,ij->i", tile, tile)
    return np.minimum(products, np.float32(0.0))


def _keys(nearness: npt.NDArray[np.float32], first: int) -> npt.NDArray[np.uint64]:
    """Returns integers that order candidates: the nearer is larger, and of two equal ones the one of lower index."""
    bits = (nearness + np.float32(0.0)).view(np.uint32)  # adding zero turns -0.0 into 0.0
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    places = np.arange(first, first + nearness.shape[1], dtype=np.uint64)
    return (ordered.astype(np.uint64) << np.uint64(32)) | (_LOW - places)


def _unpacked(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    return bits.view(np.float32), (_LOW - (keys & _LOW)).astype(np.int64)
