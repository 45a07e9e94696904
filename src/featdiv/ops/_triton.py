"""Triton: whether it is there, and what every Triton backend shares. Kernels are imported on first launch only."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from featdiv.ops._dispatch import Request

    Rows = npt.NDArray[Any] | torch.Tensor

INTERPRETER_VARIABLE = "TRITON_INTERPRET"
"""Triton's own switch: with 1, kernels run in NumPy on the CPU, slowly; it must be set before they are loaded."""

ELEMENTS = ("float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")
"""Element types that the kernels read in place."""

LEAST_CAPABILITY = (8, 0)
"""Compute capability from which tensor cores multiply bfloat16 and float64."""


@functools.cache
def installed() -> bool:
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec("triton") is not None


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU rows."""
    return os.environ.get(INTERPRETER_VARIABLE) == "1"


def unsupported_reason(request: Request) -> str | None:
    """Returns why no Triton kernel can run on rows of this kind, or None if one can."""
    if not installed():
        return "the package triton is not installed; on Linux run: pip install 'featdiv[triton]'"
    if request.dtype not in ELEMENTS:
        return f"its kernels cannot read rows of type {request.dtype}"
    if interpreting():
        return None
    if request.device != "cuda":
        return f"it works on CUDA rows; these are on {request.device!r}"
    return missing_device()


@functools.cache
def missing_device() -> str | None:
    """Returns why there is no CUDA device that the kernels run on, or None if there is one."""
    import torch

    if torch.version.hip is not None:
        return "its kernels have been compiled for NVIDIA devices only; this torch is built for AMD"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    capability = torch.cuda.get_device_capability()
    if capability < LEAST_CAPABILITY:
        return f"it needs compute capability 8.0 (Ampere) or newer; the device has {capability[0]}.{capability[1]}"
    return None


def tensor_of(rows: Rows) -> torch.Tensor:
    """Returns rows as a tensor that kernels can read, sharing memory wherever that is possible."""
    from featdiv.ops.scatter.torch_ import as_tensor

    tensor = as_tensor(rows).resolve_neg()
    return tensor.view(dtype=_torch().uint8) if tensor.dtype == _torch().bool else tensor


def _torch() -> Any:
    import torch

    return torch
