"""Arrow files and tables behind one small interface: schema, rows per group, batches of a group."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from featdiv._optional import require
from featdiv.errors import FeatdivError, FormatError
from featdiv.io.files import WHERE, File, read_head


def pyarrow() -> Any:
    """Returns the pyarrow module."""
    return require("pyarrow", extra="arrow", needed_by="reading parquet and Arrow data")


@contextmanager
def arrow_errors(where: str) -> Iterator[None]:
    """Turns what Arrow raises for bad data into FormatError."""
    pa = pyarrow()
    try:
        yield
    except FeatdivError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{where}: Arrow cannot read it ({reason}); it is truncated or damaged") from None


class Handle(abc.ABC):
    """An open file or table.

    Attributes:
        name: for messages.
        schema: the Arrow schema.
    """

    name: str
    schema: Any

    @abc.abstractmethod
    def counts(self) -> list[int]:
        """Rows of each group (row group, record batch)."""

    @abc.abstractmethod
    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Yields record batches of these columns, in this order, of at most ``rows`` rows."""

    def close(self) -> None:  # noqa: B027 - a table has nothing to close
        """Closes the file."""


class Opener(NamedTuple):
    """How to open a file or table, and what to call it."""

    name: str
    make: Callable[[], Handle]
    file: File | None

    def __call__(self) -> Handle:
        """Opens it."""
        return self.make()


class ParquetHandle(Handle):
    """A parquet file; only the pages that are asked for are read."""

    def __init__(self, file: File) -> None:
        parquet = require("pyarrow.parquet", extra="arrow", needed_by="reading parquet files")
        self.name = file.name
        local = file.local()
        self._raw = None if local is not None else file.open()
        with arrow_errors(f"{WHERE}: {self.name}"):
            try:
                # Unbuffered and without pre-buffering, a row group is decoded page by page, however large it
                # is.
                self._file = parquet.ParquetFile(
                    local if self._raw is None else self._raw, pre_buffer=False, buffer_size=1 << 20
                )
                self.schema = self._file.schema_arrow
            except BaseException:
                self._close_raw()
                raise

    def counts(self) -> list[int]:
        """Rows of each row group."""
        metadata = self._file.metadata
        return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Decodes one row group, a few rows at a time."""
        with arrow_errors(f"{WHERE}: {self.name}"):
            found = self._file.iter_batches(
                batch_size=rows, row_groups=[group], columns=list(columns), use_threads=False
            )
            while (batch := next(found, None)) is not None:
                yield batch.select(list(columns))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._close_raw()

    def _close_raw(self) -> None:
        if self._raw is not None:
            self._raw.close()


class IpcHandle(Handle):
    """An Arrow IPC file (feather) or stream (as Hugging Face datasets write), mapped where it is local."""

    def __init__(self, file: File) -> None:
        pa = pyarrow()
        self.name = file.name
        local = file.local()
        magic = read_head(file, 6)
        if magic[:4] == b"FEA1":
            raise FormatError(f"{WHERE}: {self.name}: Feather version 1 is not supported; write version 2")
        self._random = magic == b"ARROW1"
        if not self._random and read_head(file, 8, max(0, file.size() - 8))[-4:] != bytes(4):
            # Arrow itself takes a stream that was cut between two batches for a shorter one.
            raise FormatError(
                f"{WHERE}: {self.name}: it has no end-of-stream marker; it is truncated, or not an Arrow file"
            )
        with arrow_errors(f"{WHERE}: {self.name}"):
            self._source = pa.memory_map(local) if local is not None else pa.PythonFile(file.open(), mode="r")
            try:
                self._restart()
                self.schema = self._reader.schema
            except BaseException:
                self._source.close()
                raise

    def _restart(self) -> None:
        ipc = pyarrow().ipc
        self._source.seek(0)
        self._reader = ipc.open_file(self._source) if self._random else ipc.open_stream(self._source)
        self._next = 0

    def _batch(self, group: int) -> Any:
        if self._random:
            return self._reader.get_batch(group)
        if group < self._next:
            self._restart()
        while True:
            batch = next(self._reader, None)
            if batch is None:
                raise FormatError(f"{WHERE}: {self.name}: it has fewer batches than when it was opened")
            self._next += 1
            if self._next > group:
                return batch

    def counts(self) -> list[int]:
        """Rows of each record batch."""
        with arrow_errors(f"{WHERE}: {self.name}"):
            if self._random:
                return [self._reader.get_batch(index).num_rows for index in range(self._reader.num_record_batches)]
            counts = [batch.num_rows for batch in self._reader]
            self._next = len(counts)
            return counts

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Slices one record batch."""
        with arrow_errors(f"{WHERE}: {self.name}"):
            batch = self._batch(group).select(list(columns))
            batch.validate()
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def close(self) -> None:
        """Closes the file."""
        self._source.close()


class TableHandle(Handle):
    """A table in memory."""

    def __init__(self, table: Any, name: str) -> None:
        self.name = name
        self.schema = table.schema
        self._batches = table.to_batches()

    def counts(self) -> list[int]:
        """Rows of each batch."""
        return [batch.num_rows for batch in self._batches]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
        """Slices one batch."""
        batch = self._batches[group].select(list(columns))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def file_opener(file: File) -> Opener:
    """Returns the opener of a file, by its extension."""
    kind = ParquetHandle if file.suffix == ".parquet" else IpcHandle
    return Opener(file.name, lambda: kind(file), file)
