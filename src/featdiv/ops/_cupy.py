"""CUDA kernels: those of the module that was built ahead, or else compiled at first use by NVRTC.

NVRTC comes with CuPy: neither a CUDA toolkit nor a build step is needed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv._optional import require
from featdiv.errors import FeatdivError
from featdiv.ops import _cuda
from featdiv.ops._triton import missing_device

if TYPE_CHECKING:
    import torch

    Argument = torch.Tensor | np.int32 | np.int64 | np.float64 | None

ARCHITECTURES = {"gram_sm90.cuh": "sm_90a", "gram_rows_sm90.cuh": "sm_90a"}
"""Source to the target that its instructions want; the others are compiled for the device that is there."""

_PACKAGE = Path(__file__).resolve().parents[1]
_STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without asking for more."""


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
    built = _cuda.missing() is None
    if not built and importlib.util.find_spec("cupy") is None:
        return "the package cupy, which compiles the CUDA kernels, is not installed; run: pip install 'featdiv[cupy]'"
    if not built and sources() is None:
        return "the CUDA sources are not beside this installation of featdiv; reinstall featdiv"
    return missing_device()


def launch(
    source: str,
    name: str,
    *,
    grid: tuple[int, ...],
    threads: int,
    arguments: Sequence[Argument],
    device: torch.device,
    shared_bytes: int = 0,
) -> None:
    """Launches a kernel on torch's current stream of a device, and does not wait for it.

    Args:
        source: file in csrc/cuda.
        name: of the kernel in it.
        grid: blocks along up to three axes; the first may be longest.
        threads: threads of a block.
        arguments: what the kernel takes, in order and in its types: a tensor for a pointer to its first element, None
            for a null pointer, NumPy scalars for numbers.
        device: a CUDA device, on which the tensors lie.
        shared_bytes: dynamic shared memory of a block.
    """
    if _cuda.missing() is None:
        _cuda.launch(
            *(source, name), grid=grid, threads=threads, arguments=arguments, device=device, shared_bytes=shared_bytes
        )
        return
    cupy = require("cupy", extra="cupy", needed_by="the backend 'cuda'")
    import torch

    numbers = [np.uint64(0) if each is None else _address(each) for each in arguments]
    with torch.cuda.device(device), cupy.cuda.Device(device.index):
        run = kernel(source, name, torch.cuda.current_device())
        if shared_bytes > _STATIC_SHARED:
            run.max_dynamic_shared_size_bytes = shared_bytes
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            run(grid, (threads,), numbers, shared_mem=shared_bytes)


def _address(argument: Any) -> Any:
    return np.uint64(argument.data_ptr()) if hasattr(argument, "data_ptr") else argument


@functools.cache
def kernel(source: str, name: str, device: int) -> Any:
    """Returns a kernel, compiled for the current device; CuPy keeps what it compiled on disk.

    Args:
        source: file in csrc/cuda.
        name: of the kernel in it.
        device: number of the current device, to which a loaded kernel belongs.
    """
    return _module(source, device).get_function(name)


@functools.cache
def _module(source: str, device: int) -> Any:
    cupy = require("cupy", extra="cupy", needed_by="the backend 'cuda'")
    folder = sources()
    assert folder is not None, "unsupported_reason looks for the sources first"
    if source in ARCHITECTURES:
        return cupy.RawModule(path=str(_compiled_ahead(folder, source)))
    code = (folder / "cuda" / source).read_text(encoding="utf-8")
    return cupy.RawModule(code=code, options=compile_options(folder), backend="nvrtc")


def _compiled_ahead(folder: Path, source: str) -> Path:
    """Returns the file of a source compiled for a target that CuPy does not ask for, kept where CuPy keeps its own."""
    from cupy.cuda import nvrtc

    target = ARCHITECTURES[source]
    code, options = (folder / "cuda" / source).read_text(encoding="utf-8"), compile_options(folder)
    digest = hashlib.sha256("\0".join((code, *options, str(nvrtc.getVersion()))).encode()).hexdigest()
    home = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
    kept = home / f"featdiv_{digest[:32]}_{target}.cubin"
    if not kept.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home, delete=False) as file:
            file.write(compiled(source, code, (*options, f"-arch={target}")))
        os.replace(file.name, kept)
    return kept


def compiled(source: str, code: str, options: tuple[str, ...]) -> bytes:
    """Returns the machine code that NVRTC makes of a source.

    Raises:
        FeatdivError: if it makes none, with its log.
    """
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(code, source, [], [])
    try:
        nvrtc.compileProgram(program, options)
        return bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError as error:
        raise FeatdivError(f"{source} does not compile: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


def compile_options(folder: Path) -> tuple[str, ...]:
    """Returns the options of NVRTC for the sources in ``folder``.

    CuPy finds a compiled kernel again by its source and options, not by the headers that it includes: their digest is
    an option, so that no kernel of an older version of featdiv is taken for one of this.
    """
    digest = hashlib.sha256()
    for path in sorted([*(folder / "cuda").glob("*.cuh"), *(folder / "core").glob("*.h")]):
        digest.update(path.read_bytes())
    return ("-std=c++17", f"-I{folder / 'cuda'}", f"-DFEATDIV_SOURCES=0x{digest.hexdigest()[:15]}")
