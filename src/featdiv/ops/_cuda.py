"""The CUDA module `featdiv._cuda`, whose kernels nvcc compiled when featdiv was built; loaded on first use."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv.errors import FeatdivError

if TYPE_CHECKING:
    import torch

    Argument = torch.Tensor | np.int32 | np.int64 | np.float64 | None

INTERFACE = 4
"""Version of the calls between Python and the module, and of its kernels; a module of other sources is refused."""


@functools.cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        module = importlib.import_module("featdiv._cuda")
    except ModuleNotFoundError as error:
        if error.name != "featdiv._cuda":
            raise
        return None, "featdiv._cuda is not built (FEATDIV_CUDA=on shows what is missing when featdiv is installed)"
    except ImportError as error:
        return None, f"featdiv._cuda does not load: {error}"
    if getattr(module, "INTERFACE", None) != INTERFACE:
        return None, "featdiv._cuda is of another version of featdiv; reinstall featdiv"
    return module, ""


def missing() -> str | None:
    """Returns why the module cannot be used, or None if it can; it loads on machines without a GPU too."""
    module, reason = _load()
    return None if module is not None else reason


def architectures() -> list[str]:
    """Returns what the module was built for, such as ``["80", "90a", "90+PTX"]``; nothing without it."""
    module, _ = _load()
    return [] if module is None else str(module.ARCHITECTURES).split()


def describe() -> str:
    """Returns one line on the module for people: what it was built for and whether a device is there, or why not."""
    module, reason = _load()
    if module is None:
        return f"{reason}; CuPy compiles the kernels at first use"
    toolkit = f"{module.TOOLKIT // 1000}.{module.TOOLKIT % 1000 // 10}"
    device = module.missing_device()
    there = f"no device: {device}" if device else "a device is there"
    return f"featdiv._cuda (CUDA {toolkit}) for compute capability {', '.join(module.ARCHITECTURES.split())}; {there}"


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
    """Launches a kernel on torch's current stream of a device; see `featdiv.ops._cupy.launch`.

    Raises:
        FeatdivError: if the kernel could not be launched, with CUDA's own words.
    """
    import torch

    module, reason = _load()
    if module is None:
        raise FeatdivError(f"{name}: {reason}")
    slots, sizes = packed(arguments)
    failure = module.launch(
        source=source,
        name=name,
        grid=(*grid, 1, 1)[:3],
        threads=threads,
        shared_bytes=shared_bytes,
        stream=torch.cuda.current_stream(device).cuda_stream,
        device=device.index,
        slots=slots,
        sizes=sizes,
    )
    if failure:
        raise FeatdivError(f"{name}: the kernel could not be launched: {failure}")


def packed(arguments: Sequence[Argument]) -> tuple[bytes, list[int]]:
    """Returns the arguments of a kernel in slots of 8 bytes, and the bytes that each takes of its slot."""
    values = [np.uint64(0) if each is None else _number(each) for each in arguments]
    return b"".join(value.tobytes().ljust(8, b"\0") for value in values), [value.itemsize for value in values]


def _number(argument: Any) -> Any:
    return np.uint64(argument.data_ptr()) if hasattr(argument, "data_ptr") else argument
