"""cross_gram on the CPU through `featdiv._cpu`: rows are checked, transformed, weighed and multiplied in one pass.

On a processor with AMX rows are multiplied in bfloat16 terms, as in scatter (`featdiv.ops.scatter.native_`). There is
no diagonal to certify the product by; so the terms of each side are multiplied with themselves first, block by block,
and where those diagonals disagree with sums of squares the tile of rows is multiplied in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import PRECISIONS, Request
from featdiv.ops.cross_gram import CrossSums, Side, of_side

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def cross_gram(
    left: Side, right: Side, sums: CrossSums, *, precision: str = "float32", normalize: str | None = None
) -> None:
    """Adds the sums; see `featdiv.ops.cross_gram.cross_gram`."""
    m, p, q = int(left.rows.shape[0]), int(left.rows.shape[1]), int(right.rows.shape[1])
    _check_sums(sums, p, q)
    in_place = _native.is_readable(left.rows) and _native.is_readable(right.rows)
    step = m if in_place else max(1024, _native.COPIED_BYTES // (8 * (p + q)))
    for start in range(0, m, step):
        x, other = (_native.readable(side.rows[start : start + step]) for side in (left, right))
        host, other_host = _native.HostRows(x), _native.HostRows(other)
        outcome, tiles, wide = _native.module().cross_gram(
            x=host.address,
            x_stride=host.row_stride,
            x_d=p,
            x_shift=_native.address(left.shift),
            x_exponent=_native.address(left.exponent),
            x_total=_native.address(sums.total),
            x_weighted=_native.address(sums.weighted),
            other=other_host.address,
            other_stride=other_host.row_stride,
            other_d=q,
            other_shift=_native.address(right.shift),
            other_exponent=_native.address(right.exponent),
            other_total=_native.address(sums.other_total),
            other_weighted=_native.address(sums.other_weighted),
            n=int(x.shape[0]),
            element=host.element,
            normalize=normalize == "l2",
            doubles=precision == "float64",
            bound=PRECISIONS[precision],
            gram=_native.address(sums.gram),
            fourth=_native.address(sums.fourth),
            threads=_native.threads(),
            isa=_native.isa(),
        )
        if outcome == _native.NO_MEMORY:
            raise BudgetExceeded(f"cross_gram: no memory for packing rows of {p} and {q} features")
        if outcome != _native.DONE:
            _raise_for_sides(left.rows, right.rows, normalize=normalize == "l2")
        sums.n += int(x.shape[0])
        sums.tiles += tiles
        sums.tiles_in_float64 += wide


def _check_sums(sums: CrossSums, p: int, q: int) -> None:
    shapes = {"total": (p,), "other_total": (q,), "gram": (p, q)}
    if not (sums.weighted is sums.other_weighted is sums.fourth is None):
        shapes |= {"weighted": (p,), "other_weighted": (q,), "fourth": (1,)}
    for name, shape in shapes.items():
        array = getattr(sums, name)
        good = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.shape == shape
        if not (good and array.flags.carray):
            raise InputError(
                f"cross_gram: sums.{name}: expected a writeable C-ordered float64 array of shape {shape}, as "
                f"CrossSums.zeros makes; got {type(array).__name__} {getattr(array, 'shape', '')}"
            )


def _raise_for_sides(x: Rows, other: Rows, *, normalize: bool) -> NoReturn:
    for name, rows in (("x", x), ("other", other)):
        error = _native.row_error(rows, normalize=normalize)
        if error is not None:
            raise of_side(error, name)
    raise InputError("cross_gram: expected rows that stay as they are while they are read; they have changed")
