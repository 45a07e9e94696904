"""`.npz` archives: stored members are read by offset, compressed ones as a stream; none is loaded whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError
from featdiv.io.dtypes import numpy_name
from featdiv.io.embeddings import SAMPLE_BLOCKS, start_digest
from featdiv.io.entries import Entry, check_shape, choose
from featdiv.io.files import WHERE, File, read_exactly
from featdiv.io.npy import Header, check_size, flat_from_header, read_header
from featdiv.io.staged import Flat, Reader, Staged

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What reading a damaged archive raises; lzma and bz2 members raise one of these too."""

_SKIP = 4 << 20


@contextmanager
def _archive(file: File, where: str) -> Iterator[zipfile.ZipFile]:
    with file.open() as handle:
        try:
            archive = zipfile.ZipFile(handle)
        except DAMAGED as error:
            raise FormatError(f"{where}: it is not a readable .npz archive ({error}); it may be truncated") from None
        with archive:
            yield archive


def _members(archive: zipfile.ZipFile, where: str) -> dict[str, tuple[zipfile.ZipInfo, Header]]:
    members = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise FormatError(f"{where}: the archive has two members called {name!r}; the file is damaged")
        try:
            with archive.open(info) as handle:
                header = read_header(cast(BinaryIO, handle), f"{where}[{name!r}]", objects=True)
        except FormatError:
            raise
        except DAMAGED as error:
            raise FormatError(f"{where}[{name!r}]: the member cannot be read ({error}); the file is damaged") from None
        members[name] = (info, header)
    return members


class _Columns:
    """What `.npz` sources share: the other members, for labels, ids and groups."""

    file: File
    others: dict[str, Header]

    def column_names(self) -> list[str]:
        """Names of the one-dimensional members."""
        return [name for name, header in self.others.items() if len(header.shape) == 1]

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """A one-dimensional member."""
        where = f"{WHERE}: {self.file.name}[{name!r}]"
        try:
            with _archive(self.file, where) as archive, archive.open(f"{name}.npy") as handle:
                header = read_header(cast(BinaryIO, handle), where)
                raw = handle.read(header.bytes + 1)
        except FormatError:
            raise
        except DAMAGED as error:
            raise FormatError(f"{where}: the member cannot be read ({error}); the file is damaged") from None
        check_size(header.bytes, len(raw), f"{header.shape} {header.dtype.name}", where)
        return np.frombuffer(raw, header.dtype)


class StoredMember(_Columns, Flat):
    """An uncompressed member: plain bytes at an offset of the archive."""


class CompressedMember(_Columns, Staged):
    """A compressed member: decompressed as it is read, forwards; going back begins again."""

    def __init__(self, file: File, info: zipfile.ZipInfo, header: Header, entry: str, dtype: str) -> None:
        n, d = header.shape
        super().__init__(n=n, d=d, dtype=dtype, description=f"{file.name}[{entry}]", format="npz", path=file.name)
        self.file = file
        self.member = info.filename
        self.header = header
        self.check = (info.CRC, info.file_size)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Opens the member; see `Staged.reader`."""
        where = f"{WHERE}: {self.description}"
        handle: Any = None
        position = 0
        stored = self.header.dtype

        with _archive(self.file, where) as archive:

            def read(start: int, out: npt.NDArray[Any]) -> None:
                nonlocal handle, position
                target = self.header.offset + start * self.row_bytes
                if handle is None or target < position:
                    if handle is not None:
                        handle.close()
                    handle, position = archive.open(self.member), 0
                while position < target:
                    skipped = len(handle.read(min(_SKIP, target - position)))
                    if not skipped:
                        break
                    position += skipped
                read_exactly(handle, out, self.description)
                position += out.nbytes
                if position == self.header.offset + self.header.bytes:
                    # Reading to the end makes zipfile compare the checksum.
                    handle.read(1)
                if not stored.isnative:
                    out.byteswap(inplace=True)

            try:
                yield lambda start, out: _guarded(read, start, out, where)
            finally:
                if handle is not None:
                    handle.close()

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str:
        # The archive keeps a checksum of all the content: better than samples, and free.
        digest = start_digest(self.n, self.d, self.dtype)
        digest.update(f"crc32 {self.check[0]} of {self.check[1]}".encode())
        return digest.hexdigest()


def _guarded(read: Reader, start: int, out: npt.NDArray[Any], where: str) -> None:
    try:
        read(start, out)
    except FormatError:
        raise
    except DAMAGED as error:
        raise FormatError(f"{where}: the member cannot be decompressed ({error}); the file is damaged") from None


def open_npz(file: File, key: Any = None) -> StoredMember | CompressedMember:
    """Opens one member of an ``.npz`` archive: the one ``key`` names, or the only 2-D one.

    Raises:
        FormatError: truncated or damaged archive, or a member that holds Python objects.
        InputError: unknown key, several candidates, a member that is not 2-D numbers.
    """
    where = f"{WHERE}: {file.name}"
    with _archive(file, where) as archive:
        members = _members(archive, where)
    entries = [Entry(name, header.shape, header.dtype.name) for name, (_, header) in members.items()]
    if not entries:
        raise FormatError(f"{where}: the archive holds no arrays")
    objects = [entry.name for entry in entries if entry.dtype == "object"]
    if objects and (len(entries) == 1 or key in objects):
        raise FormatError(
            f"{where}[{objects[0] if len(entries) == 1 else key!r}]: it holds Python objects (a pickle), which featdiv "
            "never loads; save a numeric array"
        )
    name = choose(entries, key, where).name
    info, header = members[name]
    check_shape(header.shape, f"{where}[{name!r}]")
    dtype = numpy_name(header.dtype, f"{where}[{name!r}]")
    others = {other: value[1] for other, value in members.items() if other != name}
    shape = f"{header.shape[0]} x {header.shape[1]} {dtype}"
    check_size(header.bytes, info.file_size - header.offset, shape, f"{where}[{name!r}]")
    found: StoredMember | CompressedMember
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        base = _data_offset(file, info, f"{where}[{name!r}]")
        found = flat_from_header(
            file,
            header,
            present=min(info.file_size, file.size() - base) - header.offset,
            where=f"{where}[{name!r}]",
            format="npz",
            base=base,
            entry=name,
            kind=StoredMember,
        )
    else:
        if header.fortran and min(header.shape) > 1:
            raise InputError(
                f"{where}[{name!r}]: a compressed array in Fortran order can only be read whole; "
                "save it with np.ascontiguousarray, or uncompressed (np.savez)"
            )
        if header.dtype.kind == "b":
            header = header._replace(dtype=np.dtype(np.uint8))
        found = CompressedMember(file, info, header, name, dtype)
    found.others = others
    return found


def _data_offset(file: File, info: zipfile.ZipInfo, where: str) -> int:
    local = np.zeros(30, dtype=np.uint8)
    with file.open() as handle:
        handle.seek(info.header_offset)
        read_exactly(handle, local, file.name)
    raw = local.tobytes()
    if raw[:4] != b"PK\x03\x04":
        raise FormatError(f"{where}: the archive points to no member there; the file is damaged")
    return info.header_offset + 30 + int.from_bytes(raw[26:28], "little") + int.from_bytes(raw[28:30], "little")
