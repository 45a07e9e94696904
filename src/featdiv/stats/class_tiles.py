"""Rows less the pilot of their class, tile by tile, with the sums of every class beside them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.ops.class_scatter import centred_rows
from featdiv.ops.scatter import reference
from featdiv.stats.accumulate import Pilot
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor
    Index = npt.NDArray[np.int64] | slice

_TILE_BYTES = 1 << 24
_TILE_ROWS = (256, 8192)
_BLOCK_ROWS = 256
_PILOT_ROWS = 8
_PILOT_CLASSES = 256


def tile_rows(d: int) -> int:
    """Returns how many rows of z to multiply at once."""
    return int(np.clip(_TILE_BYTES // (4 * d), *_TILE_ROWS))


def unit_rows(z: Float64Array) -> Float64Array:
    """Divides rows by their Euclidean norms, in place.

    Raises:
        ZeroNormError: if a row is zero.
    """
    reference.check_norms(z)
    # Dividing by the largest entry first keeps the square of 1e200 out of infinity.
    z /= np.abs(z).max(axis=1)[:, None]
    z /= np.sqrt(np.einsum("ij,ij->i", z, z))[:, None]
    return z


def class_sums(z: Float64Array, codes: npt.NDArray[np.int64], c: int) -> Float64Array:
    """Returns the (c, d) sums of the rows with each code."""
    from scipy import sparse

    m = len(z)
    members = sparse.csc_array((np.ones(m), codes, np.arange(m + 1)), shape=(c, m))
    sums: Float64Array = members @ z
    return sums


def pilots_of(
    rows: Rows, inverse: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_], *, normalize: str | None
) -> Float64Array:
    """Returns a (d,) pilot for each class that is ``wanted``: the mean of its first rows, in float64.

    It is the first row plus the mean difference from it, so that the pilot of equal rows is just that row.

    Raises:
        ZeroNormError: with ``normalize="l2"``, if one of these rows is zero.
    """
    order = np.argsort(inverse, kind="stable")
    counts = np.bincount(inverse, minlength=len(wanted))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[(rank < _PILOT_ROWS) & wanted[inverse[order]]]
    codes = (np.cumsum(wanted) - 1)[inverse[chosen]]
    pilots = np.zeros((int(wanted.sum()), int(rows.shape[1])))
    edges = np.searchsorted(codes, np.arange(0, len(pilots) + _PILOT_CLASSES, _PILOT_CLASSES))
    with np.errstate(invalid="ignore", over="ignore"):
        for block, (start, stop) in enumerate(itertools.pairwise(edges.tolist())):
            x = reference.to_float64(rows[chosen[start:stop]])
            if normalize == "l2":
                unit_rows(x)
            code = codes[start:stop] - block * _PILOT_CLASSES
            places = np.searchsorted(code, np.arange(int(code[-1]) + 1))
            first = x[places]
            x -= first[code]
            mean = np.add.reduceat(x, places, axis=0) / np.bincount(code)[:, None]
            pilots[block * _PILOT_CLASSES : block * _PILOT_CLASSES + len(first)] = first + mean
    return pilots


@dataclasses.dataclass(kw_only=True)
class Centring:
    """How rows become z: normalised, less the pilot of their class, columns of extreme scale brought to one.

    Attributes:
        normalize: ``"l2"`` or None.
        exponent: (d,) int32 powers of two that multiply the columns of z, or None.
        dtype: type in which z is kept: float64 for that precision, else float32.
        backend: backend of the scatters, or ``"auto"``.
    """

    normalize: str | None
    exponent: npt.NDArray[np.int32] | None
    dtype: str
    backend: str = "auto"
    _buffer: Any = dataclasses.field(default=None, repr=False)

    @classmethod
    def for_rows(
        cls,
        rows: Rows,
        inverse: npt.NDArray[np.int64],
        pilots: Float64Array,
        *,
        normalize: str | None,
        precision: str,
        backend: str,
    ) -> Centring:
        """Returns the centring that suits these rows, judged by a few hundred of them."""
        m = int(rows.shape[0])
        step = max(1, -(-m // _BLOCK_ROWS))
        with np.errstate(invalid="ignore", over="ignore"):
            x = reference.to_float64(rows[::step])
            if normalize == "l2":
                unit_rows(x)
            x -= pilots[inverse[::step]]
        exponent = Pilot.of(x).exponent(None, precision=precision, uniform=False)
        dtype = "float64" if precision == "float64" else "float32"
        return cls(normalize=normalize, exponent=exponent, dtype=dtype, backend=backend)

    def tile(
        self, rows: Rows, index: Index, pilots: Float64Array, codes: npt.NDArray[np.int64], sums: Float64Array
    ) -> Rows:
        """Returns z of the rows at ``index``, valid until the next call; adds their class sums to ``sums``.

        On a device they come class by class.

        Args:
            rows: (m, d) chunk.
            index: which of them.
            pilots: (k, d) float64.
            codes: for each row at ``index``, its class as a row of ``pilots``.
            sums: (k, d) float64, changed in place.

        Raises:
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: with ``normalize="l2"``, if a row is zero.
        """
        if not (isinstance(rows, np.ndarray) or rows.device.type == "cpu"):
            return self._on_device(rows[index], pilots, codes, sums)
        out = self._room(len(codes), int(rows.shape[1]))
        order = np.argsort(codes, kind="stable")
        chosen = order + index.start if isinstance(index, slice) else index[order]
        try:
            done = centred_rows(
                rows,
                chosen,
                codes[order],
                order,
                pilots=pilots,
                sums=sums,
                out=out,
                exponent=self.exponent,
                normalize=self.normalize,
                backend=self.backend,
            )
        except FloatingPointError:
            _explain(rows[index])
        if not done:
            self._on_host(rows[index], pilots, codes, sums, out)
        return out

    def unscaled(self, columns: Float64Array) -> Float64Array:
        """Returns sums of z in the units of the rows."""
        return columns if self.exponent is None else np.ldexp(columns, -self.exponent)

    def scaled(self, columns: Float64Array) -> Float64Array:
        """Returns differences of rows in the units of z."""
        return columns if self.exponent is None else np.ldexp(columns, self.exponent)

    def unscaled_scatter(self, matrix: Float64Array) -> Float64Array:
        """Returns sums of z z^T in the units of the rows."""
        if self.exponent is None:
            return matrix
        with np.errstate(under="ignore"):
            scaled: Float64Array = np.ldexp(np.ldexp(matrix, -self.exponent), -self.exponent[:, None])
        return scaled

    def _room(self, m: int, d: int) -> npt.NDArray[Any]:
        if self._buffer is None or self._buffer.shape[0] < m:
            self._buffer = np.empty((m, d), dtype=self.dtype)
        room: npt.NDArray[Any] = self._buffer[:m]
        return room

    def _on_host(
        self,
        rows: Rows,
        pilots: Float64Array,
        codes: npt.NDArray[np.int64],
        sums: Float64Array,
        out: npt.NDArray[Any],
    ) -> None:
        # Blocks that stay in the cache while they are converted, shifted and summed in float64.
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            for start in range(0, len(codes), _BLOCK_ROWS):
                block = slice(start, start + _BLOCK_ROWS)
                z = reference.to_float64(rows[block])
                if self.normalize == "l2":
                    unit_rows(z)
                z -= pilots[codes[block]]
                if self.exponent is not None:
                    np.ldexp(z, self.exponent, out=z)
                unique, places = np.unique(codes[block], return_inverse=True)
                added = class_sums(z, places.reshape(-1), len(unique))
                if not np.isfinite(added).all():
                    _explain(rows)
                sums[unique] += added
                out[block] = z

    def _on_device(self, rows: Rows, pilots: Float64Array, codes: npt.NDArray[np.int64], sums: Float64Array) -> Rows:
        import torch

        assert isinstance(rows, torch.Tensor)

        def moved(array: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(rows.device)

        unique, places, lengths = np.unique(codes, return_inverse=True, return_counts=True)
        order = np.argsort(places.reshape(-1), kind="stable")
        z = rows.detach()[moved(order)].double()
        if self.normalize == "l2":
            largest = z.abs().amax(1, keepdim=True)
            if bool((largest == 0).any()):
                reference.check_norms(reference.to_float64(rows))
            z /= largest
            z /= z.square().sum(1, keepdim=True).sqrt_()
        z -= moved(pilots[unique])[moved(places.reshape(-1)[order])]
        if self.exponent is not None:
            z *= moved(np.ldexp(1.0, self.exponent))
        # One thread adds up one class and column: index_add_ would use atomics, whose order is not fixed.
        added = torch.segment_reduce(z, "sum", lengths=moved(lengths), axis=0).cpu().numpy()
        if not np.isfinite(added).all():
            _explain(rows)
        sums[unique] += added
        return z.to(torch.float64 if self.dtype == "float64" else torch.float32)


def _explain(rows: Rows) -> NoReturn:
    """Raises the reason why class sums of these rows are not finite."""
    reference.check_finite(reference.to_float64(rows))
    raise InputError(
        "ClassMoments: rows: expected values whose differences float64 can hold; theirs exceed its range. "
        "Multiply the rows by a constant that brings them near one."
    )
