"""Files written as a stream: the header is reserved first and filled in when the number of rows is known."""

from __future__ import annotations

import abc
import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, SourceNotFound
from featdiv.io.dtypes import ITEMSIZE
from featdiv.io.raw import BIN, VECS

WHERE = "featdiv.convert: dst"

_SAFETENSORS_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
}


class Writer(abc.ABC):
    """Writes (m, d) blocks of stored bits one after the other.

    Args:
        handle: binary file at its beginning; it can seek.
        d: features.
        dtype: element type.
    """

    def __init__(self, handle: BinaryIO, d: int, dtype: str) -> None:
        self.handle = handle
        self.d = d
        self.dtype = dtype
        self.n = 0
        handle.write(self.header(0))

    @abc.abstractmethod
    def header(self, n: int) -> bytes:
        """Returns the header for ``n`` rows; its length does not depend on ``n``."""

    def write(self, bits: npt.NDArray[Any]) -> None:
        """Appends rows."""
        little = np.ascontiguousarray(bits, bits.dtype.newbyteorder("<"))
        self.handle.write(memoryview(cast(Any, self.framed(little).reshape(-1).view(np.uint8))))
        self.n += bits.shape[0]

    def framed(self, bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows as they stand in the file."""
        return bits

    def finish(self) -> None:
        """Fills the header in."""
        self.handle.seek(0)
        self.handle.write(self.header(self.n))


class NpyWriter(Writer):
    """``.npy``, version 1.0."""

    def header(self, n: int) -> bytes:
        """128 bytes, as NumPy writes and pads them."""
        descr = np.dtype(self.dtype).newbyteorder("<").str
        text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({n}, {self.d}), }}"
        return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


class SafetensorsWriter(Writer):
    """``.safetensors`` with one tensor, ``embeddings``."""

    def header(self, n: int) -> bytes:
        """256 bytes: the format allows spaces after the JSON."""
        size = n * self.d * ITEMSIZE[self.dtype]
        code = _SAFETENSORS_CODES[self.dtype]
        spec = {"embeddings": {"dtype": code, "shape": [n, self.d], "data_offsets": [0, size]}}
        return (248).to_bytes(8, "little") + json.dumps(spec).ljust(248).encode()


class BinWriter(Writer):
    """``.fbin`` and its kin."""

    def header(self, n: int) -> bytes:
        """Two little-endian uint32."""
        if n >= 1 << 32:
            raise InputError(f"{WHERE}: this format counts at most {(1 << 32) - 1} rows; write shards (shard_rows=)")
        return np.array([n, self.d], dtype="<u4").tobytes()


class VecsWriter(Writer):
    """``.fvecs`` and its kin."""

    def header(self, n: int) -> bytes:
        """Nothing: each row carries its own length."""
        return b""

    def framed(self, bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Puts the length before each row."""
        out = np.empty((bits.shape[0], 4 + self.d * bits.dtype.itemsize), dtype=np.uint8)
        out[:, :4] = np.frombuffer(np.array([self.d], dtype="<i4").tobytes(), dtype=np.uint8)
        out[:, 4:] = bits.view(np.uint8).reshape(bits.shape[0], -1)
        return out


FORMATS: dict[str, tuple[type[Writer], tuple[str, ...]]] = {
    "npy": (NpyWriter, tuple(name for name in ITEMSIZE if name != "bfloat16")),
    "safetensors": (SafetensorsWriter, tuple(_SAFETENSORS_CODES)),
    **{suffix[1:]: (BinWriter, (dtype,)) for suffix, dtype in BIN.items()},
    **{suffix[1:]: (VecsWriter, (dtype,)) for suffix, dtype in VECS.items()},
}
"""Name of a format, which is its extension, to its writer and the element types it holds."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of ``path`` once the block has ended well, and not before.

    The content goes to a temporary file in the same directory, which is flushed to the disk and renamed, or removed
    after an error.
    What is there and is neither a file nor a directory, such as a pipe or ``/dev/null``, is written to as it is.

    Raises:
        SourceNotFound: if there is no such directory.
        OSError: if it cannot be written; where there is no room, with ``path`` as its file name.
    """
    if _is_device(path):
        try:
            with open(path, "wb") as file:
                yield file
        except OSError as error:
            _name_target(error, path, None)
            raise
        return
    # A symbolic link stays a link, to the new content.
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise SourceNotFound(f"{os.fspath(path)}: the directory {folder!r} does not exist; make it first")
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        _name_target(error, path, temporary)
        raise
    sync_directory(folder)


def _is_device(path: str | os.PathLike[str]) -> bool:
    """Whether there is something that takes bytes and can be no other file's name: a pipe, a terminal, a device."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _name_target(error: BaseException, path: str | os.PathLike[str], temporary: str | None) -> None:
    """Puts the file that was asked for into an error about a lack of room."""
    # A failed write does not say where: the system knows the file by a number only.
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename in (None, temporary):
        error.filename = os.fspath(path)


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
