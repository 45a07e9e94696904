"""cross_gram on tensor cores: both sets of features split into the terms that scatter uses, and multiplied by tiles.

One number is read at the end of a call: where the products cannot be shown to keep the bound of the precision, or rows
leave the range of float32, the call is repeated with more terms, or at last in float64. `_device_cross` says how that
is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops._routes import route
from featdiv.ops._tiles import BLOCK_ROWS
from featdiv.ops.cross_gram import CrossSums, Side, reference
from featdiv.ops.scatter.tensor_cores import LADDER

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_cross import DeviceCrossSums
    from featdiv.ops._device_kernels import CrossKernels


def add_cross_gram(
    kernels: CrossKernels, left: Side, right: Side, sums: CrossSums, *, precision: str, normalize: str | None
) -> None:
    """Adds the sums through some kernels; see `featdiv.ops.cross_gram.cross_gram`."""
    x, other = _triton.tensor_of(left.rows), _triton.tensor_of(right.rows)
    blocks = -(-len(x) // BLOCK_ROWS)
    for attempt in LADDER[precision]:
        part = _call(kernels, (x, other), (left, right), sums, attempt, normalize, PRECISIONS[precision])
        if attempt == "float64" or bool(part.good):
            break
    if attempt == "float64":
        sums.tiles_in_float64 += blocks if precision != "float64" else 0
        if not bool(part.finite):
            # Returns where squares merely overflowed.
            reference.transformed(left, right, normalize=normalize)
    kept = ("weighted", "other_weighted", "fourth") if sums.fourth is not None else ()
    for name in ("total", "other_total", "gram", *kept):
        value, target = getattr(part, name), getattr(sums, name)
        target += value.cpu().numpy() if isinstance(target, np.ndarray) else value
    sums.tiles += blocks
    sums.n += len(x)


def _call(
    kernels: CrossKernels,
    rows: tuple[torch.Tensor, torch.Tensor],
    sides: tuple[Side, Side],
    sums: CrossSums,
    precision: str,
    normalize: str | None,
    limit: float,
) -> DeviceCrossSums:
    from featdiv.ops._device_cross import cross_sums, packed

    left, right = sides
    moved = normalize is not None or any(side.shift is not None or side.exponent is not None for side in sides)
    chosen = route(str(rows[0].dtype).removeprefix("torch."), precision, transformed=moved)
    both = packed(
        kernels, rows, (left.shift, right.shift), (_powers(left), _powers(right)), chosen, normalize=normalize == "l2"
    )
    return cross_sums(kernels, both, chosen, limit=limit, norm_sums=sums.fourth is not None)


def _powers(side: Side) -> npt.NDArray[np.float64] | None:
    return None if side.exponent is None else np.ldexp(1.0, side.exponent)
