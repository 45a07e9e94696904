"""class_scatter on the CPU through `featdiv._cpu`: classes dealt out to threads, rows gathered while packed.

On a processor with AMX, classes of 32 rows or more of 64 features or more are multiplied in bfloat16 terms, as in
scatter (`featdiv.ops.scatter.native_`), with the same certification.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded
from featdiv.ops import _native
from featdiv.ops._dispatch import PRECISIONS, Request

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Float64Array = npt.NDArray[np.float64]

_LINE_BYTES = 64


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def class_scatter(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Returns (means, scatters); see `featdiv.ops.class_scatter.class_scatter`."""
    return _run(rows, order, counts, precision=precision, normalize=normalize, dtype="float64")


def class_scatter_float32(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str = "float32",
    normalize: str | None = None,
) -> tuple[Float64Array, npt.NDArray[np.float32]]:
    """Returns (means, scatters in float32), which float64 scatters never stood in memory for."""
    return _run(rows, order, counts, precision=precision, normalize=normalize, dtype="float32")


def _run(
    rows: Rows,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    precision: str,
    normalize: str | None,
    dtype: str,
) -> tuple[Float64Array, npt.NDArray[Any]]:
    n, d = (int(size) for size in rows.shape)
    means, scatters = np.empty((len(counts), d)), _aligned((len(counts), d, d), dtype)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    order = np.ascontiguousarray(order, dtype=np.int64)
    read = _native.readable(rows)
    host = _native.HostRows(read)
    outcome = _native.module().class_scatter(
        rows=host.address,
        n=n,
        d=d,
        row_stride=host.row_stride,
        element=host.element,
        index=_native.address(order),
        starts=_native.address(starts),
        classes=len(counts),
        normalize=normalize == "l2",
        doubles=precision == "float64",
        bound=PRECISIONS[precision],
        means=_native.address(means),
        scatters=_native.address(scatters),
        narrow=dtype == "float32",
        threads=_native.threads(),
        isa=_native.isa(),
    )
    if outcome == _native.NO_MEMORY:
        raise BudgetExceeded(f"class_scatter: no memory for packing rows of {d} features")
    if outcome != _native.DONE:
        _native.raise_for_rows(rows, normalize=normalize == "l2")
    return means, scatters


def centred_rows(
    rows: Rows,
    index: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    *,
    pilots: Float64Array,
    sums: Float64Array,
    out: npt.NDArray[Any],
    exponent: npt.NDArray[np.int32] | None,
    normalize: str | None,
) -> bool:
    """Writes centred rows and adds up their classes; see `featdiv.ops.class_scatter.centred_rows`."""
    if not _native.is_readable(rows):
        rows, index = _native.readable(rows[index]), np.arange(len(index))
    host = _native.HostRows(rows)
    outcome = _native.module().centred_rows(
        rows=host.address,
        n=len(index),
        d=int(rows.shape[1]),
        row_stride=host.row_stride,
        element=host.element,
        index=_native.address(index),
        codes=_native.address(codes),
        pilots=_native.address(pilots),
        exponent=_native.address(exponent),
        normalize=normalize == "l2",
        places=_native.address(places),
        out=_native.address(out),
        narrow=out.dtype == np.float32,
        sums=_native.address(sums),
        threads=_native.threads(),
        isa=_native.isa(),
    )
    if outcome == _native.NO_MEMORY:
        raise BudgetExceeded(f"class_scatter: no memory for a row of {rows.shape[1]} features")
    if outcome == _native.NOT_FINITE:
        raise FloatingPointError("the sums of a class are not finite")
    return bool(outcome == _native.DONE)


def _aligned(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Returns an uninitialised array that begins with a cache line, so that whole lines can be written."""
    itemsize = np.dtype(dtype).itemsize
    size = math.prod(shape)
    room = np.empty(size + _LINE_BYTES // itemsize, dtype=dtype)
    first = -_native.address(room) % _LINE_BYTES // itemsize
    return room[first : first + size].reshape(shape)
