"""`.npy` files: the header is parsed here, strictly, and the rows are read by offset. Pickles are refused."""

from __future__ import annotations

import ast
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np

from featdiv.errors import FormatError
from featdiv.io.dtypes import numpy_name
from featdiv.io.entries import check_shape, refuse_key
from featdiv.io.files import WHERE, File
from featdiv.io.staged import Flat

AnyFlat = TypeVar("AnyFlat", bound=Flat)

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
"""NumPy's own limit: parsing a Python literal of arbitrary length is not safe."""


class Header(NamedTuple):
    """What a `.npy` header says; ``offset`` is where the data begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def bytes(self) -> int:
        """Bytes of data that the header promises."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


def read_header(handle: BinaryIO, where: str, *, objects: bool = False) -> Header:
    """Reads the header where ``handle`` stands (the beginning of the array).

    Args:
        handle: the file.
        where: beginning of the messages.
        objects: True to describe an array of Python objects too, for a list of what an archive holds.

    Raises:
        FormatError: for anything but a well-formed header of a version that NumPy writes (1.0, 2.0, 3.0).
    """
    lead = _read(handle, 8, where)
    if lead[:6] != MAGIC:
        raise FormatError(f"{where}: it does not begin with the .npy magic; it is not a NumPy array file")
    version = (lead[6], lead[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise FormatError(f"{where}: .npy version {version[0]}.{version[1]} is unknown; expected 1.0, 2.0 or 3.0")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(_read(handle, width, where), "little")
    if length > LONGEST_HEADER:
        raise FormatError(f"{where}: the header claims {length} bytes; a plain array needs about a hundred")
    raw = _read(handle, length, where)
    try:
        text = raw.decode("utf-8" if version == (3, 0) else "latin-1")
        fields = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise FormatError(f"{where}: the header is not a Python dictionary; the file is damaged") from None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise FormatError(f"{where}: the header must give exactly descr, fortran_order and shape; the file is damaged")
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise FormatError(f"{where}: the header gives the impossible shape {_short(shape)}; the file is damaged")
    if not isinstance(fields["fortran_order"], bool):
        raise FormatError(f"{where}: fortran_order must be True or False; the file is damaged")
    dtype = _dtype(fields["descr"], where)
    if dtype.hasobject and not objects:
        raise FormatError(
            f"{where}: it holds Python objects (a pickle), which featdiv never loads; "
            "save plain numbers, np.save(path, np.asarray(x, dtype=np.float32)), or text, np.asarray(labels, dtype=str)"
        )
    return Header(shape, dtype, fields["fortran_order"], 8 + width + length)


def _dtype(descr: Any, where: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(descr)
    except (
        TypeError,
        ValueError,
        SyntaxError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        raise FormatError(f"{where}: the header gives the unknown type {_short(descr)}; the file is damaged") from None
    return dtype


def _read(handle: BinaryIO, count: int, where: str) -> bytes:
    parts = b""
    while len(parts) < count:
        part = handle.read(count - len(parts))
        if not part:
            raise FormatError(f"{where}: the file ends within the .npy header; it is truncated, or not a .npy file")
        parts += part
    return parts


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        return "with a number too long to print"
    return text if len(text) <= 80 else text[:77] + "..."


def check_size(promised: int, present: int, rows: str, where: str) -> None:
    """Raises FormatError unless the data has exactly the bytes that the header promises."""
    if present < promised:
        raise FormatError(
            f"{where}: the header promises {rows} ({promised} bytes), but only {present} bytes follow it; "
            "the file is truncated, or its copy is not finished"
        )
    if present > promised:
        raise FormatError(
            f"{where}: {present - promised} bytes follow the {promised} that the header promises ({rows}); "
            "the file is damaged, or holds more than one array"
        )


def open_npy(file: File, key: Any = None) -> Flat:
    """Opens a ``.npy`` file: C or Fortran order, any real dtype of either byte order.

    Raises:
        FormatError: wrong magic, damaged header, truncated, trailing bytes, Python objects.
        InputError: not two-dimensional, or not real numbers.
    """
    where = f"{WHERE}: {file.name}"
    refuse_key(key, where, "a .npy file")
    with file.open() as handle:
        header = read_header(handle, where)
    return flat_from_header(file, header, present=file.size() - header.offset, where=where, format="npy", kind=Flat)


def flat_from_header(
    file: File,
    header: Header,
    *,
    present: int,
    where: str,
    format: str,
    base: int = 0,
    entry: str | None = None,
    kind: type[AnyFlat],
) -> AnyFlat:
    """Returns the rows of an array: its header began at ``base`` and is followed by ``present`` bytes."""
    dtype = numpy_name(header.dtype, where)
    n, d = check_shape(header.shape, where)
    check_size(header.bytes, present, f"{n} x {d} {dtype}", where)
    stored = header.dtype if header.dtype.kind != "b" else np.dtype(np.uint8)
    return kind(
        file,
        offset=base + header.offset,
        n=n,
        d=d,
        dtype=dtype,
        stored=stored,
        fortran=header.fortran and n > 1 and d > 1,
        format=format,
        entry=entry,
    )
