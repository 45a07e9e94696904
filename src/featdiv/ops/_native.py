"""The native CPU module `featdiv._cpu`: loaded on first use, success or failure remembered and explained."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import BackendUnavailable, InputError, NonFiniteError, RowError, ZeroNormError

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

INTERFACE = 17
"""Version of the calls between Python and the module; a module built from other sources is refused."""

ISA_VARIABLE = "FEATDIV_ISA"
ISAS = ("baseline", "avx2", "avx512", "avx512vnni", "amx")
"""Instruction sets from the bottom up; the position is the module's number for it."""

ELEMENTS = (
    *("float64", "float32", "float16", "bfloat16"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""Element types; the position is the module's number for it."""

DONE, NOT_FINITE, ZERO_NORM, NO_MEMORY, OUT_OF_RANGE, STOPPED = range(6)
"""How a call into the module ended."""

COPIED_BYTES = 1 << 24
"""Bytes of rows copied at a time where the module cannot read them in place."""


@functools.cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        module = importlib.import_module("featdiv._cpu")
    except ModuleNotFoundError as error:
        if error.name != "featdiv._cpu":
            raise
        compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
        cause = (
            f"{compiler} is on PATH now, so reinstalling featdiv from source builds it"
            if compiler
            else "no C++ compiler is on PATH; install g++ or clang++ and reinstall featdiv from source"
        )
        return None, f"the native module featdiv._cpu is not built ({cause}; FEATDIV_CPU=on shows what fails)"
    except ImportError as error:
        return None, f"the native module featdiv._cpu does not load: {error}"
    if getattr(module, "INTERFACE", None) != INTERFACE:
        return None, "the native module featdiv._cpu is of another version of featdiv; reinstall featdiv"
    return module, ""


def missing() -> str | None:
    """Returns why the native module cannot be used, or None if it can."""
    module, reason = _load()
    return None if module is not None else reason


def module() -> Any:
    """Returns the native module.

    Raises:
        BackendUnavailable: if it cannot be loaded; the message says why.
    """
    loaded, reason = _load()
    if loaded is None:
        raise BackendUnavailable(f"backend 'native': {reason}", reasons={"native": reason})
    return loaded


def isa() -> int:
    """Returns the number of the instruction set to use: the best here, or less if ``FEATDIV_ISA`` says so.

    Raises:
        InputError: if the variable names none, or one that this machine lacks.
    """
    best = int(module().best_isa())
    wanted = os.environ.get(ISA_VARIABLE)
    if not wanted:
        return best
    if wanted not in ISAS[: best + 1]:
        why = f"; AMX is not used because {module().amx_problem()}" if wanted == "amx" else ""
        raise InputError(
            f"{ISA_VARIABLE}: expected one of {', '.join(ISAS[: best + 1])}, which this machine has; "
            f"got {wanted!r}{why}"
        )
    return ISAS.index(wanted)


def threads() -> int:
    """Returns how many threads to use: torch's setting if it is loaded, ``OMP_NUM_THREADS``, or all CPUs."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> str:
    """Returns one line on the module for people: its instruction set and threads, or why it is not there."""
    reason = missing()
    if reason is not None:
        return reason
    problem = module().amx_problem()
    amx = f"AMX is not used because {problem}" if problem else "AMX passed its check"
    try:
        chosen = isa()
        beside = " with VNNI" if ISAS[chosen] == "avx2" and module().rounds_pairs(chosen) else ""
        kernels = f"kernels for {ISAS[chosen]}{beside}"
    except InputError as error:
        return f"featdiv._cpu ({module().COMPILER}) refuses to run: {error}"
    count = threads()
    return f"featdiv._cpu ({module().COMPILER}), {kernels}, {count} thread{'' if count == 1 else 's'}; {amx}"


def element(rows: Rows) -> int:
    """Returns the module's number for the element type of host rows."""
    if isinstance(rows, np.ndarray):
        return ELEMENTS.index("uint8" if rows.dtype.kind == "b" else rows.dtype.name)
    name = str(rows.dtype).removeprefix("torch.")
    return ELEMENTS.index("uint8" if name == "bool" else name)


def unsupported_rows(device: str, dtype: str) -> str | None:
    """Returns why the native module cannot read rows of this kind, or None if it can."""
    if device != "cpu":
        return f"it works on CPU rows; these are on {device!r}"
    if dtype not in ELEMENTS and dtype != "bool":
        return f"it cannot read rows of type {dtype}"
    return missing()


def address(array: npt.NDArray[Any] | None) -> int:
    """Returns the address of an array's first element; 0 for None."""
    return 0 if array is None else int(array.__array_interface__["data"][0])


class HostRows:
    """Address and strides of a (n, d) array or CPU tensor whose elements are consecutive within a row.

    Attributes:
        address: of the first element.
        row_stride: bytes from row to row.
        element: the module's number of the element type.
    """

    def __init__(self, rows: Rows) -> None:
        self._keep = rows
        self.element = element(rows)
        if isinstance(rows, np.ndarray):
            self.address = address(rows)
            self.row_stride = int(rows.strides[0])
        else:
            self.address = int(rows.data_ptr())
            self.row_stride = int(rows.stride(0)) * rows.element_size()


def is_readable(rows: Rows) -> bool:
    """Whether the module can read the rows in place: native byte order, elements consecutive in each row."""
    if isinstance(rows, np.ndarray):
        return rows.dtype.isnative and (rows.shape[1] == 1 or rows.strides[1] == rows.itemsize)
    return not rows.is_neg() and (rows.shape[1] == 1 or rows.stride(1) == 1)


def readable(rows: Rows) -> Rows:
    """Returns the rows, or a copy that the module can read."""
    if is_readable(rows):
        return rows
    if isinstance(rows, np.ndarray):
        return np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
    return rows.resolve_neg().contiguous()


def row_error(rows: Rows, *, normalize: bool) -> RowError | None:
    """Returns the error that describes rows which are not finite, or zero where they are to be normalised."""
    bad_entries, bad_row, zero_rows, zero_row = 0, -1, 0, -1
    step = max(1, COPIED_BYTES // (8 * int(rows.shape[1])))
    for start in range(0, int(rows.shape[0]), step):
        tile = readable(rows[start : start + step])
        host = HostRows(tile)
        count, first, zeros, first_zero = module().find_bad_rows(
            rows=host.address,
            n=int(tile.shape[0]),
            d=int(tile.shape[1]),
            row_stride=host.row_stride,
            element=host.element,
        )
        if count and not bad_entries:
            bad_row = start + first
        if zeros and not zero_rows:
            zero_row = start + first_zero
        bad_entries += count
        zero_rows += zeros
    if bad_entries:
        return NonFiniteError(
            f"expected finite rows; got {bad_entries} NaN or infinite entries, the first in row {bad_row}",
            count=bad_entries,
            first_row=bad_row,
        )
    if zero_rows and normalize:
        return ZeroNormError(
            f"expected rows of non-zero norm; got {zero_rows} zero rows, the first is row {zero_row}",
            count=zero_rows,
            first_row=zero_row,
        )
    return None


def raise_for_rows(rows: Rows, *, normalize: bool) -> NoReturn:
    """Raises the error that describes the rows which made the native module stop."""
    error = row_error(rows, normalize=normalize)
    if error is None:
        raise InputError("rows: expected rows that stay as they are while they are read; they have changed")
    raise error
