"""What the machine could do at best, measured: the limit that a time is held against.

On the CPU, loops are compiled for the processor at hand (``peak.cpp``) and timed: independent fused multiply-adds in
vector registers; products of bfloat16 on the tiles of AMX, where the processor has them and the operating system grants
them; products of 8-bit integers, where it has VNNI; and reading memory. On a GPU, the peaks are those of a copy within
its memory and of a large bfloat16 product, since bfloat16 is what matrix kernels compute in.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import machine

_SOURCE = Path(__file__).with_name("peak.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread", "-Wno-psabi")
_COPIED_BYTES = 1 << 30
_PRODUCT_SIDE = 8192

TILES, INTEGERS = "bfloat16 on tiles", "8-bit integers"
"""Names of the rates of AMX and of VNNI among the peaks, where there are any."""

_FUNCTIONS = {TILES: "peak_tiles", INTEGERS: "peak_integers"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """The operations and bytes that a job needs at least, whoever does it.

    Attributes:
        operations: floating-point operations; a multiply-add counts as two.
        bytes: bytes that have to come from memory.
        unit: which peak the operations are held against: ``"float32"`` or ``"float64"`` of the CPU's vector unit, or
            ``"bfloat16"`` of a GPU's tensor cores.
        tile_products: products of bfloat16 that stand for one of ``unit`` where the processor has AMX; None where it
            is of no use.
        integer_products: products of 8-bit integers that do where it has VNNI; likewise.
    """

    operations: float
    bytes: float
    unit: str = "float32"
    tile_products: int | None = None
    integer_products: int | None = None

    @property
    def others(self) -> dict[str, int]:
        """The products of other units that stand for one of ``unit``, by their name among the peaks."""
        given = {TILES: self.tile_products, INTEGERS: self.integer_products}
        return {name: products for name, products in given.items() if products is not None}

    @property
    def memory(self) -> str:
        """Name of the peak that the bytes are held against."""
        return "copied bytes" if self.unit == "bfloat16" else "read bytes"

    def seconds(self, peaks: dict[str, float]) -> float:
        """Returns the least time that a machine with these peaks can take."""
        ways = {self.unit: 1} | self.others
        arithmetic = min(products * self.operations / peaks[name] for name, products in ways.items() if name in peaks)
        return max(arithmetic, self.bytes / peaks[self.memory])


def peaks(unit: str, others: Iterable[str] = ()) -> dict[str, float]:
    """Returns the peaks that work of a unit needs, measured now, by name and per second.

    Args:
        unit: that of the work.
        others: units that might do instead, `TILES` and `INTEGERS`; those that this machine lacks are left out.

    Raises:
        RuntimeError: if they cannot be measured here; the text says why.
    """
    if unit == "bfloat16":
        return _of_gpu()
    library = _library()
    threads = machine.cores()
    names = {unit: f"peak_{unit}", "read bytes": "peak_read_bytes"} | {other: _FUNCTIONS[other] for other in others}
    found = {}
    for peak, name in names.items():
        function: Any = library[name]
        function.argtypes, function.restype = [ctypes.c_int], ctypes.c_double
        found[peak] = function(threads)
    return {peak: rate for peak, rate in found.items() if rate > 0}


@functools.cache
def _library() -> ctypes.CDLL:
    compiler = next((name for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name and _found(name)), None)
    if compiler is None:
        raise RuntimeError("no C++ compiler is on PATH to measure the peaks with")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "peak.so")
        command = [*shlex.split(compiler), *_FLAGS, str(_SOURCE), "-o", str(built)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed: {result.stderr.strip()}")
        return ctypes.CDLL(str(built))


def _found(command: str) -> bool:
    return shutil.which(shlex.split(command)[0]) is not None


def _of_gpu() -> dict[str, float]:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")
    source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    factor = torch.randn(_PRODUCT_SIDE, _PRODUCT_SIDE, device="cuda").bfloat16()
    # A copy reads and writes each byte.
    copied = 2.0 * _COPIED_BYTES / _gpu_seconds(lambda: target.copy_(source))
    return {"bfloat16": 2.0 * _PRODUCT_SIDE**3 / _gpu_seconds(lambda: factor @ factor), "copied bytes": copied}


def _gpu_seconds(job: Any, repeats: int = 10) -> float:
    import torch

    best = float("inf")
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        job()
        end.record()
        end.synchronize()
        best = min(best, start.elapsed_time(end) / 1e3)
    return best
