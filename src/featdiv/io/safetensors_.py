"""`.safetensors` files: the header is checked in full, and the rows are read by offset, bfloat16 included."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, InputError
from featdiv.io.dtypes import ITEMSIZE
from featdiv.io.entries import Entry, check_shape, choose
from featdiv.io.files import WHERE, File, read_head
from featdiv.io.staged import Flat

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
LARGEST_HEADER = 16 << 20
"""A header of this size names about 100,000 tensors; parsing more would take memory, not give embeddings."""


class Tensor(NamedTuple):
    """One tensor that the header describes; ``begin`` is its offset in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_tensors(file: File, where: str) -> dict[str, Tensor]:
    """Parses and checks the header.

    Raises:
        FormatError: unless sizes, offsets and the length of the file all agree, without gaps or overlaps.
    """
    size = file.size()
    lead = read_head(file, 8)
    if len(lead) < 8:
        raise FormatError(f"{where}: the file ends within its first 8 bytes; it is truncated, or not .safetensors")
    length = int.from_bytes(lead, "little")
    if length > size - 8 or length < 2:
        raise FormatError(
            f"{where}: the header claims {length} bytes, but {size - 8} follow; "
            "the file is truncated, or not a .safetensors file"
        )
    if length > LARGEST_HEADER:
        raise FormatError(f"{where}: a header of {length} bytes is refused; {LARGEST_HEADER} is the limit")
    raw = read_head(file, length, 8)
    try:
        if raw[:1] != b"{":
            raise ValueError
        fields = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise FormatError(
            f"{where}: the header is not a JSON object with distinct names; the file is damaged"
        ) from None
    fields.pop("__metadata__", None)
    tensors = {name: _tensor(name, spec, 8 + length, where) for name, spec in fields.items()}
    position = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position:
            what = "overlaps the one before it" if tensor.begin < position else "leaves a gap before it"
            raise FormatError(f"{where}: the tensor {name!r} {what}; the file is damaged")
        position = tensor.end
    if position > size:
        raise FormatError(
            f"{where}: the header promises {position - 8 - length} bytes of data, but only {size - 8 - length} follow "
            "it; the file is truncated, or its copy is not finished"
        )
    if position < size:
        raise FormatError(f"{where}: {size - position} bytes follow the last tensor; the file is damaged")
    return tensors


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError
    return fields


def _tensor(name: str, spec: Any, base: int, where: str) -> Tensor:
    ok = (
        isinstance(spec, dict)
        and set(spec) == {"dtype", "shape", "data_offsets"}
        and isinstance(spec["dtype"], str)
        and _sizes(spec["shape"])
        and _sizes(spec["data_offsets"])
        and len(spec["data_offsets"]) == 2
    )
    if not ok:
        raise FormatError(
            f"{where}: the tensor {name[:80]!r} must have a dtype, a shape and two data_offsets, none negative; the "
            "file is damaged"
        )
    begin, end = spec["data_offsets"]
    dtype = DTYPES.get(spec["dtype"], spec["dtype"][:20])
    itemsize = 1 if dtype == "bool" else ITEMSIZE.get(dtype)
    if itemsize is not None:
        count = itemsize
        for length in spec["shape"]:
            count *= length
        if end - begin != count:
            raise FormatError(
                f"{where}: the tensor {name[:80]!r} of shape {_short(spec['shape'])} and type {dtype} does not fill "
                "its data_offsets; the file is damaged"
            )
    elif end < begin:
        raise FormatError(f"{where}: the data_offsets of the tensor {name[:80]!r} run backwards; the file is damaged")
    return Tensor(dtype, tuple(spec["shape"]), base + begin, base + end)


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _short(values: Any) -> str:
    text = str(values)
    return text if len(text) <= 80 else text[:77] + "..."


class SafetensorsRows(Flat):
    """Rows of one tensor; the other tensors can be labels, ids and groups."""

    tensors: dict[str, Tensor]

    def column_names(self) -> list[str]:
        """Names of the one-dimensional tensors."""
        return [name for name, tensor in self.tensors.items() if len(tensor.shape) == 1]

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """A one-dimensional tensor."""
        tensor = self.tensors[name]
        if tensor.dtype not in (*ITEMSIZE, "bool") or tensor.dtype == "bfloat16":
            raise InputError(f"{WHERE}: {self.file.name}: the tensor {name!r} of type {tensor.dtype} cannot be labels")
        raw = read_head(self.file, tensor.end - tensor.begin, tensor.begin)
        stored = np.dtype(tensor.dtype)
        return np.frombuffer(raw, stored.newbyteorder("<")).astype(stored)


def open_safetensors(file: File, key: Any = None) -> SafetensorsRows:
    """Opens one tensor of a ``.safetensors`` file: the one ``key`` names, or the only 2-D one.

    Raises:
        FormatError: for any disagreement between the header and the file.
        InputError: unknown key, several candidates, a tensor that is not 2-D numbers.
    """
    where = f"{WHERE}: {file.name}"
    tensors = read_tensors(file, where)
    name = choose([Entry(name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()], key, where).name
    tensor = tensors[name]
    n, d = check_shape(tensor.shape, f"{where}[{name!r}]")
    dtype = "uint8" if tensor.dtype == "bool" else tensor.dtype
    if dtype not in ITEMSIZE:
        raise InputError(f"{where}[{name!r}]: expected one of the types {', '.join(ITEMSIZE)}; got {dtype}")
    stored = np.dtype("<i2") if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<")
    rows = SafetensorsRows(
        file, offset=tensor.begin, n=n, d=d, dtype=dtype, stored=stored, format="safetensors", entry=name
    )
    rows.tensors = {other: value for other, value in tensors.items() if other != name}
    return rows
