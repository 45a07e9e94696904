"""Iterables of chunks: generators, DataLoaders, lists of batches. One pass, of unknown length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.arrays import ArrayRows, is_array, open_array
from featdiv.io.embeddings import SAMPLE_BLOCKS, Chunk, Embeddings
from featdiv.io.entries import Entry, choose

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

COALESCE = 2
"""Batches below 1/COALESCE of a chunk are gathered in a buffer: a chunk costs O(d^2), a copy only O(m d)."""


class _Piece(NamedTuple):
    rows: ArrayRows
    labels: npt.NDArray[Any] | None
    groups: npt.NDArray[Any] | None


class _Pieces:
    """The iterator and its first batch, held back so that d and dtype are known; copies share it."""

    def __init__(self, source: Iterable[Any], key: Any, columns: Mapping[str, str]) -> None:
        self.key = key
        self.columns = columns
        self.used = False
        self.mappings = False
        self.index = 0
        self.owner = source
        self.iterator = iter(source)
        first = self.next()
        while first is not None and first.rows.n == 0:
            first = self.next()
        if first is None:
            raise InputError(
                "featdiv.open: source: the iterable gave no rows; expected 2-D chunks (m, d). "
                "A generator that was read before is empty: make a new one"
            )
        self.first = first

    def next(self) -> _Piece | None:
        """Returns the next batch, read as (rows, labels, groups), or None at the end."""
        try:
            item = next(self.iterator)
        except StopIteration:
            return None
        where = f"featdiv.open: source: chunk {self.index}"
        self.index += 1
        return self._piece(item, where)

    def _piece(self, item: Any, where: str) -> _Piece:
        labels: Any = None
        groups: Any = None
        if isinstance(item, Mapping):
            self.mappings = True
            arrays = {name: value for name, value in item.items() if isinstance(name, str) and _shaped(value)}
            entries = [Entry(name, tuple(value.shape), _dtype_of(value)) for name, value in arrays.items()]
            name = choose(entries, self.key, where).name
            item, found = arrays[name], item
            labels = self._column(found, "labels", where)
            groups = self._column(found, "groups", where)
        elif self.key is not None:
            raise InputError(f"{where}: key: only chunks that are mappings have keys; leave key= out, got {self.key!r}")
        elif isinstance(item, (tuple, list)):
            if len(item) not in (1, 2) or not _shaped(item[0]):
                raise InputError(
                    f"{where}: expected a 2-D array, a pair (rows, labels), or a mapping; got a "
                    f"{type(item).__name__} of {len(item)}. Yield arrays, for example np.asarray(batch)"
                )
            item, labels = item if len(item) == 2 else (item[0], None)
        if not is_array(item):
            raise InputError(f"{where}: expected a 2-D array, a pair (rows, labels), or a mapping; got {_kind(item)}")
        rows = open_array(item, where)
        return _Piece(rows, _values(labels, rows.n, "labels", where), _values(groups, rows.n, "groups", where))

    def _column(self, item: Mapping[str, Any], what: str, where: str) -> Any:
        name = self.columns.get(what)
        if name is None:
            return None
        if name not in item:
            raise InputError(f"{where}: {what}: no entry {name!r}; it holds {', '.join(map(repr, item))}")
        return item[name]


def _shaped(value: Any) -> bool:
    return hasattr(value, "shape") and is_array(value)


def _dtype_of(value: Any) -> str:
    return str(getattr(value, "dtype", "object")).removeprefix("torch.")


def _kind(item: Any) -> str:
    if isinstance(item, (int, float, complex)):
        return f"the number {item!r}; wrap a list of numbers in np.asarray(x), of shape (n, d)"
    return f"{type(item).__name__}"


def _values(values: Any, m: int, what: str, where: str) -> npt.NDArray[Any] | None:
    if values is None:
        return None
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.shape != (m,):
        raise InputError(f"{where}: {what}: expected shape ({m},), one for each row; got shape {array.shape}")
    return array


class Stream(Embeddings):
    """Rows of an iterable, in one pass. Batches much smaller than a chunk are gathered into one buffer."""

    one_pass = True

    def __init__(self, source: Iterable[Any], key: Any = None, columns: Mapping[str, str] | None = None) -> None:
        pieces = _Pieces(source, key, columns or {})
        first = pieces.first.rows
        super().__init__(
            n=None,
            d=first.d,
            dtype=first.dtype,
            device=first.device,
            description=f"iterable ({type(source).__name__}) of chunks x {first.d} {first.dtype}",
            format="iterable",
        )
        self._pieces = pieces

    @property
    def mappings(self) -> bool:
        """True where the chunks are mappings, whose entries labels= and groups= name."""
        return self._pieces.mappings

    def chunks(self, rows: int | None = None) -> Iterator[Chunk]:
        """As `Embeddings.chunks`, once."""
        rows = self.chunk_rows(rows)
        if self._pieces.used:
            raise InputError(
                "featdiv.Embeddings.chunks: this source is an iterable and was read already; open a new "
                "iterable, or write it to a file with featdiv.convert to read it more than once"
            )
        self._pieces.used = True
        return self._read(rows)

    def _read(self, rows: int) -> Iterator[Chunk]:
        start = 0
        for block, labels, groups in self._merged(rows):
            stop = start + int(block.shape[0])
            yield Chunk(
                start,
                block,
                self._slice(self.labels, start, stop, "labels", labels),
                self._slice(self.groups, start, stop, "groups", groups),
            )
            start = stop
        for what, values in (("labels", self.labels), ("ids", self.ids), ("groups", self.groups)):
            if values is not None and values.size != start:
                raise _wrong_length(what, start, values.size)

    def _slice(
        self,
        values: npt.NDArray[Any] | None,
        start: int,
        stop: int,
        what: str,
        carried: npt.NDArray[Any] | None,
    ) -> npt.NDArray[Any] | None:
        if values is None:
            return carried
        if stop > values.size:
            raise _wrong_length(what, f"at least {stop}", values.size)
        if carried is not None and not np.array_equal(carried, values[start:stop]):
            raise InputError(
                f"featdiv.open: {what}: the chunks of the iterable carry other {what} already (rows {start} to "
                f"{stop}); give them once"
            )
        return values[start:stop]

    def _merged(self, rows: int) -> Iterator[tuple[Rows, npt.NDArray[Any] | None, npt.NDArray[Any] | None]]:
        gathered = _Gathered(rows, self)
        for piece in self._checked():
            size = piece.rows.n
            if gathered.filled and (gathered.filled + size > rows or gathered.has_labels != _has(piece)):
                yield gathered.flush()
            if size * COALESCE <= rows:
                gathered.add(piece)
                continue
            if gathered.filled:
                yield gathered.flush()
            for low, block in piece.rows._blocks(min(rows, size)):
                high = low + int(block.shape[0])
                yield (
                    block,
                    None if piece.labels is None else piece.labels[low:high],
                    None if piece.groups is None else piece.groups[low:high],
                )
        if gathered.filled:
            yield gathered.flush()

    def _checked(self) -> Iterator[_Piece]:
        piece: _Piece | None = self._pieces.first
        while piece is not None:
            rows = piece.rows
            got = (rows.d, rows.dtype, rows.device)
            if got != (self.d, self.dtype, self.device):
                raise InputError(
                    f"featdiv.open: source: chunk {self._pieces.index - 1} has {rows.d} features of {rows.dtype} on "
                    f"{rows.device}, but the first chunk has {self.d} features of {self.dtype} on {self.device}; all "
                    "chunks must agree"
                )
            if rows.n:
                yield piece
            piece = self._pieces.next()

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        for chunk in self.chunks(rows):
            yield chunk.start, chunk.rows

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        raise InputError("featdiv.Embeddings.take: a one-pass source has no random access")

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> None:
        return None


def _has(piece: _Piece) -> tuple[bool, bool]:
    return piece.labels is not None, piece.groups is not None


def _wrong_length(what: str, expected: int | str, got: int) -> InputError:
    return InputError(
        f"featdiv.open: {what}: expected {expected} entries, one for each row; got {got}. "
        "The iterable gave another number of rows"
    )


class _Gathered:
    """A buffer in which small batches become one chunk; grows to ``rows`` only as batches come."""

    def __init__(self, rows: int, source: Embeddings) -> None:
        self.rows = rows
        self.source = source
        self.buffer: Any = None
        self.filled = 0
        self.labels: list[npt.NDArray[Any]] = []
        self.groups: list[npt.NDArray[Any]] = []
        self.has_labels = (False, False)

    def add(self, piece: _Piece) -> None:
        """Appends a batch that fits."""
        block = piece.rows._native(piece.rows.rows)
        stop = self.filled + piece.rows.n
        if self.buffer is None or stop > self.buffer.shape[0]:
            self._grow(stop, block)
        self.buffer[self.filled : stop] = block
        self.filled = stop
        self.has_labels = _has(piece)
        if piece.labels is not None:
            self.labels.append(piece.labels)
        if piece.groups is not None:
            self.groups.append(piece.groups)

    def _grow(self, needed: int, like: Rows) -> None:
        size = min(self.rows, max(needed, 2 * (0 if self.buffer is None else self.buffer.shape[0])))
        if isinstance(like, np.ndarray):
            grown: Any = np.empty((size, self.source.d), dtype=like.dtype)
        else:
            grown = like.new_empty((size, self.source.d))
        if self.filled:
            grown[: self.filled] = self.buffer[: self.filled]
        self.buffer = grown

    def flush(self) -> tuple[Rows, npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
        """Returns what was gathered and starts anew in the same buffer."""
        rows = self.buffer[: self.filled]
        labels = np.concatenate(self.labels) if self.has_labels[0] else None
        groups = np.concatenate(self.groups) if self.has_labels[1] else None
        self.filled, self.labels, self.groups = 0, [], []
        return rows, labels, groups
