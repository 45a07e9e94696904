"""The CUDA sources, compiled without a GPU: by NVRTC as at first use, and by nvcc where it is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

from featdiv.ops import _cupy

HEADERS = sorted((_cupy.sources() / "cuda").glob("*.cuh"))
SOURCES = [path for path in HEADERS if "__global__" in path.read_text(encoding="utf-8")]


def test_there_are_sources():
    assert {"eigvals.cuh", "topk.cuh"} <= {path.name for path in SOURCES}


@pytest.mark.parametrize("arch", ["80", "90"])
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nvrtc_compiles_them(path, arch, emulator):
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("cupy, which brings NVRTC, is not installed")
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(path.read_text(), path.name, [], [])
    try:
        nvrtc.compileProgram(program, ["-std=c++17", f"-I{path.parent}", f"-arch=sm_{arch}"])
        code = nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert code.startswith(b"\x7fELF")
    names = emulator.kernels(path)
    assert names
    assert all(name.encode() in code for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nvcc_compiles_them_without_spills_or_warnings(path, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    architectures = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ("80", "90a")]
    options = ["-std=c++17", "-O3", "-Xptxas", "-v", "-Werror", "all-warnings", *architectures]
    run = subprocess.run(
        [nvcc, *options, "-x", "cu", "-c", str(path), "-o", str(tmp_path / "kernel.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    reports = [line for line in run.stderr.splitlines() if "spill" in line]
    assert len(reports) >= 2
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in reports), run.stderr
