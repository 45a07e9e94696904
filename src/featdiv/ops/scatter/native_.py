"""Scatter on the CPU through `featdiv._cpu`: one pass that checks, transforms, packs and multiplies the rows.

Products of float32 are summed in chains of 32 rows, chains in blocks of 512, blocks in float64, so that
features of constant magnitude, whose sums drift in long float32 chains, keep the bound too. A tile of rows with
columns so large or small that products would leave the range of float32 is multiplied in float64.

On a processor with AMX the floats are split into bfloat16 terms, whose products its tiles sum in float32: six products
of three terms for ``float32``, three of two for ``mixed``, one for ``bfloat16`` and for rows that bfloat16 holds, four
for float16 and 16-bit integers. The diagonal comes from float64 sums of squares; where the tiles' own diagonal
disagrees with it, the tile of rows is multiplied again in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import PRECISIONS, Request

if TYPE_CHECKING:
    import torch

    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def scatter(
    rows: Rows,
    sums: Sums,
    *,
    shift: npt.NDArray[np.float64] | None = None,
    exponent: npt.NDArray[np.int32] | None = None,
    precision: str = "float32",
    normalize: str | None = None,
) -> None:
    """Adds the sums of ``rows``; see `featdiv.ops.scatter.scatter`."""
    m, d = (int(size) for size in rows.shape)
    _check_sums(sums, d)
    shift = _columns("shift", shift, np.float64, d)
    exponent = _columns("exponent", exponent, np.int32, d)
    step = m if _native.is_readable(rows) else max(1024, _native.COPIED_BYTES // (8 * d))
    for start in range(0, m, step):
        tile = _native.readable(rows[start : start + step])
        outcome, tiles, wide = _add(tile, sums, shift, exponent, precision, normalize == "l2")
        if outcome == _native.NO_MEMORY:
            raise BudgetExceeded(f"scatter: no memory for packing rows of {d} features; nothing smaller would do")
        if outcome != _native.DONE:
            _native.raise_for_rows(rows, normalize=normalize == "l2")
        sums.n += len(tile)
        sums.tiles += tiles
        sums.tiles_in_float64 += wide


def _check_sums(sums: Sums, d: int) -> None:
    shapes = {"total": (d,), "gram": (d, d), "weighted": (d,), "fourth": (1,)}
    for name, shape in shapes.items():
        array = getattr(sums, name)
        if array is None and name in ("weighted", "fourth") and sums.weighted is sums.fourth:
            continue
        good = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == shape
        if not (good and array.flags.carray):
            raise InputError(
                f"scatter: sums.{name}: expected a writeable C-ordered float64 array of shape {shape}, as "
                f"Sums.zeros makes; got {type(array).__name__} {getattr(array, 'shape', '')}"
            )


def _columns(name: str, values: npt.NDArray[Any] | None, dtype: type, d: int) -> npt.NDArray[Any] | None:
    if values is None:
        return None
    if values.shape != (d,):
        raise InputError(f"scatter: {name}: expected shape ({d},), one value for each feature; got {values.shape}")
    return np.ascontiguousarray(values, dtype=dtype)


def _add(
    tile: Rows,
    sums: Sums,
    shift: npt.NDArray[np.float64] | None,
    exponent: npt.NDArray[np.int32] | None,
    precision: str,
    normalize: bool,
) -> tuple[int, int, int]:
    host = _native.HostRows(tile)
    outcome, tiles, wide = _native.module().scatter(
        rows=host.address,
        n=int(tile.shape[0]),
        d=int(tile.shape[1]),
        row_stride=host.row_stride,
        element=host.element,
        shift=_native.address(shift),
        exponent=_native.address(exponent),
        normalize=normalize,
        doubles=precision == "float64",
        bound=PRECISIONS[precision],
        total=_native.address(sums.total),
        gram=_native.address(sums.gram),
        weighted=_native.address(sums.weighted),
        fourth=_native.address(sums.fourth),
        threads=_native.threads(),
        isa=_native.isa(),
    )
    return outcome, tiles, wide
