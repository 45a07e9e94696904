"""nearest_centroid on the CPU through `featdiv._cpu`: rows are read where they lie, one episode a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded
from featdiv.ops import _native
from featdiv.ops._dispatch import Request

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def nearest_centroid(rows: Rows, index: npt.NDArray[np.int64], *, shots: int) -> npt.NDArray[np.int64]:
    """Returns the nearest centroids; see `featdiv.ops.nearest_centroid.nearest_centroid`."""
    rows = _native.readable(rows)
    host = _native.HostRows(rows)
    episodes, ways, taken = index.shape
    nearest = np.empty((episodes, ways, taken - shots), dtype=np.int64)
    outcome = _native.module().nearest_centroid(
        rows=host.address,
        n=int(rows.shape[0]),
        d=int(rows.shape[1]),
        row_stride=host.row_stride,
        element=host.element,
        index=_native.address(index),
        episodes=episodes,
        ways=ways,
        shots=shots,
        taken=taken,
        nearest=_native.address(nearest),
        threads=_native.threads(),
        isa=_native.isa(),
    )
    if outcome != _native.DONE:
        raise BudgetExceeded(f"nearest_centroid: no memory for {ways} centroids of {rows.shape[1]} features")
    return nearest
