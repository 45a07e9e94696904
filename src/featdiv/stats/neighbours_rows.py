"""The two sides of a neighbour search: rows as float32 vectors to search, and in float64 to decide near ties."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, RowError
from featdiv.io.caller import called_by
from featdiv.io.collected import collected
from featdiv.ops.scatter import reference
from featdiv.ops.topk import LARGEST
from featdiv.stats import budget

Float64Array = npt.NDArray[np.float64]

PILOT_ROWS = 1024
PLAIN_POWER = 30
"""Rows that reach from 2^-30 to 2^30 need no scale."""

_BLOCK_BYTES = 1 << 23


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Queries or gallery.

    Attributes:
        function: public name for messages.
        name: ``"gallery"`` or ``"queries"``.
        source: rows that can be read again, of known number.
        distance: ``"cosine"`` or ``"l2"``.
        shift: (d,) subtracted from all rows where distances are wanted, which it does not change; else None.
        scale: power of two that they are multiplied by then, so that float32 holds the squares of small distances and
            of large ones; nearness is in units of the rows so scaled.
        device: where the vectors are to be: ``"cpu"`` (NumPy) or a torch device.
    """

    function: str
    name: str
    source: io.Embeddings
    distance: str
    shift: Float64Array | None
    scale: float = 1.0
    device: str = "cpu"

    @property
    def n(self) -> int:
        """Number of rows."""
        assert self.source.n is not None
        return self.source.n

    def blocks(self, rows: int) -> Iterator[tuple[int, Any]]:
        """Yields (start, float32 vectors) of at most ``rows`` rows, in order."""
        for chunk in self.source.chunks(rows):
            yield chunk.start, self.vectors(chunk.rows, chunk.start)

    def shards(self, rows: int) -> Iterator[tuple[int, Any]]:
        """Yields (start, float32 vectors) of exactly ``rows`` rows, but for the last; reads each row once.

        Beside the shard, which a budget was asked for, little is held: the rows arrive in small blocks.
        """
        filled, start, held = 0, 0, self._empty(min(rows, self.n))
        for _, block in self.blocks(min(rows, max(1, _BLOCK_BYTES // (4 * self.source.d)))):
            taken = 0
            while taken < len(block):
                size = min(len(block) - taken, len(held) - filled)
                held[filled : filled + size] = block[taken : taken + size]
                taken, filled = taken + size, filled + size
                if filled == len(held):
                    yield start, held
                    start, filled = start + filled, 0
                    if start < self.n:
                        held = held[: min(rows, self.n - start)]

    def vectors(self, rows: Any, start: int) -> Any:
        """Returns rows as float32 vectors: of length one for cosines, moved by the shift and scaled for distances.

        Raises:
            NonFiniteError: if a row holds NaN or infinity.
            ZeroNormError: for cosines, if a row is zero.
        """
        if self.device != "cpu":
            return self._device_vectors(rows, start)
        if not isinstance(rows, np.ndarray):
            rows = rows.float().cpu().numpy()
        out = np.empty(rows.shape, dtype=np.float32)
        step = max(1, _BLOCK_BYTES // (8 * rows.shape[1]))
        for first in range(0, len(rows), step):
            out[first : first + step] = self._float64(rows[first : first + step], start + first)
        return out

    def exact(self, index: npt.NDArray[np.int64]) -> Float64Array:
        """Returns chosen rows in float64 on the host: of length one for cosines, scaled for distances."""
        rows = reference.transformed(self.source.take(index), normalize="l2" if self.distance == "cosine" else None)
        return rows if self.scale == 1.0 else rows * self.scale

    def _float64(self, rows: npt.NDArray[Any], start: int) -> Float64Array:
        wide = rows.astype(np.float64)
        squares = np.einsum("ij,ij->i", wide, wide)
        if not (np.isfinite(squares).all() and (self.distance == "l2" or (squares > 1e-200).all())):
            # Bad rows, or good ones whose squares leave the range of float64.
            with self._naming(start):
                wide = reference.transformed(rows, normalize="l2" if self.distance == "cosine" else None)
        elif self.distance == "cosine":
            wide /= np.sqrt(squares)[:, None]
        if self.shift is not None:
            wide -= self.shift
            wide *= self.scale
            self._check_range(float(np.abs(wide).max()))
        return wide

    def _device_vectors(self, rows: Any, start: int) -> Any:
        import torch

        wide = torch.as_tensor(rows).to(self.device).double()
        largest = wide.abs().amax(dim=1)
        if not bool(torch.isfinite(largest).all()) or (self.distance == "cosine" and not bool(largest.all())):
            with self._naming(start):
                reference.transformed(rows, normalize="l2" if self.distance == "cosine" else None)
        if self.distance == "cosine":
            wide = wide / largest[:, None]
            wide = wide / torch.linalg.vector_norm(wide, dim=1)[:, None]
        if self.shift is not None:
            wide = (wide - torch.from_numpy(self.shift).to(self.device)) * self.scale
            self._check_range(float(wide.abs().max()))
        return wide.float()

    def _empty(self, rows: int) -> Any:
        if self.device == "cpu":
            return np.empty((rows, self.source.d), dtype=np.float32)
        import torch

        return torch.empty((rows, self.source.d), dtype=torch.float32, device=self.device)

    @contextlib.contextmanager
    def _naming(self, start: int) -> Iterator[None]:
        """Makes errors about the rows of a block name function, argument and the row of the source."""
        try:
            yield
        except RowError as error:
            row = start + error.first_row
            message = str(error).replace(f"row {error.first_row}", self.source.place(row))
            message = f"{self.function}: {self.name}: {message}. Leave such rows out."
            raise type(error)(message, count=error.count, first_row=row) from None

    def _check_range(self, largest: float) -> None:
        if not largest <= LARGEST:
            raise InputError(
                f"{self.function}: {self.name}: expected entries up to {LARGEST / self.scale:.3g} from the mean, whose "
                f"squares float32 can hold beside those of other rows; got {largest / self.scale:.3g}. Leave such rows "
                "out."
            )


def opened(rows: Any, *, function: str, name: str, memory: int) -> io.Embeddings:
    """Opens a source that can be read again: one that is read only once is collected if it fits the memory.

    Raises:
        InputError: if a source that is read only once does not fit.
    """
    with called_by(function, source=name):
        source = io.open(rows)
    if not source.one_pass and source.n is not None:
        return source

    def check(size: int) -> None:
        if 2 * size > memory:
            raise InputError(
                f"{function}: {name}: expected rows that can be read again, or that fit half the memory budget of "
                f"{budget.size(memory)}; this source is read only once. featdiv.convert writes it to a file"
            )

    try:
        return collected(source, check=check)
    finally:
        if source is not rows:
            source.close()


def frame(source: io.Embeddings) -> tuple[Float64Array, float]:
    """Returns (the mean of strided rows, about which squared norms are small; the `Side.scale` of their spread)."""
    assert source.n is not None
    index = np.arange(0, source.n, max(1, source.n // PILOT_ROWS), dtype=np.int64)
    rows = np.nan_to_num(reference.to_float64(source.take(index)), nan=0.0, posinf=0.0, neginf=0.0)
    mean: Float64Array = rows.mean(axis=0)
    # Rounded to a power of two near the spread, so that counts and pixels, which lie on a grid, stay on one.
    spread = rows.std(axis=0)
    grid = np.ldexp(1.0, np.frexp(spread)[1] - 2)
    shift = np.where(spread > 0.0, np.round(mean / grid) * grid, mean)
    # By medians, since one far row makes a mean and a spread of its own, beside which all others would vanish.
    reach = np.abs(rows - np.median(rows, axis=0)).max(axis=1)
    power = int(np.frexp(np.median(reach[reach > 0.0]))[1]) if reach.any() else 0
    return shift, 1.0 if abs(power) <= PLAIN_POWER else math.ldexp(1.0, -power)


def shard_rows(n: int, d: int, *, taken: int, memory: int, function: str) -> int:
    """Returns how many gallery rows to hold at a time: all, where they fit beside what is taken already.

    Raises:
        BudgetExceeded: if not even a thousand fit.
    """
    left = memory - taken
    least = min(n, 1024)
    budget.require(
        taken + 4 * d * least,
        memory,
        function=function,
        what="the table of neighbours and a thousand rows",
        advice="Raise memory=, ask for fewer neighbours, or search a part of the queries at a time.",
    )
    return int(min(n, max(least, left // (4 * d))))
