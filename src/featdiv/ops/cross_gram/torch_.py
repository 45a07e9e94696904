"""cross_gram through torch, on the CPU or on a GPU, with the rows and the accumulators where they are.

Tiles are multiplied in float32 (TF32 and reduced-precision CPU paths switched off) and added in float64. As for the
scatter op, one look at the end of a call decides whether it is repeated in float64: if a tile was not finite, or the
best aligned columns, whose sums drift most, drifted from their products in float64 by more than the precision allows.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from featdiv.ops._dispatch import PRECISIONS, Request
from featdiv.ops._exact_float32 import exact_float32
from featdiv.ops.cross_gram import CrossSums, Side, reference
from featdiv.ops.scatter import torch_ as scatter_torch

_TILE_ROWS = 8192
_SMALLEST, _LARGEST = 2.0**-58, 2.0**58


def unsupported_reason(request: Request) -> str | None:
    """Returns why torch cannot run the request."""
    return scatter_torch.unsupported_reason(request)


def cross_gram(
    left: Side, right: Side, sums: CrossSums, *, precision: str = "float32", normalize: str | None = None
) -> None:
    """Adds the sums; see `featdiv.ops.cross_gram.cross_gram`."""
    x, other = (scatter_torch.as_tensor(side.rows) for side in (left, right))
    with exact_float32():
        part = None
        if precision != "float64":
            part = _call(x, other, left, right, sums, normalize, torch.float32)
            if not float(part.drift) <= PRECISIONS[precision] / 2:
                part = None
        if part is None:
            part = _call(x, other, left, right, sums, normalize, torch.float64)
            if precision != "float64":
                sums.tiles_in_float64 += part.tiles
        if not bool(torch.isfinite(part.sums["total"]).all() & torch.isfinite(part.sums["other_total"]).all()):
            reference.transformed(left, right, normalize=normalize)
    for name, value in part.sums.items():
        target = getattr(sums, name)
        target += value.cpu().numpy() if isinstance(target, np.ndarray) else value
    sums.n += len(x)
    sums.tiles += part.tiles


@dataclasses.dataclass(kw_only=True)
class _Part:
    """The float64 sums of one call."""

    sums: dict[str, torch.Tensor]
    drift: torch.Tensor
    tiles: int = 0


def _call(
    x: torch.Tensor,
    other: torch.Tensor,
    left: Side,
    right: Side,
    sums: CrossSums,
    normalize: str | None,
    dtype: torch.dtype,
) -> _Part:
    kept = ["total", "other_total", "gram"]
    if sums.fourth is not None:
        kept += ["weighted", "other_weighted", "fourth"]
    part = _Part(
        sums={
            name: torch.zeros(tuple(getattr(sums, name).shape), dtype=torch.float64, device=x.device) for name in kept
        },
        drift=torch.zeros((), dtype=torch.float64, device=x.device),
    )
    for start in range(0, len(x), _TILE_ROWS):
        tile = slice(start, start + _TILE_ROWS)
        z = _transformed(x[tile], left, right, left, normalize)
        w = _transformed(other[tile], left, right, right, normalize)
        product = (z.to(dtype).T @ w.to(dtype)).double()
        if dtype == torch.float32:
            # A NaN must not lose the comparison.
            part.drift = torch.maximum(part.drift, torch.nan_to_num(_drift(z, w, product), nan=torch.inf))
        part.sums["gram"] += product
        part.sums["total"] += z.sum(0)
        part.sums["other_total"] += w.sum(0)
        if sums.fourth is not None:
            k, other_k = z.square().sum(1), w.square().sum(1)
            part.sums["weighted"] += other_k @ z
            part.sums["other_weighted"] += k @ w
            part.sums["fourth"] += k @ other_k
        part.tiles += 1
    return part


def _drift(z: torch.Tensor, w: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    """Returns the error of the best aligned column of w for each of z, and infinity if columns are of extreme scale."""
    scale, other_scale = z.square().sum(0).sqrt(), w.square().sum(0).sqrt()
    one = torch.ones((), dtype=torch.float64, device=z.device)
    best = (product.abs() / torch.where(other_scale > 0, other_scale, one)).argmax(1)
    exact = (z * w[:, best]).sum(0)
    found = product.gather(1, best[:, None]).squeeze(1)
    size = scale * other_scale[best]
    drift = torch.where(size > 0, (found - exact).abs() / torch.where(size > 0, size, one), torch.zeros_like(size))
    largest = (z.abs().amax(0), w.abs().amax(0))
    extreme = [((size > 0) & ((size < _SMALLEST) | (size > _LARGEST))).any() for size in largest]
    return torch.where(extreme[0] | extreme[1], torch.full_like(one, torch.inf), drift.amax())


def _transformed(tile: torch.Tensor, left: Side, right: Side, side: Side, normalize: str | None) -> torch.Tensor:
    """Returns z or w of a tile in float64."""
    z = tile.double()
    if normalize == "l2":
        largest = z.abs().amax(1, keepdim=True)
        if bool(((largest == 0) | ~torch.isfinite(largest)).any()):
            reference.transformed(left, right, normalize=normalize)
        z = z / largest
        z = z / z.square().sum(1, keepdim=True).sqrt()
    if side.shift is not None:
        z = z - torch.from_numpy(side.shift).to(z.device)
    if side.exponent is not None:
        z = z * torch.from_numpy(np.ldexp(1.0, side.exponent)).to(z.device)
    return z
