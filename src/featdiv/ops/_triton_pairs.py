"""Rows packed for products with one another, through Triton: what pair_sums and topk share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from featdiv.ops import _triton
from featdiv.ops._routes import Route
from featdiv.ops._tiles import BLOCK_ROWS
from featdiv.ops._triton_moments import PACKING_WARPS, inverse_norms, on_device

FEATURES = 64
"""Features are filled up to a multiple of this."""

_PILOT_ROWS = 1024


class PackedSet:
    """Rows as planes of terms, their squared norms, and the way back to their float64 values.

    Attributes:
        n: rows.
        rows: the rows as they came.
        shift: (padded,) float64 that was subtracted, or None.
        squares: (n,) float64 squared norms of the rows as packed.
        padded: features with the filling.
        planes: terms; each plane holds ``plane`` numbers.
        route: how they are multiplied; None before `pack`.
    """

    def __init__(self, rows: Any, *, normalize: bool, shift: torch.Tensor | None) -> None:
        from featdiv.ops._triton_kernels import pairs

        self.rows = _triton.tensor_of(rows)
        self.n, self.d = (int(size) for size in self.rows.shape)
        self.padded = -(-self.d // FEATURES) * FEATURES
        self.norms = inverse_norms(self.rows) if normalize else None
        self.shift = shift
        self.route: Route | None = None
        self.squares = torch.empty(self.n, dtype=torch.float64, device=self.rows.device)
        spare = self.squares
        largest, inverse = self.norms or (spare, spare)
        with on_device(self.rows):
            pairs.row_squares[(-(-self.n // BLOCK_ROWS), 1)](
                *(self.rows, self.squares, 0, self.n, spare if shift is None else shift, largest, inverse),
                *(self.d, self.padded, self.rows.stride(0), self.rows.stride(1)),
                block_rows=BLOCK_ROWS,
                block_columns=32,
                has_shift=shift is not None,
                has_norms=normalize,
                num_warps=8,
                num_stages=1,
            )

    def pack(self, route: Route) -> None:
        """Makes the planes."""
        from featdiv.ops._triton_kernels import pack

        self.route = route
        device = self.rows.device
        blocks = -(-self.n // BLOCK_ROWS)
        self.plane = blocks * BLOCK_ROWS * self.padded
        self.planes = torch.empty(route.terms * self.plane, dtype=getattr(torch, route.element), device=device)
        spare = torch.empty((2, blocks, self.padded), dtype=torch.float64, device=device)
        group = torch.zeros(blocks, dtype=torch.int32, device=device)
        largest, inverse = self.norms or (spare, spare)
        shift = spare if self.shift is None else self.shift
        with on_device(self.rows):
            pack.pack[(blocks, self.padded // FEATURES)](
                *(self.rows, self.planes, self.plane, spare[0], spare[1], spare, spare, 0, self.n, group),
                *(shift, spare, largest, inverse),
                *(self.d, self.padded, self.rows.stride(0), self.rows.stride(1)),
                block_rows=BLOCK_ROWS,
                block_columns=FEATURES,
                terms=route.terms,
                has_rests=False,
                gather=False,
                has_shift=self.shift is not None,
                has_powers=False,
                has_norms=self.norms is not None,
                wide=route.wide,
                num_warps=PACKING_WARPS,
            )

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """Returns rows in float64, normalised and shifted."""
        z = self.rows[index].double()
        if self.norms is not None:
            z = z / self.norms[0][index][:, None] * self.norms[1][index][:, None]
        return z if self.shift is None else z - self.shift[: self.d]


def pilot_mean(rows: Any) -> torch.Tensor | None:
    """Returns a mean about which squared norms are small, with filling; None where there is none."""
    x = _triton.tensor_of(rows)
    if not len(x):
        return None
    mean = x[:: max(1, len(x) // _PILOT_ROWS)].double().mean(dim=0)
    if not bool(mean.isfinite().all()):
        return None
    filled = torch.zeros(-(-len(mean) // FEATURES) * FEATURES, dtype=torch.float64, device=x.device)
    filled[: len(mean)] = mean
    return filled


def fits_float32(squares: torch.Tensor) -> bool:
    """Whether float32 holds squared norms, and the products of three terms below them."""
    low, high = np.ldexp(1.0, -80), np.ldexp(1.0, 110)
    return bool(((squares == 0) | (squares > low)).all() & (squares < high).all())
