"""Builds the native modules where it can; everything else about the package stands in pyproject.toml.

Environment:
    FEATDIV_CPU: ``auto`` (default: build `featdiv._cpu` if a C++17 compiler is there), ``on`` (build it or
        fail), ``off``.
    FEATDIV_CUDA: the same for `featdiv._cuda`, which wants nvcc but no GPU. Without the module, CuPy's NVRTC compiles
        the kernels at first use; their sources are installed with the package.
    FEATDIV_CUDA_ARCHS: compute capabilities to build for (default ``80 90a 90+PTX``; PTX is for newer ones).
    CUDA_HOME: where the CUDA toolkit is, if its nvcc is not on PATH.
    FEATDIV_SANITIZE: ``1`` builds with the address and undefined-behaviour sanitizers; see csrc/sanitize.sh.
    CXX: the compiler, as for any extension.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
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
    *(f"csrc/cpu/isa_{name}.cpp" for name in ("avx512", "avx512vnni", "amx", "avx2", "avx2vnni", "baseline")),
    *(f"csrc/cpu/{name}.cpp" for name in ("isa", "amx", "pool", "rows", "scatter", "class_scatter", "pair_sums")),
    *(f"csrc/cpu/{name}.cpp" for name in ("cross_gram", "nearest_centroid", "topk", "topk_filter", "centred_rows")),
    "csrc/bindings_cpu.cpp",
)
CUDA_SOURCES = ("csrc/cuda/launch.cpp", "csrc/bindings_cuda.cpp")
"""Beside one source for each file of kernels, which `kernel_table` writes."""

CUDA_ARCHS = "80 90a 90+PTX"
"""Newer cards compile the PTX; code for 90a runs on compute capability 9.0 alone."""

# No -ffast-math: finiteness checks and float64 sums rely on IEEE arithmetic. No -march=native: a wheel runs
# on every machine of its architecture. Contraction is asked for because -std=c++17 alone may turn it off.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden", "-pthread")
WARNINGS = ("-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c", "-mprefer-vector-width=512")
ISA_FLAGS = {
    "isa_avx2": ("-mavx2", "-mfma", "-mf16c"),
    "isa_avx512": AVX512,
    "isa_avx512vnni": (*AVX512, "-mavx512vnni"),
    "isa_amx": (*AVX512, "-mamx-tile", "-mamx-bf16"),
    "isa_avx2vnni": ("-mavx2", "-mfma", "-mf16c", "-mavxvnni"),
}
KNOWN_TOGETHER = ("isa_amx", "isa_avx2vnni")
"""What the same versions of compilers know: `Plan.amx` is about all of them."""

X86_DEFINITION, AMX_DEFINITION = "-DFEATDIV_X86=1", "-DFEATDIV_AMX=1"
X86_HEADER = "#if !defined(__x86_64__)\n#error\n#endif\n#include <immintrin.h>\n"
ISA_PROGRAMS = {
    "isa_avx512vnni": X86_HEADER + "__m512i f(__m512i a) { return _mm512_dpwssd_epi32(a, a, a); }\n",
    "isa_avx2vnni": X86_HEADER + "__m256i f(__m256i a) { return _mm256_dpwssd_avx_epi32(a, a, a); }\n",
    "isa_amx": X86_HEADER + "void f(const void* p) { _tile_loadconfig(p); _tile_dpbf16ps(0, 1, 2); }\n",
}
SANITIZERS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What the machine offers.

    Attributes:
        system: `platform.system()`.
        compiler: command of a C++17 compiler that was seen to work, or None.
        compiler_problem: why there is none.
        compiler_knows_x86: whether it builds for x86-64, and takes the flags of AVX-512 with VNNI and of those below.
        compiler_knows_amx: whether the compiler takes the flags and intrinsics of `KNOWN_TOGETHER` (gcc 11, clang 12).
        pybind11: its include directory, or None.
        nvcc: path of the CUDA compiler, or None.
        nvcc_problem: why there is none.
    """

    system: str = "Linux"
    compiler: str | None = None
    compiler_problem: str = ""
    compiler_knows_x86: bool = False
    compiler_knows_amx: bool = False
    pybind11: str | None = None
    nvcc: str | None = None
    nvcc_problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be built.

    Attributes:
        cpu: whether to build `featdiv._cpu`.
        cpu_required: whether a failure to build it is an error.
        x86: whether it gets kernels for the instruction sets of x86-64 up to AVX-512 with VNNI.
        amx: whether it gets kernels for AMX, and for VNNI without AVX-512.
        cuda: whether to build `featdiv._cuda`.
        cuda_required: whether a failure to build it is an error.
        sanitize: whether to build with sanitizers.
        notes: one line for each module, for people.
    """

    cpu: bool
    cpu_required: bool
    x86: bool
    amx: bool
    cuda: bool
    cuda_required: bool
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
    x86 = cpu and probe.compiler_knows_x86
    amx = x86 and probe.compiler_knows_amx
    if cpu and not x86:
        cpu_note += ", for the baseline of its architecture"
    if x86 and not amx:
        cpu_note += ", without kernels for AMX and AVX-VNNI, which it does not know (gcc 11 and clang 12 do)"
    cuda, cuda_note = False, "off, because FEATDIV_CUDA=off"
    if cuda_wanted != "off":
        missing = _missing_for_cuda(probe)
        if missing and cuda_wanted == "on":
            raise BuildRefused(f"featdiv: FEATDIV_CUDA=on, but {missing}. FEATDIV_CUDA=auto does without.")
        cuda = not missing
        cuda_note = f"will be built with {probe.nvcc}" if cuda else f"left out (CuPy compiles at first use): {missing}"
    notes = (f"featdiv: native CPU module {cpu_note}", f"featdiv: native CUDA module {cuda_note}")
    required = {"cpu_required": cpu_wanted == "on", "cuda_required": cuda_wanted == "on"}
    return Plan(cpu=cpu, x86=x86, amx=amx, cuda=cuda, **required, sanitize=sanitize, notes=notes)


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
    if probe.system != "Linux":
        return f"it is built on Linux; this is {probe.system}"
    if probe.nvcc is None:
        why = probe.nvcc_problem or "nvcc was not found"
        return f"{why}; install the CUDA toolkit, 12 or newer, and put its bin directory on PATH or set CUDA_HOME"
    if probe.compiler is None or probe.pybind11 is None:
        return _missing_for_cpu(probe)
    return ""


def probe_machine() -> Probe:
    """Looks at this machine: tries a compiler on a small program, looks for pybind11 and nvcc."""
    compiler, problem = _working_compiler()
    nvcc, nvcc_problem = _working_nvcc(compiler)
    try:
        import pybind11
    except ImportError:
        include = None
    else:
        include = pybind11.get_include()
    found = {"compiler": compiler, "compiler_problem": problem, "nvcc": nvcc, "nvcc_problem": nvcc_problem}
    x86, amx = (
        compiler is not None and all(knows(compiler, isa) for isa in isas)
        for isas in (("isa_avx512vnni",), KNOWN_TOGETHER)
    )
    return Probe(system=platform.system(), compiler_knows_x86=x86, compiler_knows_amx=amx, pybind11=include, **found)


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
        includes = [f"-I{folder}" for folder in python_includes()]
        refusal = _refusal([*words, "-std=c++17", *includes], "probe.cpp", program)
        if not refusal:
            return command, ""
        problem = f"{command} failed on a small program: {refusal}"
    return None, problem


def _working_nvcc(compiler: str | None) -> tuple[str | None, str]:
    """Returns (path, "") of an nvcc that compiles a small kernel, or (None, why not)."""
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    named = [str(Path(home, "bin", "nvcc")) for home in homes if home]
    nvcc = next(filter(None, map(shutil.which, [*named, "nvcc", "/usr/local/cuda/bin/nvcc"])), None)
    if nvcc is None or os.environ.get("FEATDIV_CUDA") == "off":
        return None, ""
    program = "__global__ void probe(int* out) { *out = 1; }\n"
    refusal = _refusal([nvcc, *_host_compiler(compiler), "-std=c++17", "-arch=sm_80"], "probe.cu", program)
    return (None, f"{nvcc} failed on a small kernel: {refusal}") if refusal else (nvcc, "")


def _refusal(command: list[str], name: str, program: str) -> str:
    """Returns "" if a compiler takes a program, or the first line of what it says."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, name)
        source.write_text(program)
        command = [*command, "-c", str(source), "-o", f"{source}.o"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
    return said[0] if result.returncode else ""


def knows(compiler: str, isa: str) -> bool:
    """Whether a compiler builds for x86-64, and for nothing else beside it, with an instruction set of `ISA_FLAGS`.

    The compiler decides, not the machine that it runs on: it may build for another, or for two at once (``ARCHFLAGS``).
    """
    command = [*shlex.split(compiler), *shlex.split(os.environ.get("ARCHFLAGS", "")), "-std=c++17", *ISA_FLAGS[isa]]
    return not _refusal(command, "probe.cpp", ISA_PROGRAMS[isa])


def _host_compiler(compiler: str | None) -> list[str]:
    words = shlex.split(compiler or "")
    return ["-ccbin", words[0]] if len(words) == 1 else []


def cuda_flags(archs: str) -> list[str]:
    """Returns the options of nvcc that name architectures, for capabilities such as ``"80 90a 90+PTX"``."""
    numbers = [(arch.removesuffix("+PTX"), "compute" if arch.endswith("+PTX") else "sm") for arch in archs.split()]
    return [f"-gencode=arch=compute_{number},code={kind}_{number}" for number, kind in numbers]


def kernel_names(source: str) -> list[str]:
    """Returns the kernels that a preprocessed CUDA source defines."""
    bounds = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
    return re.findall(rf'extern\s+"C"\s+__global__\s+(?:{bounds}void\s+{bounds})(\w+)\s*\(', source)


def kernel_table(path: Path, names: list[str]) -> str:
    """Returns a source that holds the kernels of a file and says their names."""
    entries = [f'static const featdiv::Kernel table_{name}("{path.name}", "{name}", &{name});' for name in names]
    return "\n".join([f'#include "{path}"', f'#include "{path.parent / "launch.h"}"', *entries, ""])


class BuildNative(build_ext):
    """Compiles each source with the flags of its instruction set; a failure is fatal only where asked for."""

    plan: Plan
    probe: Probe

    def build_extensions(self) -> None:
        """Builds the modules; one that was left out is not looked for afterwards."""
        super().build_extensions()
        self.extensions = [ext for ext in self.extensions if Path(self.get_ext_fullpath(ext.name)).exists()]

    def build_extension(self, ext: Extension) -> None:
        """Builds one module, or says in one line why it is left out."""
        cuda = ext.name == "featdiv._cuda"
        Path(self.build_temp).mkdir(parents=True, exist_ok=True)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self._build_cuda if cuda else self._build_cpu)(ext, target)
        except Exception as error:
            if self.plan.cuda_required if cuda else self.plan.cpu_required:
                raise
            does, kind = ("CuPy compiles at first use", "CUDA") if cuda else ("pure Python does", "CPU")
            print(f"featdiv: native {kind} module left out ({does}): {error}", file=sys.stderr)
            target.unlink(missing_ok=True)

    def _build_cuda(self, ext: Extension, target: Path) -> None:
        objects = Path(self.build_temp)
        compiler = str(self.probe.compiler)
        archs = os.environ.get("FEATDIV_CUDA_ARCHS") or CUDA_ARCHS
        common = [str(self.probe.nvcc), *_host_compiler(compiler), "-std=c++17", "-O3"]
        common += ["-Xcompiler", "-fPIC,-fvisibility=hidden", f"-I{ROOT / 'csrc'}"]
        common += [f"-I{include}" for include in ext.include_dirs]
        common += [f'-DFEATDIV_ARCHITECTURES="{archs}"', *cuda_flags(archs)]
        sources = [ROOT / source for source in ext.sources]
        for path in sorted((ROOT / "csrc" / "cuda").glob("*.cuh")):
            if "__global__" not in path.read_text(encoding="utf-8"):
                continue
            expanded = _run([*shlex.split(compiler), "-std=c++17", "-E", "-P", "-x", "c++", str(path)])
            sources.append(objects / f"{path.stem}_kernels.cu")
            sources[-1].write_text(kernel_table(path, kernel_names(expanded)))
        outputs = [objects / f"cuda_{source.stem}.o" for source in sources]
        _run_all([[*common, "-c", str(each), "-o", str(to)] for each, to in zip(sources, outputs, strict=True)])
        _link([*common, "-shared", "-cudart", "static", *map(str, outputs)], target)

    def _build_cpu(self, ext: Extension, target: Path) -> None:
        objects = Path(self.build_temp)
        compiler = shlex.split(self.probe.compiler or "")
        arch = shlex.split(os.environ.get("ARCHFLAGS", ""))
        sanitizers = SANITIZERS if self.plan.sanitize else ()
        definitions = [*[X86_DEFINITION] * self.plan.x86, *[AMX_DEFINITION] * self.plan.amx]
        common = [*arch, *FLAGS, *WARNINGS, "-fPIC", *definitions, *sanitizers]
        common += [f"-I{include}" for include in ext.include_dirs]
        common += shlex.split(os.environ.get("CXXFLAGS", ""))
        left_out = {*(() if self.plan.x86 else ISA_FLAGS), *(() if self.plan.amx else KNOWN_TOGETHER)}
        sources = [ROOT / source for source in ext.sources if Path(source).stem not in left_out]
        outputs = [objects / f"{source.stem}.o" for source in sources]
        commands = [[*compiler, *common, *ISA_FLAGS.get(each.stem, ()), "-c", str(each)] for each in sources]
        _run_all([[*command, "-o", str(to)] for command, to in zip(commands, outputs, strict=True)])
        link = ["-bundle", "-undefined", "dynamic_lookup"] if self.probe.system == "Darwin" else ["-shared"]
        flags = [*arch, *shlex.split(os.environ.get("LDFLAGS", "")), *sanitizers]
        _link([*compiler, *link, "-pthread", *map(str, outputs), *flags], target)


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


def _link(command: list[str], target: Path) -> None:
    """Links beside the target and renames, so that a running process keeps the file that it has mapped."""
    fresh = target.with_name(target.name + ".new")
    _run([*command, "-o", str(fresh)])
    fresh.replace(target)


def _run_all(commands: list[list[str]]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        list(executor.map(_run, commands))


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{result.stderr.strip()}")
    if result.stderr.strip():
        print(result.stderr.strip(), file=sys.stderr)
    return result.stdout


def main() -> None:
    """Plans and runs the build."""
    probe = probe_machine()
    plan = plan_native_build(os.environ, probe)
    for note in plan.notes:
        print(note, file=sys.stderr)
    include_dirs = [str(probe.pybind11), *python_includes()]
    depends = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "csrc").rglob("*.*h"))]
    sources = {"featdiv._cpu": CPU_SOURCES * plan.cpu, "featdiv._cuda": CUDA_SOURCES * plan.cuda}
    modules = [
        Extension(name, list(files), include_dirs=include_dirs, depends=depends, language="c++")
        for name, files in sources.items()
        if files
    ]
    BuildNative.plan, BuildNative.probe = plan, probe
    setup(ext_modules=modules, cmdclass={"build_ext": BuildNative, "build_py": BuildPython})


if __name__ == "__main__":
    main()
