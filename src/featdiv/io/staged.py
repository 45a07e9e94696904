"""Sources that fill a buffer: `Staged`, and `Flat` for rows that lie as plain bytes in a file.

Reading into one reused buffer through an unbuffered file is as fast from a cold disk as the disk, and keeps
the resident memory at the size of the buffer; a memory map of the whole file is slower when cold and looks
like a leak.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError
from featdiv.io.dtypes import as_rows, storage
from featdiv.io.embeddings import CHUNK_BYTES, SAMPLE_BLOCKS, Embeddings, sample_blocks, start_digest
from featdiv.io.files import WHERE, File, read_exactly

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Reader = Callable[[int, npt.NDArray[Any]], None]
"""``read(start, out)`` fills ``out`` (m, d), C-ordered, with rows start to start + m as stored bits."""

GAP_BYTES = 16 << 10
"""Rows closer than this are gathered with one read: skipping costs more than reading a few pages too many."""


class Staged(Embeddings):
    """A source on the CPU that reads into a buffer which the caller owns. ``n`` is known."""

    n: int

    @abc.abstractmethod
    def reader(self) -> AbstractContextManager[Reader]:
        """Opens the source for a run of reads; forward reads are the fast ones."""

    def aligned(self, rows: int) -> int:
        """Returns a chunk size near ``rows``, not above it, that suits the layout of the file."""
        return rows

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        rows = self.aligned(rows)
        buffer = np.empty((rows, self.d), dtype=storage(self.dtype))
        with self.reader() as read:
            for start in range(0, self.n, rows):
                block = buffer[: min(rows, self.n - start)]
                read(start, block)
                yield start, as_rows(block, self.dtype)

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        out = np.empty((index.size, self.d), dtype=storage(self.dtype))
        longest = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        if consecutive(index):
            with self.reader() as read:
                for low in range(0, index.size, longest):
                    read(int(index[low]), out[low : low + longest])
            return as_rows(out, self.dtype)
        order = np.argsort(index, kind="stable")
        gap = max(1, GAP_BYTES // max(1, self.row_bytes))
        with self.reader() as read:
            for low, high in _runs(index[order], gap, longest):
                first, last = int(index[order[low]]), int(index[order[high - 1]])
                block = np.empty((last - first + 1, self.d), dtype=out.dtype)
                read(first, block)
                out[order[low:high]] = block[index[order[low:high]] - first]
        return as_rows(out, self.dtype)

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str | None:
        digest = start_digest(self.n, self.d, self.dtype)
        with self.reader() as read:
            for start, stop in sample_blocks(self.n, self.row_bytes, blocks):
                block = np.empty((stop - start, self.d), dtype=storage(self.dtype))
                read(start, block)
                digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


def consecutive(index: npt.NDArray[np.int64]) -> bool:
    """Whether rows follow one another, all of a source perhaps: they are read to where they belong, without a copy."""
    return bool((np.diff(index) == 1).all())


def _runs(ordered: npt.NDArray[np.int64], gap: int, longest: int) -> Iterator[tuple[int, int]]:
    """Splits sorted indices into (low, high) runs without large gaps, spanning at most ``longest`` rows."""
    breaks = np.flatnonzero(np.diff(ordered) > gap) + 1
    for low, high in zip([0, *breaks.tolist()], [*breaks.tolist(), ordered.size], strict=True):
        while low < high:
            stop = min(high, int(np.searchsorted(ordered, ordered[low] + longest)))
            yield low, stop
            low = stop


class Flat(Staged):
    """Rows that lie as plain bytes in a file: one after the other, perhaps with a few bytes before each.

    Args:
        file: the file.
        offset: bytes before the first row.
        n: number of rows.
        d: number of features.
        dtype: element type by its featdiv name; see `featdiv.io.dtypes`.
        stored: dtype as in the file, of either byte order (int16 for bfloat16). Default: that of ``dtype``, native.
        prefix: for formats that repeat ``d`` before each row: the expected bytes there (fvecs).
        fortran: True where the file holds the columns one after the other.
        format: kind of the file, for example ``"npy"``.
        entry: name of the array within the file, for the description; None where the file holds just one.
    """

    def __init__(
        self,
        file: File,
        *,
        offset: int,
        n: int,
        d: int,
        dtype: str,
        stored: np.dtype[Any] | None = None,
        prefix: bytes = b"",
        fortran: bool = False,
        format: str,
        entry: str | None = None,
    ) -> None:
        name = file.name if entry is None else f"{file.name}[{entry}]"
        super().__init__(n=n, d=d, dtype=dtype, description=name, format=format, path=file.name)
        self.file = file
        self.offset = offset
        self.stored = storage(dtype) if stored is None else stored
        self.prefix = prefix
        self.fortran = fortran

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        if not self.prefix:
            yield from super()._blocks(rows)
            return
        # The lengths before the rows stay in the buffer; the rows are handed out as a strided view of it.
        stride = len(self.prefix) + self.row_bytes
        raw = np.empty((rows, stride), dtype=np.uint8)
        with self.file.open(exact=True) as handle:
            for start in range(0, self.n, rows):
                block = raw[: min(rows, self.n - start)]
                handle.seek(self.offset + start * stride)
                read_exactly(handle, block, self.file.name)
                yield start, self._without_prefix(block, start)

    def _without_prefix(self, raw: npt.NDArray[np.uint8], start: int) -> npt.NDArray[Any]:
        size = len(self.prefix)
        wrong = (raw[:, :size] != np.frombuffer(self.prefix, np.uint8)).any(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            found = int(raw[row, :size].copy().view("<i4")[0])
            raise FormatError(
                f"{WHERE}: {self.file.name}: row {start + row} says it has {found} values, but the first row has "
                f"{self.d}; every row must have the same length, or the file is not what its name says"
            )
        rows = raw[:, size:].view(self.stored)
        return rows if self.stored.isnative else rows.astype(self.stored.newbyteorder("="))

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Opens the file; see `Staged.reader`."""
        if self.fortran:
            yield self._read_columns
            return
        with self.file.open(exact=True) as handle:

            def read(start: int, out: npt.NDArray[Any]) -> None:
                if self.prefix:
                    stride = len(self.prefix) + self.row_bytes
                    raw = np.empty((out.shape[0], stride), dtype=np.uint8)
                    handle.seek(self.offset + start * stride)
                    read_exactly(handle, raw, self.file.name)
                    out[:] = self._without_prefix(raw, start)
                    return
                handle.seek(self.offset + start * self.row_bytes)
                read_exactly(handle, out, self.file.name)
                if not self.stored.isnative:
                    out.byteswap(inplace=True)

            yield read

    def _read_columns(self, start: int, out: npt.NDArray[Any]) -> None:
        local = self.file.local()
        if local is not None:
            out[:] = self._map(local, (self.d, self.n))[:, start : start + out.shape[0]].T
            return
        size = self.stored.itemsize
        column = np.empty(out.shape[0], dtype=self.stored)
        with self.file.open(exact=True) as handle:
            for j in range(self.d):
                handle.seek(self.offset + (j * self.n + start) * size)
                read_exactly(handle, column, self.file.name)
                out[:, j] = column

    def mapped(self) -> npt.NDArray[Any] | None:
        """Returns the rows of a local file as they are; see `Embeddings.mapped`."""
        local = self.file.local()
        if local is None or self.prefix or self.fortran or not self.n:
            return None
        if not self.stored.isnative or self.stored.name != self.dtype:
            return None
        return self._map(local, (self.n, self.d))

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        local = self.file.local()
        if local is None or self.prefix or self.fortran or consecutive(index):
            return super()._gather(index)
        mapped = self._map(local, (self.n, self.d))
        out = np.empty((index.size, self.d), dtype=storage(self.dtype))
        order = np.argsort(index, kind="stable")
        step = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        for low in range(0, index.size, step):
            part = order[low : low + step]
            out[part] = mapped[index[part]]
        return as_rows(out, self.dtype)

    def _map(self, path: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Returns the file's rows, or columns, as a memory map.

        Raises:
            FormatError: if the file is gone, or shorter than when it was opened.
        """
        try:
            return np.memmap(path, self.stored, "r", self.offset, shape)
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{WHERE}: {self.file.name}: it was changed since it was opened ({error}); open it again"
            ) from None
