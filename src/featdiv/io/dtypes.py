"""The element types that sources may have, by the one name each has in featdiv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

ITEMSIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
}
"""Name to bytes per element."""

SPELLINGS = {
    "fp64": "float64",
    "double": "float64",
    "fp32": "float32",
    "float": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
}
"""Other spellings of a type that arguments may use."""

_REFUSED_KINDS = {
    "O": (
        "Python objects; build a numeric array, np.asarray(x, dtype=np.float32), or np.stack(x) where each is an array"
    ),
    "U": "strings; pass the numeric embeddings as the source and the strings as labels= or ids=",
    "S": "byte strings; pass the numeric embeddings as the source and the strings as labels= or ids=",
    "T": "strings; pass the numeric embeddings as the source and the strings as labels= or ids=",
    "c": "complex numbers; pass the real and imaginary parts as separate columns",
    "V": "structured records; pass one numeric field",
    "M": "dates; pass numbers",
    "m": "time differences; pass numbers",
}


def numpy_name(dtype: np.dtype[Any], where: str) -> str:
    """Returns the featdiv name of a NumPy dtype; bool is read as uint8.

    Raises:
        InputError: if rows cannot have this type; the message begins with ``where``.
    """
    if dtype.kind == "b":
        return "uint8"
    if dtype.name in ITEMSIZE:
        return dtype.name
    reason = _REFUSED_KINDS.get(dtype.kind, f"{dtype.name}; use one of {', '.join(ITEMSIZE)}")
    raise InputError(f"{where}: expected numbers, got {reason}")


def torch_name(dtype: torch.dtype, where: str) -> str:
    """Returns the featdiv name of a torch dtype; bool is read as uint8."""
    name = str(dtype).removeprefix("torch.")
    if name == "bool":
        return "uint8"
    if name in ITEMSIZE:
        return name
    if dtype.is_complex:
        raise InputError(f"{where}: expected numbers, got {_REFUSED_KINDS['c']}")
    raise InputError(f"{where}: expected one of the types {', '.join(ITEMSIZE)}; got torch.{name}. Cast it first")


def named(dtype: Any, where: str) -> str:
    """Returns the featdiv name of what a caller passed as ``dtype=``: a name, a NumPy or a torch dtype."""
    if isinstance(dtype, str):
        name = SPELLINGS.get(dtype.lower(), dtype.lower())
    else:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype).removeprefix("torch.")
    if name not in ITEMSIZE:
        raise InputError(f"{where}: expected one of {', '.join(ITEMSIZE)}; got {dtype!r}")
    return name


def storage(name: str) -> np.dtype[Any]:
    """Returns the native NumPy dtype that holds the bits of ``name``: int16 for bfloat16, its own else."""
    return np.dtype(np.int16 if name == "bfloat16" else name)


def as_rows(buffer: npt.NDArray[Any], name: str) -> Rows:
    """Returns stored bits as rows of type ``name``, without a copy: NumPy, or torch for bfloat16."""
    if name != "bfloat16":
        return buffer
    import torch

    return torch.from_numpy(buffer).view(torch.bfloat16)
