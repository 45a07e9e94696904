"""`Embeddings`: what every source of rows looks like, and `Chunk`: a few of its rows."""

from __future__ import annotations

import abc
import copy
import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.dtypes import ITEMSIZE

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

CHUNK_BYTES = 64 << 20
"""Size of a chunk where the caller names none: it hides the cost of a call, and memory stays flat."""

SAMPLE_BLOCKS = 32
SAMPLE_BLOCK_BYTES = 4096
SAMPLED_OF_SHARDS = 256


class Chunk(NamedTuple):
    """Consecutive rows of a source.

    Attributes:
        start: index in the source of its first row.
        rows: (m, d). Valid only until the next chunk is asked for, because the buffer is reused.
        labels: (m,) labels of these rows, or None where the source has none.
        groups: (m,) groups of these rows, or None where the source has none.
    """

    start: int
    rows: Rows
    labels: npt.NDArray[Any] | None
    groups: npt.NDArray[Any] | None


class Embeddings(abc.ABC):
    """Rows that can be read in chunks, wherever they are: an array, a file, shards or an iterable.

    `featdiv.open` makes them. CPU rows are NumPy arrays, except bfloat16, which NumPy lacks (a torch CPU
    tensor); rows on a GPU are torch tensors on that device. Arrays in memory are handed out as views, never
    copied.

    Attributes:
        n: number of rows, or None for an iterable of unknown length.
        d: number of features.
        dtype: element type: ``"float32"``, ``"bfloat16"``, ``"int8"``, ... (bool is read as ``"uint8"``).
        device: where the rows are: ``"cpu"``, ``"cuda:0"``, ...
        labels: (n,) labels, or None.
        ids: (n,) ids, or None.
        groups: (n,) groups, or None.
        one_pass: True if `chunks` can be called only once.
        description: what the source is, in words, for a result's provenance.
        format: kind of the source: ``"array"``, ``"npy"``, ``"safetensors"``, ..., ``"iterable"``.
        path: path of the file or directory, or None.
        extraction: what `featdiv.extract` made the rows with, or None.

    Example:
        >>> import numpy as np, featdiv
        >>> source = featdiv.open(np.arange(12.0).reshape(6, 2), labels=[0, 0, 0, 1, 1, 1])
        >>> source.n, source.d, source.dtype
        (6, 2, 'float64')
        >>> [(chunk.start, chunk.rows.shape, chunk.labels.tolist()) for chunk in source.chunks(4)]
        [(0, (4, 2), [0, 0, 0, 1]), (4, (2, 2), [1, 1])]
    """

    one_pass: bool = False

    def __init__(
        self,
        *,
        n: int | None,
        d: int,
        dtype: str,
        device: str = "cpu",
        description: str,
        format: str,
        path: str | None = None,
    ) -> None:
        self.n = n
        self.d = d
        self.dtype = dtype
        self.device = device
        self.description = description
        self.format = format
        self.path = path
        self.labels: npt.NDArray[Any] | None = None
        self.ids: npt.NDArray[Any] | None = None
        self.groups: npt.NDArray[Any] | None = None
        self.default_rows: int | None = None
        self.extraction: Mapping[str, Any] | None = None
        self._fingerprint: str | None = None

    @abc.abstractmethod
    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        """Yields (start, rows) with at most ``rows`` rows each, in order, none empty."""

    @abc.abstractmethod
    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        """Returns the rows at ``index``, which is valid, in the order given, as a new array."""

    @abc.abstractmethod
    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str | None:
        """Returns the hex digest of shape, type and sampled content; None for what is read only once."""

    @property
    def bytes(self) -> int | None:
        """Bytes of the rows in their own type (not of the file), or None where ``n`` is unknown."""
        return None if self.n is None else self.n * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.d * ITEMSIZE[self.dtype]

    @property
    def shards(self) -> int:
        """Number of files or arrays that the source is made of."""
        return 1

    @property
    def rows_of_shards(self) -> Sequence[tuple[str, int]]:
        """Name and number of rows of each file or array, in their order; nothing where there is one."""
        return ()

    def place(self, row: int) -> str:
        """Returns a row in the words of a message: ``"row 1007, row 7 of part1.npy"`` where there are several files."""
        start = 0
        for name, count in self.rows_of_shards:
            if row < start + count:
                return f"row {row}, row {row - start} of {name}"
            start += count
        return f"row {row}"

    @property
    def fingerprint(self) -> str | None:
        """``"sampled-blake2b:<hex>"`` of shape, type and blocks of the content; None for a one-pass source.

        It is cheap at any size: blocks of rows, evenly spaced, are read, not the whole. It does not cover
        labels.
        """
        if self._fingerprint is None:
            digest = self._digest()
            self._fingerprint = None if digest is None else f"sampled-blake2b:{digest}"
        return self._fingerprint

    def chunk_rows(self, rows: int | None = None) -> int:
        """Returns the rows of a full chunk: ``rows``, else what `open` was told, else what fills 64 MiB."""
        if rows is None:
            rows = self.default_rows
        if rows is None:
            rows = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        else:
            rows = positive(rows, "featdiv.Embeddings.chunks: rows")
        return rows if self.n is None else max(1, min(rows, self.n))

    def chunks(self, rows: int | None = None) -> Iterator[Chunk]:
        """Reads the source from its beginning, chunk by chunk.

        Args:
            rows: rows per chunk at most. Default: so many that a chunk has about 64 MiB.

        Returns:
            An iterator of `Chunk`. What a chunk holds is valid only until the next one is asked for.

        Raises:
            InputError: if ``rows`` is not a positive integer, or a one-pass source is read again.
            FormatError: while reading, if a file turns out not to hold what its header says.
        """
        return self._annotated(self._blocks(self.chunk_rows(rows)))

    def _annotated(self, blocks: Iterator[tuple[int, Rows]]) -> Iterator[Chunk]:
        for start, block in blocks:
            stop = start + int(block.shape[0])
            yield Chunk(
                start,
                block,
                None if self.labels is None else self.labels[start:stop],
                None if self.groups is None else self.groups[start:stop],
            )

    def mapped(self) -> npt.NDArray[Any] | None:
        """Returns all rows as a read-only memory map, where a local file holds them one after the other as they are.

        None where they have to be read, converted or fetched.
        """
        return None

    def take(self, rows: npt.ArrayLike) -> Rows:
        """Returns chosen rows, in the order given, as a new array on the source's device.

        Args:
            rows: indices from 0 to n - 1, in any order, repeats allowed; or a boolean mask of length n. They
                are sorted for reading, so that a file is passed once, forwards.

        Raises:
            InputError: if an index is out of range, or the source can be read only once.
        """
        where = "featdiv.Embeddings.take: rows"
        if self.one_pass or self.n is None:
            raise InputError(f"{where}: a one-pass source has no random access; write it to a file first")
        index = np.asarray(rows)
        if index.dtype.kind == "b":
            if index.shape != (self.n,):
                raise InputError(f"{where}: expected a mask of shape ({self.n},); got shape {index.shape}")
            return self._gather(np.flatnonzero(index).astype(np.int64))
        if index.size == 0:
            index = index.astype(np.int64)
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise InputError(f"{where}: expected a 1-D array of integers; got {index.ndim}-D {index.dtype.name}")
        if index.size and not (int(index.min()) >= 0 and int(index.max()) < self.n):
            worst = int(index.min()) if int(index.min()) < 0 else int(index.max())
            raise InputError(f"{where}: expected indices from 0 to {self.n - 1}; got {worst}")
        return self._gather(index.astype(np.int64))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Returns all rows as one NumPy array in memory: ``np.asarray(source)``; bfloat16 becomes float32.

        Raises:
            InputError: if the source can be read only once, or a view is asked for (``copy=False``).
        """
        if self.one_pass or self.n is None:
            raise InputError(
                "featdiv.Embeddings: a one-pass source is no array; gather its chunks, or write it to a file"
            )
        if copy is False:
            raise InputError("featdiv.Embeddings: rows are read into a new array; copy=False cannot be had")
        rows = self.take(np.arange(self.n))
        if not isinstance(rows, np.ndarray):
            host = rows.cpu()
            rows = (host.float() if self.dtype == "bfloat16" else host).numpy()
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def column_names(self) -> list[str]:
        """Returns the names of the columns or entries that labels=, ids= and groups= may name."""
        return []

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """Returns one of `column_names` whole."""
        raise KeyError(name)

    def summary(self) -> dict[str, Any]:
        """Returns what the source is, as plain JSON-safe values: shape, type, size, labels, fingerprint."""
        return {
            "path": self.path,
            "format": self.format,
            "description": self.description,
            "n": self.n,
            "d": self.d,
            "dtype": self.dtype,
            "device": self.device,
            "bytes": self.bytes,
            "shards": self.shards,
            "one_pass": self.one_pass,
            "labels": _describe_annotation(self.labels),
            "ids": _describe_annotation(self.ids),
            "groups": _describe_annotation(self.groups),
            "fingerprint": self.fingerprint,
        }

    def replaced(self, **attributes: Any) -> Self:
        """Returns a copy that shares the rows and has other attributes (labels, ids, groups, ...)."""
        twin = copy.copy(self)
        for name, value in attributes.items():
            setattr(twin, name, value)
        return twin

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Releases what the source holds open. Files are opened for each reading, so most hold nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        rows = "unknown" if self.n is None else self.n
        return f"<Embeddings {rows} x {self.d} {self.dtype} from {self.description}>"


def positive(value: Any, where: str) -> int:
    """Returns ``value`` as a positive int, or raises InputError that begins with ``where``."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 1:
        raise InputError(f"{where}: expected a positive integer, got {value!r}")
    return number


def sample_blocks(n: int, row_bytes: int, blocks: int = SAMPLE_BLOCKS) -> list[tuple[int, int]]:
    """Returns the (start, stop) blocks of rows, two or more, that a fingerprint covers: even, with both ends."""
    size = max(1, SAMPLE_BLOCK_BYTES // max(1, row_bytes))
    if n <= size * blocks:
        return [(start, min(start + size, n)) for start in range(0, n, size)]
    starts = [index * (n - size) // (blocks - 1) for index in range(blocks)]
    return [(start, start + size) for start in starts]


def blocks_per_part(parts: int) -> int:
    """Returns the blocks to sample in each of ``parts`` shards: fewer where there are many, to stay cheap."""
    return max(2, min(SAMPLE_BLOCKS, SAMPLED_OF_SHARDS // parts))


def start_digest(n: int, d: int, dtype: str) -> hashlib.blake2b:
    """Returns a hash that has taken shape and type, ready for content."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{n} {d} {dtype};".encode())
    return digest


def _describe_annotation(values: npt.NDArray[Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {"dtype": values.dtype.name, "distinct": int(np.unique(values).size)}
