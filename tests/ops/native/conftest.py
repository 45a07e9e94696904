"""Native tests run on every instruction set of the machine, and skip where the module was not built.

No machine of this project has AMX. So that path is built a second time with a software tile unit in place of the
instructions, everything else as it is: packing, splitting, tiles, edges, certification.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featdiv.ops import _native

ROOT = Path(__file__).resolve().parents[3]
CSRC = ROOT / "csrc"
HARNESS = Path(__file__).with_name("emulate_amx.cpp")
SOURCES = ("emulate_amx", "isa_amx")
AMX = _native.ISAS.index("amx")


def pytest_collection_modifyitems(items):
    reason = _native.missing()
    for item in items:
        if reason and "native" in item.path.parts and item.path.name != "test_loader.py":
            item.add_marker(pytest.mark.skip(reason=reason))


def isas() -> tuple[str, ...]:
    """All but VNNI, whose kernels are those of AVX-512 and one more, which has a test file of its own."""
    best = _native.module().best_isa() if _native.missing() is None else 0
    return tuple(name for name in _native.ISAS[: best + 1] if name != "avx512vnni")


@pytest.fixture(params=isas())
def isa(request, monkeypatch):
    """Each instruction set in turn."""
    monkeypatch.setenv(_native.ISA_VARIABLE, request.param)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture
def threads(monkeypatch):
    """Sets the number of threads that the native module is told to use."""

    def use(count: int) -> None:
        monkeypatch.setattr(_native, "threads", lambda: count)

    return use


@pytest.fixture(scope="session")
def build():
    """setup.py as a module, for the flags of each instruction set."""
    if not CSRC.is_dir():
        pytest.skip("the C++ sources are not beside the tests")
    spec = importlib.util.spec_from_file_location("featdiv_setup_for_amx", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pair_blocks(build, tmp_path_factory):
    """Blocks of pairs of rounded rows as a library, with the flags of AVX-512 where the processor has it."""
    compiler = next((name for name in ("g++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no C++ compiler is on PATH")
    wide = _native.module().best_isa() >= _native.ISAS.index("avx512")
    output = tmp_path_factory.mktemp("pairs") / "pairs.so"
    flags = [*build.FLAGS, "-O1", "-fPIC", "-shared", "-Wno-psabi", "-DFEATDIV_EMULATED_TILES", f"-I{CSRC}"]
    flags += build.ISA_FLAGS["isa_avx512"] if wide else ()
    source = Path(__file__).with_name("emulate_pairs.cpp")
    subprocess.run([compiler, *flags, str(source), "-o", str(output)], check=True, capture_output=True)
    loaded = ctypes.CDLL(str(output))
    for name in ("words_of", "tapered_words_of"):
        getattr(loaded, name).restype = ctypes.c_int64
    for name in ("sum_of_pairs", "sum_of_tapered_pairs"):
        getattr(loaded, name).restype = ctypes.c_double
    return loaded


class Emulation:
    """Objects of the emulated path, and libraries made of them."""

    def __init__(self, build, folder: Path) -> None:
        self.folder = folder
        self.compiler = next((name for name in ("g++", "clang++") if shutil.which(name)), None)
        if self.compiler is None:
            pytest.skip("no C++ compiler is on PATH")
        has_avx512 = _native.module().best_isa() >= _native.ISAS.index("avx512")
        # The kernels are compiler vectors: without the flags they run anywhere.
        wide = build.ISA_FLAGS["isa_avx512"] if has_avx512 else ()
        definitions = (build.AMX_DEFINITION, "-DFEATDIV_EMULATED_TILES")
        self.flags = [*build.FLAGS, *wide, "-fPIC", "-Wno-psabi", *definitions]
        with ThreadPoolExecutor(2) as pool:
            self.objects = dict(zip(SOURCES, pool.map(lambda name: self.compile(CSRC, name), SOURCES), strict=True))

    def compile(self, csrc: Path, name: str) -> str:
        output = self.folder / f"{name}-{csrc.parent.name}.o"
        source = HARNESS if name == HARNESS.stem else csrc / "cpu" / f"{name}.cpp"
        # Nothing but the emulator takes long enough to be worth optimising, which takes long itself.
        level = "-O1" if name == "isa_amx" else "-O0"
        command = [self.compiler, *self.flags, level, f"-I{csrc}", "-c", str(source), "-o", str(output)]
        subprocess.run(command, check=True, capture_output=True)
        return str(output)

    def link(self, name: str, **replaced: str) -> ctypes.CDLL:
        output = self.folder / f"{name}.so"
        objects = {**self.objects, **replaced}
        subprocess.run([self.compiler, "-shared", "-pthread", *objects.values(), "-o", str(output)], check=True)
        library = ctypes.CDLL(str(output))
        library.emulated_amx_problem.restype = ctypes.c_char_p
        return library

    def planted(self, name: str, file: str, before: str, after: str) -> ctypes.CDLL:
        """A library whose AMX kernels are compiled from sources in which some words have been replaced."""
        root = self.folder / name
        shutil.copytree(CSRC, root / "csrc")
        path = root / "csrc" / "core" / file
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))
        return self.link(name, isa_amx=self.compile(root / "csrc", "isa_amx"))


@pytest.fixture(scope="session")
def emulation(build, tmp_path_factory):
    return Emulation(build, tmp_path_factory.mktemp("amx"))


@pytest.fixture(scope="session")
def library(emulation):
    return emulation.link("emulated")


@pytest.fixture(scope="session")
def late(emulation):
    """Sums of 13 steps and of more than 20 lack the last one: the check at first use has 3 and 19."""
    before = "flush + flush_steps < p.steps ? flush + flush_steps : p.steps;"
    broken = emulation.planted("late", "amx.h", before, before[:-1] + " - (p.steps > 20 || p.steps == 13);")
    assert broken.emulated_amx_problem() == b""
    return broken


@pytest.fixture(scope="session")
def truncated(emulation):
    """Terms are truncated where they should be rounded: errors of one sign, which do not cancel on a diagonal."""
    return emulation.planted("truncated", "split.h", "(bits + 0x7fffu + ((bits >> 16) & 1u))", "bits")


class EmulatedModule:
    """Stands in for `featdiv._cpu`: the same call of scatter, and an AMX that has been asked for."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.find_bad_rows = _native.module().find_bad_rows

    def best_isa(self) -> int:
        return AMX

    def scatter(self, *, bound: float, **arguments: int) -> tuple[int, int, int]:
        tiles = (ctypes.c_int64 * 2)()
        order = ("rows", "n", "d", "row_stride", "element", "shift", "exponent", "normalize", "doubles")
        last = ("total", "gram", "weighted", "fourth", "threads", "isa")
        outcome = self._call("scatter", order, bound, last, arguments, tiles)
        return outcome, tiles[0], tiles[1]

    def class_scatter(self, *, bound: float, **arguments: int) -> int:
        order = ("rows", "n", "d", "row_stride", "element", "index", "starts", "classes", "normalize", "doubles")
        last = ("means", "scatters", "narrow", "threads", "isa")
        return self._call("class_scatter", order, bound, last, arguments)

    def cross_gram(self, *, bound: float, **arguments: int) -> tuple[int, int, int]:
        tiles = (ctypes.c_int64 * 2)()
        side = ("{}", "{}_stride", "{}_d", "{}_shift", "{}_exponent", "{}_total", "{}_weighted")
        sides = [name.format(prefix) for prefix in ("x", "other") for name in side]
        order = (*sides, "n", "element", "normalize", "doubles")
        outcome = self._call("cross_gram", order, bound, ("gram", "fourth", "threads", "isa"), arguments, tiles)
        return outcome, tiles[0], tiles[1]

    def _call(self, op: str, order: Any, bound: float, last: Any, arguments: dict[str, int], *out: Any) -> int:
        assert arguments["isa"] == AMX
        ints = ("element", "normalize", "doubles", "narrow", "threads", "isa")

        def values(names):
            return [(ctypes.c_int if name in ints else ctypes.c_int64)(int(arguments[name])) for name in names]

        function = getattr(self._library, f"emulated_{op}")
        return function(*values(order), ctypes.c_double(bound), *values(last), *out)


@pytest.fixture
def use(monkeypatch):
    """Lets the native backend call an emulation."""

    def put(library: ctypes.CDLL) -> None:
        module = EmulatedModule(library)
        monkeypatch.setattr(_native, "module", lambda: module)
        monkeypatch.setenv(_native.ISA_VARIABLE, "amx")

    return put


@pytest.fixture
def emulated(library, use):
    use(library)
