"""Builds the native modules where it can; everything else about the package stands in pyproject.toml.

Environment:
    FEATDIV_CPU: ``auto`` (default: build `featdiv._cpu` if a C++17 compiler is there), ``on`` (build it or
        fail), ``off``.
    FEATDIV_CUDA: the same for a CUDA module, of which this version has none: ``on`` fails. The kernels in csrc/cuda
        are compiled at first use by NVRTC, which comes with CuPy; their sources are installed with the package.
    FEATDIV_SANITIZE: ``1`` builds with the address and undefined-behaviour sanitizers; see csrc/sanitize.sh.
    CXX: the compiler, as for any extension.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CPU_SOURCES = (
    "csrc/cpu/isa_avx512.cpp",
    "csrc/cpu/isa_avx2.cpp",
    "csrc/cpu/isa_baseline.cpp",
    "csrc/cpu/isa.cpp",
    "csrc/cpu/pool.cpp",
    "csrc/cpu/rows.cpp",
    "csrc/cpu/scatter.cpp",
    "csrc/cpu/class_scatter.cpp",
    "csrc/cpu/pair_sums.cpp",
    "csrc/cpu/nearest_centroid.cpp",
    "csrc/cpu/topk.cpp",
    "csrc/bindings_cpu.cpp",
)
# No -ffast-math: finiteness checks and float64 sums rely on IEEE arithmetic. No -march=native: a wheel runs
# on every machine of its architecture. Contraction is asked for because -std=c++17 alone may turn it off.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden", "-pthread")
WARNINGS = ("-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes")
ISA_FLAGS = {
    "isa_avx2": ("-mavx2", "-mfma", "-mf16c"),
    "isa_avx512": (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"),
        "-mprefer-vector-width=512",
    ),
}
SANITIZERS = (
    *("-O1", "-g", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What the machine offers.

    Attributes:
        system: `platform.system()`.
        machine: `platform.machine()`.
        compiler: command of a C++17 compiler that was seen to work, or None.
        compiler_problem: why there is none.
        pybind11: its include directory, or None.
        nvcc: path of the CUDA compiler, or None.
        cuda_sources: whether this version has CUDA sources that are built ahead.
    """

    system: str = "Linux"
    machine: str = "x86_64"
    compiler: str | None = None
    compiler_problem: str = ""
    pybind11: str | None = None
    nvcc: str | None = None
    cuda_sources: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be built.

    Attributes:
        cpu: whether to build `featdiv._cpu`.
        cpu_required: whether a failure to build it is an error.
        cuda: whether to build `featdiv._cuda`.
        sanitize: whether to build with sanitizers.
        notes: one line for each module, for people.
    """

    cpu: bool
    cpu_required: bool
    cuda: bool
    sanitize: bool
    notes: tuple[str, ...]


class BuildRefused(SystemExit):
    """What was asked for cannot be built; the message says what to install or change."""


def plan_native_build(env: Mapping[str, str], probe: Probe) -> Plan:
    """Returns what to build, from environment variables and what the machine offers; does nothing else.

    Raises:
        BuildRefused: if a variable asks for what cannot be done, or has a value that means nothing.
    """
    cpu_wanted, cuda_wanted = _switch(env, "FEATDIV_CPU"), _switch(env, "FEATDIV_CUDA")
    sanitize = env.get("FEATDIV_SANITIZE", "") not in ("", "0")
    cpu, cpu_note = False, "off, because FEATDIV_CPU=off"
    if cpu_wanted != "off":
        missing = _missing_for_cpu(probe)
        if missing and cpu_wanted == "on":
            raise BuildRefused(f"featdiv: FEATDIV_CPU=on, but {missing}. FEATDIV_CPU=auto does without.")
        cpu = not missing
        cpu_note = f"will be built with {probe.compiler}" if cpu else f"left out (pure Python does): {missing}"
    cuda, cuda_note = False, "off, because FEATDIV_CUDA=off"
    if cuda_wanted != "off":
        missing = _missing_for_cuda(probe)
        if missing and cuda_wanted == "on":
            raise BuildRefused(f"featdiv: FEATDIV_CUDA=on, but {missing}. FEATDIV_CUDA=auto does without.")
        cuda = not missing
        cuda_note = f"will be built with {probe.nvcc}" if cuda else f"left out: {missing}"
    notes = (f"featdiv: native CPU module {cpu_note}", f"featdiv: native CUDA module {cuda_note}")
    return Plan(cpu=cpu, cpu_required=cpu_wanted == "on", cuda=cuda, sanitize=sanitize, notes=notes)


def _switch(env: Mapping[str, str], name: str) -> str:
    value = env.get(name) or "auto"
    if value not in ("auto", "on", "off"):
        raise BuildRefused(f"featdiv: {name}: expected auto, on or off; got {value!r}")
    return value


def _missing_for_cpu(probe: Probe) -> str:
    if probe.system == "Windows":
        return "the sources need GCC's or Clang's vector extensions, which MSVC has not"
    if probe.compiler is None:
        why = probe.compiler_problem or "none was found"
        return f"no working C++17 compiler ({why}); install g++ or clang++, and the headers of Python"
    if probe.pybind11 is None:
        return "pybind11 is not installed; run: pip install pybind11"
    return ""


def _missing_for_cuda(probe: Probe) -> str:
    if not probe.cuda_sources:
        return "this version compiles its CUDA kernels at first use (pip install 'featdiv[cupy]'), not when it is built"
    if probe.nvcc is None:
        return "nvcc was not found; install the CUDA toolkit and put its bin directory on PATH"
    return ""


def probe_machine() -> Probe:
    """Looks at this machine: tries a compiler on a small program, looks for pybind11 and nvcc."""
    compiler, problem = _working_compiler()
    try:
        import pybind11
    except ImportError:
        include = None
    else:
        include = pybind11.get_include()
    return Probe(
        system=platform.system(),
        machine=platform.machine(),
        compiler=compiler,
        compiler_problem=problem,
        pybind11=include,
        nvcc=shutil.which("nvcc"),
        cuda_sources=any((ROOT / "csrc" / "cuda").glob("*.cu")),
    )


def python_includes() -> list[str]:
    """Returns the directories that hold the headers of this Python."""
    return sorted({sysconfig.get_path(name) for name in ("include", "platinclude")})


def _working_compiler() -> tuple[str | None, str]:
    """Returns (command, "") of the first compiler that builds a small program, or (None, why not)."""
    configured = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    candidates = [configured] if os.environ.get("CXX") else [configured, "c++", "g++", "clang++"]
    program = "#include <Python.h>\n#include <optional>\nint main() { return *std::optional<int>(0); }\n"
    problem = ""
    for command in dict.fromkeys(candidates):
        words = shlex.split(command)
        if not words or shutil.which(words[0]) is None:
            problem = problem or f"{command} is not on PATH"
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text(program)
            includes = [f"-I{folder}" for folder in python_includes()]
            result = subprocess.run(
                [*words, "-std=c++17", *includes, "-c", str(source), "-o", str(source.with_suffix(".o"))],
                capture_output=True,
                text=True,
                check=False,
            )
        if result.returncode == 0:
            return command, ""
        first_line = next(iter((result.stderr or result.stdout).strip().splitlines()), "no message")
        problem = f"{command} failed on a small program: {first_line}"
    return None, problem


class BuildNative(build_ext):
    """Compiles each source with the flags of its instruction set; a failure is fatal only where asked for."""

    plan: Plan
    probe: Probe

    def build_extension(self, ext: Extension) -> None:
        """Builds one module, or says in one line why it is left out."""
        try:
            self._compile_and_link(ext)
        except Exception as error:
            if self.plan.cpu_required:
                raise
            print(f"featdiv: native CPU module left out (pure Python does): {error}", file=sys.stderr)
            self._left_out = True

    def _compile_and_link(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        objects = Path(self.build_temp)
        objects.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(self.probe.compiler or "")
        arch = shlex.split(os.environ.get("ARCHFLAGS", ""))
        x86 = self.probe.machine.lower() in ("x86_64", "amd64") and "arm64" not in arch
        common = [*arch, *FLAGS, *WARNINGS, "-fPIC"]
        common += [f"-I{include}" for include in ext.include_dirs]
        if self.plan.sanitize:
            common += SANITIZERS
        common += shlex.split(os.environ.get("CXXFLAGS", ""))

        def compile_one(source: str) -> str:
            name = Path(source).stem
            output = objects / f"{name}.o"
            isa = ISA_FLAGS.get(name, ()) if x86 else ()
            _run([*compiler, *common, *isa, "-c", str(ROOT / source), "-o", str(output)])
            return str(output)

        sources = [source for source in ext.sources if x86 or Path(source).stem not in ISA_FLAGS]
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            built = list(executor.map(compile_one, sources))
        link = ["-bundle", "-undefined", "dynamic_lookup"] if self.probe.system == "Darwin" else ["-shared"]
        flags = [*arch, *shlex.split(os.environ.get("LDFLAGS", ""))]
        if self.plan.sanitize:
            flags += SANITIZERS
        # Linked beside the target and renamed, so that a running process keeps the file that it has mapped.
        fresh = target.with_name(target.name + ".new")
        _run([*compiler, *link, "-pthread", *built, *flags, "-o", str(fresh)])
        fresh.replace(target)

    def copy_extensions_to_source(self) -> None:
        """Copies what was built for ``--inplace``."""
        if not getattr(self, "_left_out", False):
            super().copy_extensions_to_source()

    def get_outputs(self) -> list[str]:
        """Returns the files built."""
        return [] if getattr(self, "_left_out", False) else super().get_outputs()

    def get_output_mapping(self) -> dict[str, str]:
        """Returns the files built and where an editable install puts them."""
        return {} if getattr(self, "_left_out", False) else super().get_output_mapping()


class BuildPython(build_py):
    """Puts the sources of the CUDA kernels, which are compiled at first use, into the package."""

    def run(self) -> None:
        """Builds, then copies; an editable install reads them where they are."""
        super().run()
        if self.editable_mode:
            return
        for source in runtime_sources():
            target = Path(self.build_lib, "featdiv", source.relative_to(ROOT))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target))


def runtime_sources() -> list[Path]:
    """Returns the files that compiling a CUDA kernel at first use needs."""
    return sorted([*(ROOT / "csrc" / "cuda").glob("*.cuh"), ROOT / "csrc" / "core" / "jacobi.h"])


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{result.stderr.strip()}")
    if result.stderr.strip():
        print(result.stderr.strip(), file=sys.stderr)


def main() -> None:
    """Plans and runs the build."""
    probe = probe_machine()
    plan = plan_native_build(os.environ, probe)
    for note in plan.notes:
        print(note, file=sys.stderr)
    modules = []
    if plan.cpu:
        headers = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "csrc").rglob("*.h"))]
        modules.append(
            Extension(
                "featdiv._cpu",
                list(CPU_SOURCES),
                include_dirs=[str(probe.pybind11), *python_includes()],
                depends=headers,
                language="c++",
            )
        )
    BuildNative.plan, BuildNative.probe = plan, probe
    setup(ext_modules=modules, cmdclass={"build_ext": BuildNative, "build_py": BuildPython})


if __name__ == "__main__":
    main()
