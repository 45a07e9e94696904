"""Scatter on the CPU through NumPy, whose ``X.T @ X`` is one triangle of work (BLAS syrk).

Rows are taken a tile at a time. A tile is multiplied in float32 and added to the accumulators in float64. A sum
of products in float32 can drift where many products are equal (features of constant magnitude), have few bits
(bfloat16 rows) or are outweighed by one (heavy tails). The diagonal of each tile's product is therefore compared
with, and replaced by, sums of squares kept in chains of sixteen. Where the two differ by more than half of what
the precision allows, the columns that differ most are multiplied again in float64; if the drift shows off the
diagonal too, the tile is multiplied in float64 instead. The same happens to a tile whose products overflow
float32 although its rows are finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import PRECISIONS, Request
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    import torch

    from featdiv.ops.scatter import Sums

    Rows = npt.NDArray[Any] | torch.Tensor

_TILE_BYTES = 1 << 25
_TILE_ROWS = (256, 8192)
_CHAIN = 16
_CACHED_ROWS = 512
_DRIFTED_TILES_BEFORE_SWITCH = 2
_SUSPECT_COLUMNS = 8
_SUSPECT_TILES_ALL_CHECKED = 4
_SUSPECT_TILES_CHECKED_EVERY = 16
_TRIANGLE_BLOCK = 256
_SAFE_SQUARES = (1e-30, 1e30)
_LEAST_MEAN_SQUARE = 2.0**-100

_DTYPES = (
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "bool",
    *tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
)


def unsupported_reason(request: Request) -> str | None:
    """Returns why NumPy cannot run the request: rows on another device, or a type that it does not know."""
    if request.device != "cpu":
        return f"it works on CPU rows; these are on {request.device!r}"
    if request.dtype not in _DTYPES:
        return f"it has no rule for rows of type {request.dtype}"
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
    m, d = (int(size) for size in rows.shape)
    tile_rows = _balanced(m, int(np.clip(_TILE_BYTES // (4 * d), *_TILE_ROWS)))
    transform = _Transform(rows, shift=shift, exponent=exponent, normalize=normalize)
    limit = PRECISIONS[precision]
    product = sums.scratch("product", (d, d), np.float32) if precision != "float64" else None
    for start in range(0, m, tile_rows):
        tile = rows[start : start + tile_rows]
        done = False
        if product is not None and sums.drifted_tiles < _DRIFTED_TILES_BEFORE_SWITCH:
            z = transform.float32(tile, sums)
            done = _add_float32(z, transform.unrounded(z, sums), sums, product, limit)
            if not done:
                transform.require_finite(tile)
                sums.drifted_tiles += 1
        if not done:
            if product is not None:
                sums.tiles_in_float64 += 1
            _add_float64(tile, sums, transform)
        sums.tiles += 1
        sums.n += len(tile)


def _balanced(m: int, limit: int) -> int:
    """Returns how many rows a tile takes, a multiple of the chain, so that ``m`` rows make tiles of like size."""
    tiles = -(-m // limit)
    return -(-m // (tiles * _CHAIN)) * _CHAIN


class _Transform:
    """z = (u - shift) 2^exponent into a scratch buffer, or the rows themselves where nothing is to be done."""

    def __init__(
        self,
        rows: Rows,
        *,
        shift: npt.NDArray[np.float64] | None,
        exponent: npt.NDArray[np.int32] | None,
        normalize: str | None,
    ) -> None:
        self.rows = rows
        self.shift = shift
        self.exponent = exponent
        self.normalize = normalize
        self.plain = shift is None and exponent is None and normalize is None
        self._rounded = False

    def float32(self, tile: Rows, sums: Sums) -> npt.NDArray[np.float32]:
        """Returns z in float32; entries that do not fit become infinite, which the caller notices."""
        if self.plain and isinstance(tile, np.ndarray) and tile.dtype == np.float32 and _blas_ready(tile):
            return tile
        self._rounded = False
        out = sums.scratch("rows32", tuple(tile.shape), np.float32)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if _is_wide(tile):
                # Rounding to float32 before the shift would lose what the shift is there to save.
                out[...] = self.float64(tile, sums)
                self._rounded = True
                return out
            _widen(tile, out)
            if self.normalize is not None:
                squares = np.einsum("ij,ij->i", out, out)
                if not ((squares > _SAFE_SQUARES[0]) & (squares < _SAFE_SQUARES[1])).all():
                    out[...] = self.float64(tile, sums)
                    self._rounded = True
                    return out
                out /= np.sqrt(squares)[:, None]
            if self.shift is not None:
                out -= self.shift.astype(np.float32)
            if self.exponent is not None:
                np.ldexp(out, self.exponent, out=out)
        return out

    def unrounded(self, z: npt.NDArray[np.float32], sums: Sums) -> npt.NDArray[Any]:
        """Returns what ``z``, the latest answer of `float32`, was rounded from, or ``z`` itself."""
        return sums.scratch("rows64", z.shape, np.float64) if self._rounded else z

    def float64(self, tile: Rows, sums: Sums) -> npt.NDArray[np.float64]:
        """Returns z in float64."""
        out = sums.scratch("rows64", tuple(tile.shape), np.float64)
        _widen(tile, out)
        if self.normalize is not None:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                largest = np.abs(out).max(axis=1)
            if not (np.isfinite(largest).all() and (largest > 0.0).all()):
                reference.transformed(self.rows, normalize="l2")
            out /= largest[:, None]
            out /= np.sqrt(np.einsum("ij,ij->i", out, out))[:, None]
        if self.shift is not None:
            out -= self.shift
        if self.exponent is not None:
            np.ldexp(out, self.exponent, out=out)
        return out

    def require_finite(self, tile: Rows) -> None:
        """Raises NonFiniteError, counting over all rows, if ``tile`` holds NaN or infinity."""
        if isinstance(tile, np.ndarray) and (tile.dtype.kind != "f" or np.isfinite(tile).all()):
            return
        reference.check_finite(reference.to_float64(self.rows))


def _blas_ready(tile: npt.NDArray[Any]) -> bool:
    row, column = tile.strides
    contiguous = column == tile.itemsize and row >= tile.shape[1] * column and row % tile.itemsize == 0
    return contiguous and tile.flags.aligned and tile.dtype.isnative


def _is_wide(tile: Rows) -> bool:
    """Whether float32 cannot hold every value of the type."""
    if not isinstance(tile, np.ndarray):
        return False
    return tile.dtype.itemsize > (2 if tile.dtype.kind in "iu" else 4)


def _widen(tile: Rows, out: npt.NDArray[Any]) -> None:
    if isinstance(tile, np.ndarray):
        out[...] = tile
        return
    import torch

    torch.from_numpy(out).copy_(tile)


def _column_sums(z: npt.NDArray[Any], squares: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns column sums of z and of z^2, in short float32 chains that are added in float64."""
    m, d = z.shape
    total, square = np.zeros(d), np.zeros(d)
    ones = np.ones(_CHAIN, dtype=z.dtype)
    whole = m // _CHAIN * _CHAIN
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, whole, _CACHED_ROWS):
            block = z[start : min(start + _CACHED_ROWS, whole)]
            chains = block.reshape(-1, _CHAIN, d) if block.flags.c_contiguous else _as_chains(block)
            total += np.matmul(ones, chains).sum(axis=0, dtype=np.float64)
            if squares:
                square += np.einsum("bij,bij->bj", chains, chains).sum(axis=0, dtype=np.float64)
        rest = z[whole:].astype(np.float64)
        total += rest.sum(axis=0)
        if squares:
            square += np.einsum("ij,ij->j", rest, rest)
    return total, square


def _as_chains(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    row, column = block.strides
    shape = (len(block) // _CHAIN, _CHAIN, block.shape[1])
    return np.lib.stride_tricks.as_strided(block, shape, (row * _CHAIN, row, column), writeable=False)


def _add_float32(
    z: npt.NDArray[np.float32],
    unrounded: npt.NDArray[Any],
    sums: Sums,
    product: npt.NDArray[np.float32],
    limit: float,
) -> bool:
    """Adds a tile and returns True, or leaves the accumulators alone and returns False if it is not good enough."""
    total, square = _column_sums(z, squares=True)
    if not (np.isfinite(total).all() and np.isfinite(square).all()):
        return False
    small = square < len(z) * _LEAST_MEAN_SQUARE
    if small.any() and unrounded[:, small].any():
        # The products of these columns underflow in float32, and so do the sums of squares that would show it.
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(z.T, z, out=product)
    drift = np.abs(product.diagonal() - square)
    if not (drift <= 0.5 * limit * square).all() and not _holds_off_diagonal(z, sums, product, square, limit):
        return False
    # The diagonal from the short chains is the better of the two.
    for start in range(0, len(product), _TRIANGLE_BLOCK):
        rows = slice(start, start + _TRIANGLE_BLOCK)
        sums.gram[rows, start:] += product[rows, start:]
    diagonal = np.einsum("ii->i", sums.gram)
    diagonal += square - product.diagonal()
    sums.total += total
    _add_norm_sums(z, sums)
    return True


def _holds_off_diagonal(
    z: npt.NDArray[np.float32],
    sums: Sums,
    product: npt.NDArray[np.float32],
    square: npt.NDArray[np.float64],
    limit: float,
) -> bool:
    """Whether the products of the columns that drifted most keep the limit against float64 ones.

    Once the first suspect tiles have held, only one in sixteen is checked: what makes a tile suspect is a property
    of the features, and the check costs as much as a third of the product.
    """
    drift = np.abs(product.diagonal() - square)
    if not np.isfinite(drift).all():
        return False
    sums.suspect_tiles += 1
    if sums.suspect_tiles > _SUSPECT_TILES_ALL_CHECKED and sums.suspect_tiles % _SUSPECT_TILES_CHECKED_EVERY:
        return True
    relative = drift / np.where(square > 0.0, square, 1.0)
    worst = np.argsort(relative)[-_SUSPECT_COLUMNS:]
    wide = sums.scratch("rows64", z.shape, np.float64)
    wide[...] = z
    error = np.abs(wide.T @ wide[:, worst] - product[:, worst])
    error[worst, np.arange(len(worst))] = 0.0
    scale = np.sqrt(np.outer(square, square[worst]))
    return bool((error <= 0.75 * limit * scale).all())


def _add_float64(tile: Rows, sums: Sums, transform: _Transform) -> None:
    z = transform.float64(tile, sums)
    total = z.sum(axis=0)
    if not np.isfinite(total).all():
        transform.require_finite(tile)
    sums.total += total
    sums.gram += z.T @ z
    _add_norm_sums(z, sums)


def _add_norm_sums(z: npt.NDArray[Any], sums: Sums) -> None:
    if sums.weighted is None:
        return
    for start in range(0, len(z), _CACHED_ROWS):
        # Third powers of 1e13 exceed float32.
        block = z[start : start + _CACHED_ROWS].astype(np.float64, copy=False)
        squares = np.einsum("ij,ij->i", block, block)
        sums.weighted += squares @ block
        sums.fourth += squares @ squares
