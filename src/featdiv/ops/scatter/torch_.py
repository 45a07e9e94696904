"""Scatter through torch, on the CPU or on a GPU, with the rows and the accumulators where they are.

The tiles of one call are multiplied in float32 (TF32 and reduced-precision CPU paths switched off) and summed in
float64 into accumulators of the call. One look at the end of the call decides: if a tile was not finite, or the
diagonal drifted from sums of squares taken in float64 by more than the precision allows, the whole call is
repeated in float64. One look, because each one makes the host wait for the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops._dispatch import PRECISIONS, Request
from featdiv.ops._exact_float32 import exact_float32
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor

_TILE_BYTES = 1 << 25
_TILE_ROWS = (256, 8192)
_NO_FLOAT64 = ("mps",)


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request: a device without float64, or one that torch cannot see."""
    if request.device in _NO_FLOAT64:
        return f"{request.device!r} has no float64, in which the sums are kept; move the rows with .cpu()"
    if request.device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if request.dtype in ("uint16", "uint32", "uint64"):
        return f"torch has no arithmetic on {request.dtype}"
    return None


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
    x = as_tensor(rows)
    device = x.device
    moved = torch.from_numpy(shift.copy()).to(device) if shift is not None else None
    powers = torch.from_numpy(np.ldexp(1.0, exponent)).to(device) if exponent is not None else None
    with exact_float32():
        part = None
        if precision != "float64":
            part = _call(x, sums, moved, powers, normalize, torch.float32)
            if not part.within(PRECISIONS[precision]):
                part = None
        if part is None:
            part = _call(x, sums, moved, powers, normalize, torch.float64)
            if precision != "float64":
                sums.tiles_in_float64 += part.tiles
        if not bool(torch.isfinite(part.total).all()):
            reference.check_finite(reference.to_float64(rows))
    _add(sums, part)
    sums.tiles += part.tiles
    sums.n += len(x)


class _Part:
    """The float64 sums of one call."""

    def __init__(self, d: int, device: torch.device, *, norm_sums: bool) -> None:
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.total = zeros(d)
        self.gram = zeros(d, d)
        self.weighted = zeros(d) if norm_sums else None
        self.fourth = zeros(1) if norm_sums else None
        self.square, self.drift = zeros(d), zeros(d)
        self.tiles = 0

    def within(self, limit: float) -> bool:
        """Whether the drifts of the diagonals of all tiles come to no more than ``limit`` of the sums of squares."""
        drift = self.drift / self.square.clamp_min(torch.finfo(torch.float64).tiny)
        # A NaN loses the comparison.
        return bool((drift <= limit).all())


def _call(
    x: torch.Tensor,
    sums: Sums,
    shift: torch.Tensor | None,
    powers: torch.Tensor | None,
    normalize: str | None,
    dtype: torch.dtype,
) -> _Part:
    """Returns the sums of ``x``, multiplied in the working type."""
    m, d = x.shape
    part = _Part(d, x.device, norm_sums=sums.weighted is not None)
    tile_rows = int(np.clip(_TILE_BYTES // (4 * d), *_TILE_ROWS))
    for start in range(0, m, tile_rows):
        unrounded = _transform(x, x[start : start + tile_rows], shift, powers, normalize)
        z = unrounded.to(dtype)
        # A cascade of sums: einsum adds row after row, which drifts where all squares are equal.
        square = z.double().square().sum(0)
        product = z.T @ z
        drift = (product.diagonal().double() - square).abs()
        if unrounded.dtype == torch.float64 and dtype == torch.float32:
            # Columns that underflow to zero in float32 have sums of squares of zero too.
            drift = torch.where((square == 0) & (unrounded != 0).any(0), torch.inf, drift)
        part.square += square
        part.drift += drift
        part.gram += product
        part.gram.diagonal().add_(square - product.diagonal())
        part.total += z.sum(0, dtype=torch.float64)
        if part.weighted is not None and part.fourth is not None:
            wide = z.double()
            squares = wide.square().sum(1)
            part.weighted += squares @ wide
            part.fourth += squares @ squares
        part.tiles += 1
    return part


def _transform(
    x: torch.Tensor,
    tile: torch.Tensor,
    shift: torch.Tensor | None,
    powers: torch.Tensor | None,
    normalize: str | None,
) -> torch.Tensor:
    """Returns z in float64, or the rows themselves where nothing is to be done."""
    if shift is None and powers is None and normalize is None:
        return tile
    z = tile.double()
    if normalize == "l2":
        largest = z.abs().amax(1, keepdim=True)
        if bool(((largest == 0) | ~torch.isfinite(largest)).any()):
            reference.transformed(x, normalize="l2")
        z = z / largest
        z /= z.square().sum(1, keepdim=True).sqrt_()
    if shift is not None:
        z = z - shift
    if powers is not None:
        z = z * powers
    return z


def as_tensor(rows: Rows) -> torch.Tensor:
    """Returns rows as a tensor where they are, sharing memory where torch can address it safely."""
    if isinstance(rows, torch.Tensor):
        return rows.detach()
    usable = rows.flags.behaved and min(rows.strides) >= 0 and rows.dtype.isnative
    # torch warns of, or refuses, arrays that it could write to by mistake or cannot address.
    return torch.from_numpy(rows if usable else rows.astype(rows.dtype.newbyteorder("=")))


def _add(sums: Sums, part: _Part) -> None:
    names = ["total", "gram"] + (["weighted", "fourth"] if sums.weighted is not None else [])
    for name in names:
        value = getattr(part, name)
        target = getattr(sums, name)
        target += value.cpu().numpy() if isinstance(target, np.ndarray) else value
