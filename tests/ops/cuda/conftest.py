"""CUDA kernels played on the host: their sources, compiled by a C++ compiler with the language of emulator/."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from featdiv.ops import _cupy

LANGUAGE = Path(__file__).with_name("emulator") / "cuda_on_host.h"
# As in CUDA, threadIdx is unsigned and meets int everywhere, and a header may have more than a kernel uses.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-Wno-unused-function"]
WARNINGS += ["-Wno-unused-but-set-variable", "-Wno-unknown-pragmas"]
# The little that is played takes less time than more optimisation would.
FOR_THE_HOST = [*WARNINGS, "-O1", "-fPIC"]
KERNEL = re.compile(r"\bKERNEL_HERE\s+void\s+(\w+)\s*\(")


class Launch(ctypes.Structure):
    """As in emulator/cuda_on_host.h."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("threads", ctypes.c_int),
        ("shared_bytes", ctypes.c_longlong),
        ("backwards", ctypes.c_int),
        ("eager", ctypes.c_int),
    ]


class Region(ctypes.Structure):
    """As in emulator/guards.h."""

    _fields_ = [("start", ctypes.c_void_p), ("bytes", ctypes.c_longlong)]


class Emulator:
    """Plays kernels as `featdiv.ops._cupy.launch` launches them, on tensors on the CPU.

    Attributes:
        backwards: whether threads and blocks take their turns from the last to the first.
        eager: whether asynchronous copies are done when they are asked for, not when they are waited for.
        launched: names of the kernels that were played.
    """

    def __init__(self, folder: Path, compiler: str) -> None:
        self.folder, self.compiler = folder, compiler
        self.libraries: dict[Path, ctypes.CDLL] = {}
        self.language: Path | None = None
        self.backwards = self.eager = False
        self.launched: list[str] = []

    def kernels(self, path: Path) -> list[str]:
        """Returns the names of the kernels in a source, macros expanded."""
        expanded = ["-E", "-P", "-DFEATDIV_KERNEL=KERNEL_HERE", "-x", "c++", str(path)]
        return KERNEL.findall(self._run(["-include", str(LANGUAGE), *expanded]))

    def library(self, path: Path) -> ctypes.CDLL:
        """Returns a source compiled for the host."""
        if path not in self.libraries:
            # A library of a name that is loaded would not be loaded again.
            play = self.folder / f"{path.stem}_{len(self.libraries)}.cpp"
            names = self.kernels(path)
            play.write_text("\n".join([f'#include "{path}"', *(f"FEATDIV_PLAY({name})" for name in names), ""]))
            output = play.with_suffix(".so")
            options = [*FOR_THE_HOST, "-include", str(self._compiled_language()), "-shared"]
            self._run([*options, str(play), "-o", str(output)])
            self.libraries[path] = ctypes.CDLL(str(output))
        return self.libraries[path]

    def launch(self, source, name, *, grid, threads, arguments, device, shared_bytes=0) -> None:
        """Plays a kernel; see `featdiv.ops._cupy.launch`. A source may also be a path."""
        assert device.type == "cpu"
        path = source if isinstance(source, Path) else _cupy.sources() / "cuda" / source
        play = getattr(self.library(path), f"play_{name}")
        play.restype = ctypes.c_char_p
        values = [self._value(each) for each in arguments]
        kinds = (ctypes.c_char_p * len(values))(*(self._kind(each).encode() for each in arguments))
        pointers = (ctypes.c_void_p * len(values))(*(each.ctypes.data for each in values))
        sides = (*grid, 1, 1)[:3]
        how = Launch((ctypes.c_uint * 3)(*sides), threads, shared_bytes, self.backwards, self.eager)
        regions = memory_of([each for each in arguments if isinstance(each, torch.Tensor)])
        failure = play(ctypes.byref(how), len(values), kinds, pointers, len(regions), regions)
        if failure is not None:
            raise RuntimeError(f"{name}: {failure.decode()}")
        self.launched.append(name)

    def _compiled_language(self) -> Path:
        """Returns a header of the language with a compiled one beside it, which compilers take in its place."""
        if self.language is None:
            self.language = self.folder / "language.h"
            self.language.write_text(f'#include "{LANGUAGE}"\n')
            self._run([*FOR_THE_HOST, "-x", "c++-header", str(self.language), "-o", f"{self.language}.gch"])
        return self.language

    def _run(self, options: list[str]) -> str:
        command = [self.compiler, "-std=c++17", "-ffp-contract=off"]
        run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-6000:]
        return run.stdout

    @staticmethod
    def _value(argument) -> np.ndarray:
        if argument is None:
            return np.array(0, np.uint64)
        if isinstance(argument, torch.Tensor):
            return np.array(argument.data_ptr(), np.uint64)
        return np.array(argument)

    @staticmethod
    def _kind(argument) -> str:
        if argument is None:
            return "pointer to nothing"
        if not isinstance(argument, torch.Tensor):
            return argument.dtype.name
        name = str(argument.dtype).removeprefix("torch.")
        return f"pointer to {name}" if name in ("float64", "float32", "int64", "int32") else "pointer to 1 or 2 bytes"


def memory_of(tensors: list[torch.Tensor]) -> ctypes.Array:
    """Returns the memory that tensors reach, as one region for each storage."""
    found: dict[int, tuple[int, int]] = {}
    for tensor in tensors:
        if not tensor.numel():
            continue
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        reach = tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
        other = found.get(tensor.untyped_storage().data_ptr(), reach)
        found[tensor.untyped_storage().data_ptr()] = min(reach[0], other[0]), max(reach[1], other[1])
    return (Region * len(found))(*(Region(start, stop - start) for start, stop in found.values()))


@pytest.fixture(scope="session")
def _emulator(tmp_path_factory) -> Emulator:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is on PATH")
    return Emulator(tmp_path_factory.mktemp("played"), compiler)


@pytest.fixture
def emulator(_emulator, monkeypatch) -> Emulator:
    """The emulator, in its plainest order; fresh tensors hold NaN or the largest integer."""
    _emulator.backwards = _emulator.eager = False
    _emulator.launched.clear()
    empty = torch.empty

    def poisoned(*args, **kwargs):
        tensor = empty(*args, **kwargs)
        return tensor.fill_(torch.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max)

    monkeypatch.setattr(torch, "empty", poisoned)
    return _emulator


@pytest.fixture
def played(emulator, monkeypatch) -> Emulator:
    """The emulator in the place of the device: backends asked for by name launch their kernels on it."""
    monkeypatch.setattr(_cupy, "launch", emulator.launch)
    return emulator
