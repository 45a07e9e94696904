"""Rows packed for products with one another by CUDA kernels: what the cuda backends of pair_sums and topk share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops.scatter.torch_ import as_tensor

if TYPE_CHECKING:
    Rows = npt.NDArray[Any] | torch.Tensor

PANEL_ROWS = 128
"""Packed rows are filled up to a multiple of this, the height of the largest tile."""

FEATURES = 64
THREADS = 256
_CHUNK_NUMBERS = 1 << 24
_PILOT_ROWS = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile:
    """How a kernel tiles products; as in csrc/cuda/pair_tiles.cuh.

    Attributes:
        terms: name of the terms, with which the names of kernels end.
        height: rows of a tile.
        width: columns of a tile.
        shared_bytes: shared memory of a block.
    """

    terms: str
    height: int
    width: int
    shared_bytes: int


BFLOAT16 = Tile(terms="bfloat16", height=128, width=64, shared_bytes=2 * (128 + 64) * 3 * 32 * 2)
FLOAT64 = Tile(terms="float64", height=64, width=64, shared_bytes=2 * (64 + 64) * 16 * 8 + 64 * 64 * 8)


class PackedRows:
    """Rows as planes of terms, their squared norms, and the way back to their float64 values.

    Attributes:
        rows: the rows as they came.
        n: rows.
        d: features.
        padded: features with the filling.
        squares: (n,) float64 squared norms of the rows, normalised and shifted.
        planes: terms; each plane holds ``plane`` numbers.
        tile: what they are packed for; None before `pack`.
    """

    def __init__(self, rows: Rows, *, normalize: bool = False, shift: torch.Tensor | None = None) -> None:
        self.rows = as_tensor(rows).resolve_neg()
        self.n, self.d = (int(size) for size in self.rows.shape)
        self.padded = -(-self.d // FEATURES) * FEATURES
        self.normalize, self.shift = normalize, shift
        self.tile: Tile | None = None
        self.squares = torch.empty(self.n, dtype=torch.float64, device=self.rows.device)
        for start, z in self._chunks():
            self.squares[start : start + len(z)] = z.square().sum(dim=1)

    def pack(self, tile: Tile) -> None:
        """Makes the planes."""
        self.tile = tile
        filled = -(-self.n // PANEL_ROWS) * PANEL_ROWS
        self.plane = filled * self.padded
        wide = tile.terms == "float64"
        self.planes = torch.zeros(
            *(1 if wide else 3, filled, self.padded),
            dtype=torch.float64 if wide else torch.bfloat16,
            device=self.rows.device,
        )
        for start, z in self._chunks():
            part = self.planes[:, start : start + len(z)]
            if wide:
                part[0] = z
                continue
            for plane in part:
                plane.copy_(z.float())
                z -= plane.double()

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """Returns rows in float64, normalised and shifted."""
        return self._moved(self.rows[index])[:, : self.d]

    def products(self, index: torch.Tensor, other: PackedRows, others: torch.Tensor) -> torch.Tensor:
        """Returns float64 inner products of rows with rows of another set, pair by pair."""
        return self._by_pair(index, other, others, lambda x, y: (x * y).sum(dim=1))

    def squared_distances(self, index: torch.Tensor, other: PackedRows, others: torch.Tensor) -> torch.Tensor:
        """Returns float64 squared distances of rows from rows of another set, pair by pair."""
        return self._by_pair(index, other, others, lambda x, y: (x - y).square().sum(dim=1))

    def _by_pair(self, index: torch.Tensor, other: PackedRows, others: torch.Tensor, measure: Any) -> torch.Tensor:
        out = torch.empty(len(index), dtype=torch.float64, device=self.rows.device)
        step = max(1, _CHUNK_NUMBERS // self.padded)
        for start in range(0, len(index), step):
            pairs = slice(start, start + step)
            out[pairs] = measure(self._moved(self.rows[index[pairs]]), other._moved(other.rows[others[pairs]]))
        return out

    def _chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        step = max(1, _CHUNK_NUMBERS // self.padded)
        for start in range(0, self.n, step):
            yield start, self._moved(self.rows[start : start + step])

    def _moved(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns (m, padded) float64 rows, normalised, shifted and filled with zeros.

        The filling gives all rows one alignment: sums of equal rows are equal wherever these stand.
        """
        z = torch.zeros(len(rows), self.padded, dtype=torch.float64, device=rows.device)
        z[:, : self.d] = rows
        if self.normalize:
            # Not the norm of the rows themselves: the square of 1e200 would be infinite.
            z /= z.abs().amax(dim=1, keepdim=True)
            z /= z.square().sum(dim=1, keepdim=True).sqrt_()
        if self.shift is not None:
            z[:, : self.d] -= self.shift
        return z


def tile_for(*sets: PackedRows) -> Tile:
    """Returns the tile of products of some sets: float64 where float32 does not hold what three terms need."""
    low, high = np.ldexp(1.0, -80), np.ldexp(1.0, 110)
    for packed in sets:
        squares = packed.squares
        if not bool(((squares == 0) | (squares > low)).all() & (squares < high).all()):
            return FLOAT64
    return BFLOAT16


def pilot_mean(rows: Rows) -> torch.Tensor | None:
    """Returns a mean about which squared norms are small, or None where there is none."""
    x = as_tensor(rows)
    mean = x[:: max(1, len(x) // _PILOT_ROWS)].double().mean(dim=0)
    return mean if len(x) and bool(mean.isfinite().all()) else None
