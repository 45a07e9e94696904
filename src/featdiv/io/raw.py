"""Raw vector files: ``.fbin`` and its kin (big-ann, RAFT, cuVS), ``.fvecs`` and its kin (TEXMEX, FAISS)."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import FormatError, InputError
from featdiv.io.entries import refuse_key
from featdiv.io.files import WHERE, File, read_head
from featdiv.io.npy import check_size
from featdiv.io.staged import Flat

BIN = {".fbin": "float32", ".f16bin": "float16", ".u8bin": "uint8", ".i8bin": "int8", ".ibin": "int32"}
"""Extension to element type; the header is two little-endian uint32, n and d."""

VECS = {".fvecs": "float32", ".bvecs": "uint8", ".ivecs": "int32"}
"""Extension to element type; every row begins with its length, a little-endian int32."""


def open_bin(file: File, key: Any = None) -> Flat:
    """Opens ``.fbin .f16bin .u8bin .i8bin .ibin``: uint32 n and d, then n x d elements, little-endian.

    Raises:
        FormatError: if the size of the file is not what the header promises.
    """
    where = f"{WHERE}: {file.name}"
    refuse_key(key, where, f"a {file.suffix} file")
    head = read_head(file, 8)
    if len(head) < 8:
        raise FormatError(f"{where}: expected a header of 8 bytes (n, d); the file has {len(head)}")
    n, d = (int(value) for value in np.frombuffer(head, "<u4"))
    dtype = BIN[file.suffix]
    stored = np.dtype(dtype).newbyteorder("<")
    check_size(n * d * stored.itemsize, file.size() - 8, f"{n} x {d} {dtype}", where)
    return Flat(file, offset=8, n=n, d=d, dtype=dtype, stored=stored, format=file.suffix[1:])


def open_vecs(file: File, key: Any = None) -> Flat:
    """Opens ``.fvecs .bvecs .ivecs``: before each row, its length as a little-endian int32.

    The lengths of all rows are checked as they are read.

    Raises:
        FormatError: if the first length is impossible or the file does not hold a whole number of rows.
    """
    where = f"{WHERE}: {file.name}"
    refuse_key(key, where, f"a {file.suffix} file")
    size = file.size()
    if size == 0:
        raise InputError(f"{where}: expected at least one row, got an empty file")
    prefix = read_head(file, 4)
    if len(prefix) < 4:
        raise FormatError(f"{where}: expected rows that begin with a length of 4 bytes; the file has {size} bytes")
    d = int(np.frombuffer(prefix, "<i4")[0])
    dtype = VECS[file.suffix]
    stored = np.dtype(dtype).newbyteorder("<")
    stride = 4 + d * stored.itemsize
    if d <= 0 or stride > size:
        raise FormatError(
            f"{where}: the first row says it has {d} values, which is impossible in {size} bytes; "
            f"the file is truncated, or is not a {file.suffix} file"
        )
    if size % stride:
        raise FormatError(
            f"{where}: rows of {d} {dtype} take {stride} bytes each, and {size} bytes are not a whole number of them "
            f"({size % stride} bytes are left over); the file is truncated, or its rows differ in length"
        )
    return Flat(
        file,
        offset=0,
        n=size // stride,
        d=d,
        dtype=dtype,
        stored=stored,
        prefix=prefix,
        format=file.suffix[1:],
    )
