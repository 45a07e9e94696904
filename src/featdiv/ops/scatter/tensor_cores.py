"""Scatter on tensor cores: rows split into bfloat16 terms, multiplied by matrix units, one triangle.

float32 rows become three bfloat16 terms, whose six largest products are kept; bfloat16, int8, uint8 and float16 rows
that nothing is subtracted from are multiplied as they are, which is exact. The diagonal comes from float64 sums of
squares. One number is read at the end of a call: where the products' own diagonal is off by more than the precision
allows, or the rows leave the range of float32, the call is repeated with more terms, or at last in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops import _triton
from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops._routes import route
from featdiv.ops._tiles import BLOCK_ROWS
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_kernels import Kernels
    from featdiv.ops._device_moments import GroupSums
    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor


LADDER = {
    "bfloat16": ("bfloat16", "float32", "float64"),
    "mixed": ("mixed", "float32", "float64"),
    "float32": ("float32", "float64"),
    "float64": ("float64",),
}
"""Precision to the ways of multiplying that are tried in turn until the products' diagonal keeps its bound."""


def add_scatter(
    kernels: Kernels,
    rows: Rows,
    sums: Sums,
    *,
    shift: npt.NDArray[np.float64] | None,
    exponent: npt.NDArray[np.int32] | None,
    precision: str,
    normalize: str | None,
) -> None:
    """Adds the sums of ``rows`` through some kernels; see `featdiv.ops.scatter.scatter`."""
    x = _triton.tensor_of(rows)
    blocks = -(-len(x) // BLOCK_ROWS)
    part = None
    for attempt in LADDER[precision]:
        norm_sums = sums.weighted is not None
        part = _call(kernels, x, shift, exponent, attempt, normalize, norm_sums=norm_sums, limit=precision)
        if part is not None:
            break
    else:
        raise AssertionError("the last attempt, in float64, is always taken")
    if attempt == "float64":
        sums.tiles_in_float64 += blocks if precision != "float64" else 0
        if not bool(part.squares.isfinite().all()):
            _raise_for_rows(rows, normalize)
    for name in ("total", "gram", *(("weighted", "fourth") if sums.weighted is not None else ())):
        value, target = getattr(part, name), getattr(sums, name)
        value = value if name == "fourth" else value[0]
        target += value.cpu().numpy() if isinstance(target, np.ndarray) else value
    sums.tiles += blocks
    sums.n += len(x)


def _call(
    kernels: Kernels,
    x: torch.Tensor,
    shift: npt.NDArray[np.float64] | None,
    exponent: npt.NDArray[np.int32] | None,
    precision: str,
    normalize: str | None,
    *,
    norm_sums: bool,
    limit: str,
) -> GroupSums | None:
    """Returns the sums, or None if multiplying in ``precision`` breaks the bound of ``limit`` on these rows."""
    import torch

    from featdiv.ops._device_kernels import Transform, on_device
    from featdiv.ops._device_moments import group_sums

    transformed = shift is not None or exponent is not None or normalize is not None
    chosen = route(str(x.dtype).removeprefix("torch."), precision, transformed=transformed)
    padded = kernels.tiles(x, chosen).padded

    def filled(values: npt.NDArray[Any]) -> torch.Tensor:
        wide = np.zeros(padded)
        wide[: len(values)] = values
        return torch.from_numpy(wide).to(x.device)

    norms = None
    if normalize == "l2":
        with on_device(x):
            norms = kernels.row_norms(x)
    transform = Transform(
        shift=None if shift is None else filled(shift),
        powers=None if exponent is None else filled(np.ldexp(1.0, exponent)),
        norms=norms,
    )
    blocks = np.array([-(-len(x) // BLOCK_ROWS)])
    found = group_sums(kernels, x, blocks, transform=transform, route=chosen, norm_sums=norm_sums)
    counts = torch.full((1,), float(len(x)), dtype=torch.float64, device=x.device)
    good = found.take_diagonal(PRECISIONS[limit], counts)
    return found if precision == "float64" or bool(good) else None


def _raise_for_rows(rows: Rows, normalize: str | None) -> None:
    """Raises the error of rows that are not finite, or of no direction; returns where squares merely overflowed."""
    host = reference.to_float64(rows)
    reference.check_finite(host)
    if normalize == "l2":
        reference.check_norms(host)
