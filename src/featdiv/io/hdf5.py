"""HDF5 files (``.h5``), read into the caller's buffer; and h5py or zarr arrays that are open already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv._optional import require
from featdiv.errors import FormatError, InputError
from featdiv.io.dtypes import numpy_name
from featdiv.io.entries import Entry, check_shape, choose
from featdiv.io.files import WHERE, File
from featdiv.io.staged import Reader, Staged


class Sliceable(Staged):
    """An array on disk that something else has open, and that gives rows as ``array[start:stop]``."""

    def __init__(self, array: Any, *, n: int, d: int, dtype: str, description: str, format: str) -> None:
        super().__init__(n=n, d=d, dtype=dtype, description=description, format=format)
        self.array = array

    def aligned(self, rows: int) -> int:
        """Whole storage chunks, so that none is decompressed twice."""
        return whole_chunks(rows, getattr(self.array, "chunks", None))

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Reads slices; see `Staged.reader`."""
        yield lambda start, out: _read_slice(self.array, start, out, self.description)


def whole_chunks(rows: int, chunks: Any) -> int:
    """Returns ``rows`` rounded down to whole storage chunks, where at least one fits."""
    height = int(chunks[0]) if chunks else 1
    return rows - rows % height if rows >= height > 0 else rows


def _read_slice(array: Any, start: int, out: npt.NDArray[Any], name: str) -> None:
    stop = start + out.shape[0]
    try:
        if hasattr(array, "read_direct"):
            array.read_direct(out, np.s_[start:stop], np.s_[0 : out.shape[0]])
        else:
            out[:] = np.asarray(array[start:stop])
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{WHERE}: {name}: rows {start} to {stop} cannot be read: {error}") from error


def open_sliceable(array: Any) -> Sliceable:
    """Wraps an open h5py dataset or zarr array."""
    kind = type(array).__module__.partition(".")[0]
    n, d = check_shape(array.shape, WHERE)
    dtype = numpy_name(np.dtype(array.dtype), WHERE)
    return Sliceable(array, n=n, d=d, dtype=dtype, description=f"{kind} array {n} x {d} {dtype}", format=kind)


class Hdf5Rows(Staged):
    """One dataset of an HDF5 file. The file is open only while it is read."""

    def __init__(self, file: File, entry: Entry, others: list[Entry], chunks: Any) -> None:
        n, d = entry.shape
        super().__init__(
            n=n,
            d=d,
            dtype="uint8" if entry.dtype == "bool" else entry.dtype,
            description=f"{file.name}[{entry.name}]",
            format="hdf5",
            path=file.name,
        )
        self.file = file
        self.entry = entry
        self.others = others
        self.storage_chunks = chunks

    def aligned(self, rows: int) -> int:
        """Whole storage chunks, so that none is decompressed twice."""
        return whole_chunks(rows, self.storage_chunks)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Opens the file; see `Staged.reader`."""
        with _opened(self.file) as root:
            dataset = root[self.entry.name]
            if tuple(dataset.shape) != self.entry.shape:
                raise FormatError(f"{WHERE}: {self.description}: its shape changed since it was opened")

            def read(start: int, out: npt.NDArray[Any]) -> None:
                # HDF5 stores bool as an enumeration; NumPy's bool has the same bits as uint8.
                _read_slice(dataset, start, out.view(bool) if self.entry.dtype == "bool" else out, self.description)

            yield read

    def column_names(self) -> list[str]:
        """Names of the one-dimensional datasets."""
        return [entry.name for entry in self.others if len(entry.shape) == 1]

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """A one-dimensional dataset; strings are decoded."""
        h5py = _h5py()
        with _opened(self.file) as root:
            dataset = root[name]
            try:
                return np.asarray(dataset.asstr()[...] if h5py.check_string_dtype(dataset.dtype) else dataset[...])
            except (OSError, RuntimeError, ValueError, TypeError) as error:
                raise FormatError(f"{WHERE}: {self.file.name}[{name!r}]: it cannot be read: {error}") from error


def _h5py() -> Any:
    return require("h5py", extra="hdf5", needed_by="reading HDF5 files")


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    h5py = _h5py()
    local = file.local()
    handle = None if local is not None else file.open()
    try:
        try:
            root = h5py.File(local if handle is None else handle, "r")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise FormatError(
                f"{WHERE}: {file.name}: it cannot be opened as HDF5 ({error}); it is truncated, or not an HDF5 file"
            ) from None
        with root:
            yield root
    finally:
        if handle is not None:
            handle.close()


def open_hdf5(file: File, key: Any = None) -> Hdf5Rows:
    """Opens one dataset of an HDF5 file: the one ``key`` names (``"group/name"``), or the only 2-D one.

    Raises:
        FormatError: truncated or damaged file.
        InputError: unknown key, several candidates, a dataset that is not 2-D numbers.
    """
    where = f"{WHERE}: {file.name}"
    h5py = _h5py()
    with _opened(file) as root:
        entries: list[Entry] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                entries.append(Entry(name, tuple(map(int, item.shape)), item.dtype.name))

        try:
            root.visititems(visit)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise FormatError(f"{where}: its contents cannot be listed: {error}") from None
        entry = choose(entries, key.strip("/") if isinstance(key, str) else key, where)
        check_shape(entry.shape, f"{where}[{entry.name!r}]")
        dataset = root[entry.name]
        if h5py.check_string_dtype(dataset.dtype):
            raise InputError(f"{where}[{entry.name!r}]: expected numbers, got strings; name them as labels= or ids=")
        numpy_name(dataset.dtype, f"{where}[{entry.name!r}]")
        others = [other for other in entries if other.name != entry.name]
        return Hdf5Rows(file, entry, others, dataset.chunks)
