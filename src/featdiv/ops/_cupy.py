"""CUDA kernels compiled at first use by NVRTC, which comes with CuPy: no CUDA toolkit, and no build step, is needed."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from featdiv._optional import require
from featdiv.ops._triton import missing_device

_PACKAGE = Path(__file__).resolve().parents[1]


def sources() -> Path | None:
    """Returns the folder of the C++ and CUDA sources: in the package, or beside it in a checkout; None without."""
    for folder in (_PACKAGE / "csrc", _PACKAGE.parents[1] / "csrc"):
        if (folder / "cuda").is_dir():
            return folder
    return None


def unsupported_reason(device: str) -> str | None:
    """Returns why no CUDA kernel can run on arrays of a device type, or None if one can."""
    if device != "cuda":
        return f"it works on CUDA arrays; these are on {device!r}"
    if importlib.util.find_spec("cupy") is None:
        return "the package cupy, which compiles the CUDA kernels, is not installed; run: pip install 'featdiv[cupy]'"
    if sources() is None:
        return "the CUDA sources are not beside this installation of featdiv; reinstall featdiv"
    return missing_device()


@functools.cache
def kernel(source: str, name: str, device: int) -> Any:
    """Returns a kernel, compiled for the current device; CuPy keeps what it compiled on disk.

    Args:
        source: file in csrc/cuda.
        name: of the kernel in it.
        device: number of the current device, to which a loaded kernel belongs.
    """
    cupy = require("cupy", extra="cupy", needed_by="the backend 'cuda'")
    folder = sources()
    assert folder is not None, "unsupported_reason looks for the sources first"
    path = folder / "cuda" / source
    module = cupy.RawModule(
        code=path.read_text(encoding="utf-8"), options=("-std=c++17", f"-I{path.parent}"), backend="nvrtc"
    )
    return module.get_function(name)
