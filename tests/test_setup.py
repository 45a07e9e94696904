"""What setup.py decides to build, for every combination of wishes and machines."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from setuptools import Distribution

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """setup.py as a module: importing it must not run it."""
    spec = importlib.util.spec_from_file_location("featdiv_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def able(build: ModuleType, **changes):
    return build.Probe(**{"compiler": "g++", "pybind11": "/include", **changes})


@pytest.mark.parametrize("env", [{}, {"FEATDIV_CPU": "auto"}, {"FEATDIV_CPU": "on"}, {"FEATDIV_CPU": ""}])
def test_builds_the_cpu_module_where_a_compiler_is(build, env):
    plan = build.plan_native_build(env, able(build))
    assert plan.cpu
    assert plan.cpu_required == (env.get("FEATDIV_CPU") == "on")
    assert not plan.cuda
    assert "will be built with g++" in plan.notes[0]


@pytest.mark.parametrize(
    ("lack", "word"),
    [
        ({"compiler": None}, "install g++ or clang++"),
        ({"compiler": None, "compiler_problem": "c++ failed on a small program: Python.h"}, "Python.h"),
        ({"pybind11": None}, "pip install pybind11"),
        ({"system": "Windows"}, "MSVC"),
    ],
)
def test_auto_does_without_what_is_missing_and_says_so(build, lack, word):
    plan = build.plan_native_build({}, able(build, **lack))
    assert not plan.cpu
    assert word in plan.notes[0]
    assert "pure Python does" in plan.notes[0]
    assert "\n" not in plan.notes[0]
    with pytest.raises(SystemExit, match=r"FEATDIV_CPU=on, but") as refusal:
        build.plan_native_build({"FEATDIV_CPU": "on"}, able(build, **lack))
    assert word in str(refusal.value)


def test_kernels_of_x86_are_built_where_the_compiler_knows_them(build):
    """What the compiler builds for decides, not the machine that it runs on."""
    knowing = build.plan_native_build({}, able(build, compiler_knows_x86=True, compiler_knows_amx=True))
    assert knowing.x86
    assert knowing.amx
    assert knowing.notes[0] == "featdiv: native CPU module will be built with g++"
    old = build.plan_native_build({}, able(build, compiler_knows_x86=True))
    assert old.x86
    assert not old.amx
    assert "will be built with g++, without kernels for AMX and AVX-VNNI" in old.notes[0]
    for system in ("Linux", "Darwin"):
        arm = build.plan_native_build({}, able(build, system=system))
        assert arm.cpu
        assert not arm.x86
        assert not arm.amx
        assert arm.notes[0].endswith("will be built with g++, for the baseline of its architecture")
    off = build.plan_native_build({"FEATDIV_CPU": "off"}, able(build, compiler_knows_x86=True, compiler_knows_amx=True))
    assert not off.x86
    assert not off.amx


def test_a_compiler_is_asked_what_it_knows(build, tmp_path, monkeypatch):
    """Compilers that know nothing but whether a word of the command is to their liking."""
    for name, word, status in (("old", "-mamx-bf16", 1), ("new", "-mamx-bf16", 0), ("mac", "arm64", 1)):
        compiler = tmp_path / name
        compiler.write_text(f'#!/bin/sh\ncase "$*" in *{word}*) exit {status};; esac\nexit $((1 - {status}))\n')
        compiler.chmod(0o755)
    assert [build.knows(str(tmp_path / name), "isa_amx") for name in ("old", "new", "mac")] == [False, True, True]
    monkeypatch.setenv("ARCHFLAGS", "-arch x86_64 -arch arm64")
    assert not build.knows(str(tmp_path / "mac"), "isa_amx")


@pytest.mark.parametrize(
    ("compiler", "x86"), [("g++ -m64", True), ("g++ -m32", False), ("aarch64-linux-gnu-g++", False)]
)
def test_a_compiler_for_another_machine_knows_no_instruction_of_x86(build, compiler, x86):
    words = compiler.split()
    if shutil.which(words[0]) is None or build._refusal(words, "empty.cpp", ""):
        pytest.skip(f"{compiler} does not work here")
    if x86 and platform.machine() != "x86_64":
        pytest.skip("g++ builds for another machine here")
    assert build.knows(compiler, "isa_avx512vnni") == x86


def commands_of(build, monkeypatch, tmp_path, **known):
    """The commands that would build the CPU module, source by source, and the one that would link it."""
    command = build.BuildNative(Distribution({"name": "featdiv"}))
    command.build_temp = command.build_lib = str(tmp_path)
    command.probe = able(build, **known)
    command.plan = build.plan_native_build({}, command.probe)
    compiled, linked = [], []
    monkeypatch.setattr(build, "_run_all", compiled.extend)
    monkeypatch.setattr(build, "_link", lambda words, target: linked.extend(words))
    command.build_extension(build.Extension("featdiv._cpu", list(build.CPU_SOURCES)))
    return {Path(words[words.index("-c") + 1]).stem: words for words in compiled}, linked


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_a_build_for_arm_has_no_word_of_x86(build, monkeypatch, tmp_path, system):
    compiled, linked = commands_of(build, monkeypatch, tmp_path, system=system)
    assert set(compiled) == {Path(source).stem for source in build.CPU_SOURCES} - set(build.ISA_FLAGS)
    words = {word for command in (*compiled.values(), linked) for word in command}
    assert not [word for word in words if word.startswith("-m") or "X86" in word or "AMX" in word]
    assert ("-bundle" in linked) == (system == "Darwin")
    assert ("-shared" in linked) == (system == "Linux")


@pytest.mark.parametrize("amx", [True, False])
def test_a_build_for_x86_tells_every_source_which_kernels_there_are(build, monkeypatch, tmp_path, amx):
    known = {"compiler_knows_x86": True, "compiler_knows_amx": amx}
    compiled, _ = commands_of(build, monkeypatch, tmp_path, **known)
    left_out = set() if amx else {"isa_amx", "isa_avx2vnni"}
    assert set(compiled) == {Path(source).stem for source in build.CPU_SOURCES} - left_out
    for name, words in compiled.items():
        assert build.X86_DEFINITION in words
        assert (build.AMX_DEFINITION in words) == amx
        machine = [word for word in words if word.startswith("-m")]
        assert machine == list(build.ISA_FLAGS.get(name, ())), name


def test_off_builds_nothing_even_where_it_could(build):
    off = {"FEATDIV_CPU": "off", "FEATDIV_CUDA": "off"}
    plan = build.plan_native_build(off, able(build, nvcc="/bin/nvcc"))
    assert not plan.cpu
    assert not plan.cuda
    assert all("off" in note for note in plan.notes)


@pytest.mark.parametrize("env", [{}, {"FEATDIV_CUDA": "auto"}, {"FEATDIV_CUDA": "on"}])
def test_cuda_is_decided_by_the_toolkit(build, env):
    plan = build.plan_native_build(env, able(build, nvcc="/usr/local/bin/nvcc"))
    assert plan.cuda
    assert plan.cuda_required == (env.get("FEATDIV_CUDA") == "on")
    assert "will be built with /usr/local/bin/nvcc" in plan.notes[1]


@pytest.mark.parametrize(
    ("lack", "word"),
    [
        ({"nvcc": None}, "nvcc was not found; install the CUDA toolkit"),
        (
            {"nvcc": None, "nvcc_problem": "nvcc failed on a small kernel: unsupported GNU version"},
            "GNU version; install",
        ),
        ({"compiler": None}, r"install g\+\+ or clang\+\+"),
        ({"pybind11": None}, "pip install pybind11"),
        ({"system": "Darwin"}, "it is built on Linux; this is Darwin"),
    ],
)
def test_cuda_without_what_it_wants_is_left_out_or_refused(build, lack, word):
    machine = able(build, **{"nvcc": "/usr/local/bin/nvcc", **lack})
    plan = build.plan_native_build({}, machine)
    assert not plan.cuda
    assert re.search(rf"left out \(CuPy compiles at first use\): .*{word}", plan.notes[1])
    with pytest.raises(SystemExit, match=rf"FEATDIV_CUDA=on, but .*{word}"):
        build.plan_native_build({"FEATDIV_CUDA": "on"}, machine)


def test_code_for_the_named_capabilities_and_for_newer_ones(build):
    flags = build.cuda_flags(build.CUDA_ARCHS)
    assert flags[:2] == ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90a,code=sm_90a"]
    # Code of an architecture with a letter does not run on newer ones.
    assert flags[2:] == ["-gencode=arch=compute_90,code=compute_90"]


def test_kernels_are_found_in_a_source_and_listed(build):
    source = """
        template <int n> __device__ void body(double* out) { *out = n; }
        extern "C" __global__ void plain(double* out) { body<1>(out); }
        extern "C" __global__ void __launch_bounds__(featdiv::threads(2), 2)
            bounded(double* out) { body<2>(out); }
        extern "C" __global__ __launch_bounds__(64) void early(int* out) {}
        __global__ void hidden() {}
    """
    assert build.kernel_names(source) == ["plain", "bounded", "early"]
    table = build.kernel_table(Path("/csrc/cuda/some.cuh"), ["plain"])
    assert 'featdiv::Kernel table_plain("some.cuh", "plain", &plain);' in table
    assert table.startswith('#include "/csrc/cuda/some.cuh"\n')


def test_an_nvcc_that_does_not_work_is_not_taken(build, monkeypatch, tmp_path):
    broken = tmp_path / "bin" / "nvcc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'unsupported GNU version' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    nvcc, problem = build._working_nvcc("g++")
    assert nvcc is None
    assert problem == f"{broken} failed on a small kernel: unsupported GNU version"
    monkeypatch.setenv("FEATDIV_CUDA", "off")
    assert build._working_nvcc("g++") == (None, "")


@pytest.mark.parametrize("name", ["FEATDIV_CPU", "FEATDIV_CUDA"])
def test_a_switch_that_means_nothing_is_refused(build, name):
    with pytest.raises(SystemExit, match=f"{name}: expected auto, on or off; got 'yes'"):
        build.plan_native_build({name: "yes"}, able(build))


def test_sanitizers_are_asked_for(build):
    assert build.plan_native_build({"FEATDIV_SANITIZE": "1"}, able(build)).sanitize
    assert not build.plan_native_build({"FEATDIV_SANITIZE": "0"}, able(build)).sanitize


def test_what_kernels_include_is_installed_with_them(build):
    installed = {path.resolve() for path in build.runtime_sources()}
    for path in installed:
        for line in path.read_text().splitlines():
            if line.startswith('#include "'):
                assert (path.parent / line.split('"')[1]).resolve() in installed, f"{path}: {line}"
    assert {path.suffix for path in installed} == {".cuh", ".h"}


def test_every_source_is_listed(build):
    on_disk = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.cpp")}
    assert on_disk == {*build.CPU_SOURCES, *build.CUDA_SOURCES}


def test_only_the_bindings_see_pybind11_and_no_flag_breaks_ieee_arithmetic(build):
    seen = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "csrc").rglob("*.[ch]*")
        if "#include <pybind11" in path.read_text()
    }
    assert seen == {"csrc/bindings_cpu.cpp", "csrc/bindings_cuda.cpp"}
    every_flag = {*build.FLAGS, *(flag for flags in build.ISA_FLAGS.values() for flag in flags)}
    assert not every_flag & {"-ffast-math", "-Ofast", "-march=native", "-ffinite-math-only"}


def test_flags_of_a_machine_stand_only_where_the_processor_is_asked_first(build):
    """One build runs on every machine of its architecture: only kernels of an instruction set are compiled for it."""
    assert not [flag for flag in (*build.FLAGS, *build.WARNINGS) if flag.startswith("-m")]
    assert set(build.ISA_FLAGS) == {"isa_avx2", "isa_avx512", "isa_avx512vnni", "isa_amx", "isa_avx2vnni"}
    assert not [flag for flags in build.ISA_FLAGS.values() for flag in flags if flag.startswith(("-march", "-mtune"))]


def test_a_compiler_that_does_not_work_is_not_taken(build, monkeypatch, tmp_path):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'cannot find crt1.o' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    command, problem = build._working_compiler()
    assert command is None
    assert "cannot find crt1.o" in problem
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    command, problem = build._working_compiler()
    assert command is None
    assert "is not on PATH" in problem
