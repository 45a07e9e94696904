"""The CUDA sources, compiled without a GPU: by NVRTC as at first use, and by nvcc where it is installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess

import pytest

from featdiv.errors import FeatdivError
from featdiv.ops import _cuda_moments, _cuda_sm90, _cupy

HEADERS = sorted((_cupy.sources() / "cuda").glob("*.cuh"))
SOURCES = [path for path in HEADERS if "__global__" in path.read_text(encoding="utf-8")]
BFLOAT16, FLOAT64 = "m16n8k16.row.col.f32.bf16.bf16.f32", "m8n8k4.row.col.f64.f64.f64.f64"
PRODUCTS = {"gram.cuh": {BFLOAT16, "m16n8k16.row.col.f32.f16.f16.f32", FLOAT64}}
"""Source to the shapes and types of the products in it, where they are part of its design."""

WARPGROUPS = {"m64n128k16.f32.bf16.bf16", "m64n128k16.f32.f16.f16"}


def test_there_are_sources():
    assert {"eigvals.cuh", "gram.cuh", "moments.cuh", "topk.cuh"} <= {path.name for path in SOURCES}


def test_every_product_of_the_table_is_a_kernel(emulator):
    path = _cupy.sources() / "cuda" / "gram.cuh"
    assert set(emulator.kernels(path)) == {*_cuda_moments.GRAM_KERNELS, "sum_segments"}
    assert set(emulator.kernels(path.with_name("gram_sm90.cuh"))) == set(_cuda_sm90.GRAM_KERNELS)
    assert set(emulator.kernels(path.with_name("gram_rows_sm90.cuh"))) == set(_cuda_sm90.ROW_KERNELS)


def test_only_sources_for_one_architecture_look_at_it():
    """The others are the same for each, so that NVRTC compiles them for the oldest below and nvcc for the newest."""
    looking = {path.name for path in HEADERS if "__CUDA_ARCH" in path.read_text(encoding="utf-8")}
    assert looking == {"units_sm90.cuh"}
    including = {path.name for path in HEADERS if '"units_sm90.cuh"' in path.read_text(encoding="utf-8")}
    assert including <= {"warpgroups_sm90.cuh", *_cupy.ARCHITECTURES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nvrtc_compiles_them_without_spills(path, emulator):
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("cupy, which brings NVRTC, is not installed")
    from cupy.cuda import nvrtc

    arch = _cupy.ARCHITECTURES.get(path.name, "sm_80").removeprefix("sm_")
    program = nvrtc.createProgram(path.read_text(), path.name, [], [])
    options = [*_cupy.compile_options(_cupy.sources()), f"-arch=sm_{arch}", "--ptxas-options=-v"]
    try:
        nvrtc.compileProgram(program, options)
        code, assembly = nvrtc.getCUBIN(program), nvrtc.getPTX(program).decode()
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    log = nvrtc.getProgramLog(program)
    assert code.startswith(b"\x7fELF")
    names = set(emulator.kernels(path))
    assert names
    assert set(re.findall(r"\.entry (\w+)\(", assembly)) == names
    made = set(re.findall(r"mma\.sync\.aligned\.(\S+)", assembly))
    assert made == PRODUCTS.get(path.name, made)
    of_warpgroups = set(re.findall(r"wgmma\.mma_async\.sync\.aligned\.(\S+)", assembly))
    assert of_warpgroups == (WARPGROUPS if arch == "90a" else set())
    assert "serialized" not in log, "products that wait for one another"
    reports = [line for line in log.splitlines() if "spill" in line]
    assert len(reports) >= len(names)
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in reports), log


def test_what_cupy_would_compile_for_another_target_is_compiled_ahead(monkeypatch, tmp_path):
    """Once: the second call finds the file."""
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("cupy, which brings NVRTC, is not installed")
    asked = []
    monkeypatch.setattr(_cupy, "compiled", lambda *arguments: asked.append(arguments) or b"code")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kept"))
    first, second = (_cupy._compiled_ahead(_cupy.sources(), "gram_sm90.cuh") for _ in range(2))
    assert first == second
    assert first.read_bytes() == b"code"
    ((source, code, options),) = asked
    assert (source, options[-1]) == ("gram_sm90.cuh", "-arch=sm_90a")
    assert "FEATDIV_GRAM_SM90" in code
    monkeypatch.undo()
    small = 'extern "C" __global__ void nothing() {}'
    assert _cupy.compiled("small.cu", small, ("-arch=sm_90a",)).startswith(b"\x7fELF")
    with pytest.raises(FeatdivError, match=r"small\.cu does not compile: [\s\S]*undefined_name"):
        _cupy.compiled("small.cu", small.replace("{}", "{ undefined_name(); }"), ("-arch=sm_90a",))


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nvcc_compiles_them_without_spills_or_warnings(path, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    # The module holds every source for every architecture; those for one of them are empty for the others.
    wanted = ("80", "90a") if path.name in _cupy.ARCHITECTURES else ("90a",)
    architectures = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in wanted]
    options = ["-std=c++17", "-O3", "-Xptxas", "-v", "-Werror", "all-warnings", *architectures]
    run = subprocess.run(
        [nvcc, *options, "-x", "cu", "-c", str(path), "-o", str(tmp_path / "kernel.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "serialized" not in run.stderr, "products of warpgroups that wait for one another"
    reports = [line for line in run.stderr.splitlines() if "spill" in line]
    assert len(reports) >= len(wanted)
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in reports), run.stderr
