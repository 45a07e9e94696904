"""topk on the CPU through `featdiv._cpu`: products of a block are compared with the best so far while in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import Request
from featdiv.ops._watched import LONG_PRODUCTS, watched
from featdiv.ops.topk import Nearest

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def topk(queries: Rows, gallery: Rows, *, k: int, measure: str) -> Nearest:
    """Returns the nearest rows; see `featdiv.ops.topk.topk`."""
    left, right = _native.readable(queries), _native.readable(gallery)
    m, d = (int(size) for size in left.shape)
    n = int(right.shape[0])
    values = np.empty((m, k), dtype=np.float32)
    indices = np.empty((m, k), dtype=np.int64)
    asked, searched = _native.HostRows(left), _native.HostRows(right)
    threads, isa = _native.threads(), _native.isa()

    def search(watch: int) -> int:
        outcome: int = _native.module().topk(
            queries=asked.address,
            m=m,
            query_stride=asked.row_stride,
            gallery=searched.address,
            n=n,
            gallery_stride=searched.row_stride,
            d=d,
            element=asked.element,
            k=k,
            l2=measure == "l2",
            values=_native.address(values),
            indices=_native.address(indices),
            watch=watch,
            threads=threads,
            isa=isa,
        )
        return outcome

    outcome = watched(search, total=m * n) if m * n * d > LONG_PRODUCTS else search(0)
    if outcome == _native.NO_MEMORY:
        raise BudgetExceeded(f"topk: no memory for packed blocks and 2 x {k} candidates of up to 8,192 queries")
    if outcome != _native.DONE:
        raise InputError("topk: expected rows that stay as they are while they are read; they have changed")
    return Nearest(values=values, indices=indices)
