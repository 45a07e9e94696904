"""Several sources as one: the files of a directory, a glob or a manifest, or a list of arrays."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.embeddings import SAMPLE_BLOCKS, Embeddings, blocks_per_part
from featdiv.io.files import WHERE
from featdiv.io.staged import Reader, Staged, consecutive
from featdiv.io.stream import Stream

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


class Shards(Staged):
    """Sources one after the other. One shard is open at a time, and a chunk may span several."""

    def __init__(self, parts: Sequence[Embeddings], *, description: str, path: str | None = None) -> None:
        first = parts[0]
        for part in parts[1:]:
            if (part.d, part.dtype, part.device) != (first.d, first.dtype, first.device):
                raise InputError(
                    f"{WHERE}: {description}: {_identity(part)} is n x {part.d} {part.dtype} on {part.device}, but "
                    f"{_identity(first)} is n x {first.d} {first.dtype} on {first.device}; all shards must agree. "
                    "featdiv.convert writes rows in another type"
                )
        counts = [cast(int, part.n) for part in parts]
        super().__init__(
            n=sum(counts),
            d=first.d,
            dtype=first.dtype,
            device=first.device,
            description=f"{description} ({len(parts)} {'shard' if len(parts) == 1 else 'shards'})",
            format=first.format,
            path=path,
        )
        self.parts = tuple(parts)
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.staged = all(isinstance(part, Staged) for part in parts)

    @property
    def shards(self) -> int:
        """Number of files or arrays."""
        return len(self.parts)

    @property
    def rows_of_shards(self) -> Sequence[tuple[str, int]]:
        """Those of the files, which have names, or of arrays by their number."""
        names = [part.path or f"shard {number}" for number, part in enumerate(self.parts)]
        return list(zip(names, np.diff(self.starts).tolist(), strict=True))

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Opens the shards as reading reaches them; see `Staged.reader`."""
        current = -1
        read_part: Reader | None = None
        with ExitStack() as stack:

            def read(start: int, out: npt.NDArray[Any]) -> None:
                nonlocal current, read_part
                done = 0
                while done < out.shape[0]:
                    part = int(np.searchsorted(self.starts, start + done, side="right")) - 1
                    if part != current or read_part is None:
                        stack.close()
                        read_part = stack.enter_context(cast(Staged, self.parts[part]).reader())
                        current = part
                    stop = min(out.shape[0], int(self.starts[part + 1]) - start)
                    read_part(start + done - int(self.starts[part]), out[done:stop])
                    done = stop

            yield read

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        if self.staged:
            yield from super()._blocks(rows)
        else:
            # Large arrays are handed out as views, batches of a few rows are gathered.
            blocks = (block for part in self.parts if part.n for _, block in part._blocks(rows))
            yield from Stream(blocks)._blocks(rows)

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        if self.staged and consecutive(index):
            return super()._gather(index)
        order = np.argsort(index, kind="stable")
        owner = np.searchsorted(self.starts, index[order], side="right") - 1
        out: Any = None
        bounds = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), order.size]
        for low, high in itertools.pairwise(bounds):
            if low == high:
                continue
            part = int(owner[low])
            rows = self.parts[part]._gather(index[order[low:high]] - self.starts[part])
            if out is None:
                out = _empty_like(rows, index.size)
            where: Any = order[low:high]
            if not isinstance(rows, np.ndarray):
                import torch

                where = torch.from_numpy(order[low:high]).to(rows.device)
            out[where] = rows
        return cast("Rows", self.parts[0]._gather(index) if out is None else out)

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str | None:
        digest = hashlib.blake2b(digest_size=16)
        for part in self.parts:
            digest.update(f"{part._digest(blocks_per_part(len(self.parts)))};".encode())
        return digest.hexdigest()

    def column_names(self) -> list[str]:
        """Names that every shard has."""
        shared = set(self.parts[0].column_names()).intersection(*(part.column_names() for part in self.parts[1:]))
        return [name for name in self.parts[0].column_names() if name in shared]

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """The column of all shards, in their order."""
        return np.concatenate([part.read_column(name) for part in self.parts])

    def close(self) -> None:
        """Closes every shard."""
        for part in self.parts:
            part.close()


def _identity(part: Embeddings) -> str:
    return part.path or part.description


def _empty_like(rows: Rows, count: int) -> Rows:
    if isinstance(rows, np.ndarray):
        return np.empty((count, rows.shape[1]), dtype=rows.dtype)
    return rows.new_empty((count, rows.shape[1]))
