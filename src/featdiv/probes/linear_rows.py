"""The rows of a linear probe: several sources read as one, in tiles of torch tensors, as often as the solver asks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from featdiv.errors import InputError, NonFiniteError

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

_CHECK_ROWS = 8192


class Rows:
    """Rows of one source or of several, one after another, on one device.

    They stay in their own type: what is in memory is used where it lies, what is on disk is kept in memory if it fits
    the share of the budget that ``keep_bytes`` names, and is otherwise read again in every pass.

    Attributes:
        n: number of rows.
        d: number of features.
        device: where tiles come.
        held_bytes: what a reader may keep of them in a type of its own.
        passes: how often the rows were read since the count was last set to zero.
    """

    def __init__(
        self,
        sources: list[Embeddings],
        *,
        device: torch.device,
        keep_bytes: int,
        normalize: str | None,
        function: str,
        progress: Progress | None = None,
    ) -> None:
        self.d = sources[0].d
        self.device = device
        self.held_bytes = keep_bytes // 4
        self.passes = 0
        self._function = function
        self._normalize = normalize
        self._progress = progress
        self._sources = sources
        self._kept: list[torch.Tensor | None] = []
        for source in sources:
            fits = source.bytes is None or source.bytes <= keep_bytes
            on_disk = source.format != "array" or source.device != str(device)
            if source.one_pass and not fits:
                raise InputError(
                    f"{function}: {source.description} can be read only once, and a linear probe reads its rows many "
                    "times. Write it to a file first, for example with featdiv.convert"
                )
            kept = None
            if on_disk and fits:
                kept = torch.cat([_tensor(chunk.rows, copy=True).to(device) for chunk in source.chunks()])
                keep_bytes -= kept.nbytes
            self._kept.append(kept)
        self.counts = [
            len(kept) if kept is not None else int(source.n or 0)
            for kept, source in zip(self._kept, sources, strict=True)
        ]
        self.n = sum(self.counts)

    def joined(self, other: Rows) -> Rows:
        """Returns these rows and then those of another, without reading any again."""
        both = copy.copy(self)
        both._sources = self._sources + other._sources
        both._kept = self._kept + other._kept
        both.counts = self.counts + other.counts
        both.n = self.n + other.n
        both.passes = 0
        return both

    def tiles(self, rows: int, dtype: torch.dtype | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """Reads all rows: yields (start, rows) with at most ``rows`` rows each, as ``dtype`` or in their own type."""
        self.passes += 1
        offset = 0
        for kept, source, count in zip(self._kept, self._sources, self.counts, strict=True):
            if kept is not None:
                pieces: Iterator[tuple[int, Any]] = ((s, kept[s : s + rows]) for s in range(0, count, rows))
            else:
                pieces = ((chunk.start, _tensor(chunk.rows)) for chunk in source.chunks(rows))
            for start, piece in pieces:
                tile = piece.to(self.device) if dtype is None else piece.to(self.device, dtype)
                if self._normalize == "l2":
                    wide = tile.to(torch.float64)
                    tile = (wide / wide.norm(dim=1, keepdim=True)).to(tile.dtype if dtype is None else dtype)
                yield offset + start, tile
            offset += count
        if self._progress is not None:
            self._progress(self.passes * self.n, None)

    def finite_sum(self, what: str) -> torch.Tensor:
        """Returns the (d,) sum of the rows, float64, and checks them.

        Raises:
            NonFiniteError: if a row holds NaN or infinity, or has norm zero and is to be divided by it.
        """
        total = torch.zeros(self.d, dtype=torch.float64, device=self.device)
        for start, tile in self.tiles(_CHECK_ROWS, torch.float64):
            bad = ~torch.isfinite(tile)
            if bool(bad.any()):
                first = start + int(bad.any(1).nonzero()[0])
                zero = self._normalize == "l2"
                raise NonFiniteError(
                    f"{self._function}: {what}: expected finite rows; row {first} of them holds NaN or infinity"
                    + (", or has norm zero, which normalize='l2' cannot divide by" if zero else "")
                    + ". Leave such rows out first",
                    count=int(bad.sum()),
                    first_row=first,
                )
            total += tile.sum(0)
        return total

    def moments(self, what: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the (d,) mean and (d, d) centred second moment S / n, both float64, and checks the rows.

        Raises:
            NonFiniteError: if a row holds NaN or infinity.
            InputError: if sums of squares overflow float32, or one row has norm zero and is to be divided by it.
        """
        mean = self.finite_sum(what) / self.n
        scatter = torch.zeros(self.d, self.d, dtype=torch.float64, device=self.device)
        squares = torch.zeros_like(mean)
        for _, tile in self.tiles(_CHECK_ROWS, torch.float64):
            centred = tile - mean
            # Float32 products serve the preconditioner; the diagonal holds what standard deviations are made of.
            narrow = centred.to(torch.float32)
            scatter += (narrow.T @ narrow).to(torch.float64)
            squares += (centred * centred).sum(0)
        scatter.diagonal().copy_(squares)
        if not bool(torch.isfinite(scatter).all()):
            raise InputError(
                f"{self._function}: {what}: expected features whose sums of squares float32 can hold, up to about 1e17 "
                "from their mean. Divide all rows by one constant; C times its square then gives the same fit"
            )
        return mean, scatter / self.n


def _tensor(rows: Any, *, copy: bool = False) -> torch.Tensor:
    """Returns rows as a tensor; integers that torch lacks become float64."""
    if isinstance(rows, torch.Tensor):
        return rows.clone() if copy else rows
    array = np.asarray(rows)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float64)
    if copy or not array.flags.writeable or min(array.strides, default=0) < 0:
        # torch would warn of an array that it must not write to, and refuses negative strides.
        array = np.array(array)
    return torch.from_numpy(array)
