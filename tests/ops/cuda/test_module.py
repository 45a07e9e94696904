"""featdiv._cuda: built for real where nvcc is, loaded without a GPU, and every fault told in words."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from featdiv.errors import FeatdivError
from featdiv.ops import _cuda, _cupy

ROOT = Path(__file__).resolve().parents[3]
EIGVALS = [8, 8, 4, 8, 8, 8, 8, 8]
"""Bytes of each parameter of the kernel eigvals_batched."""


@pytest.fixture
def fresh():
    _cuda._load.cache_clear()
    yield
    _cuda._load.cache_clear()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The module, built by setup.py for one architecture, of the kernels of one source."""
    if shutil.which("nvcc") is None or importlib.util.find_spec("pybind11") is None:
        pytest.skip("nvcc or pybind11 is not installed")
    folder = tmp_path_factory.mktemp("cuda")
    tree = folder / "tree"
    for name in ("csrc/core", "csrc/cuda"):
        shutil.copytree(ROOT / name, tree / name)
    for path in (tree / "csrc" / "cuda").glob("*.cuh"):
        if path.name not in ("eigvals.cuh", "units.cuh"):
            path.unlink()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "csrc/bindings_cuda.cpp"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "src" / "featdiv").mkdir(parents=True)
    shutil.copy(ROOT / "src" / "featdiv" / "__init__.py", tree / "src" / "featdiv")
    options = ["build_ext", "--build-lib", str(folder / "lib"), "--build-temp", str(folder / "objects")]
    setting = {"FEATDIV_CPU": "off", "FEATDIV_CUDA": "on", "FEATDIV_CUDA_ARCHS": "80"}
    command = [sys.executable, "setup.py", "-q", *options]
    run = subprocess.run(command, cwd=tree, env={**os.environ, **setting}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    (library,) = (folder / "lib" / "featdiv").glob("_cuda*.so")
    # Under featdiv's own name pybind11 would hand out the module that is loaded already, where there is one.
    spec = importlib.util.spec_from_file_location("of_one_kernel._cuda", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_kernel_would_be_in_the_module(emulator):
    """What setup.py finds in a preprocessed source, and what the compiler of the emulator finds."""
    spec = importlib.util.spec_from_file_location("featdiv_setup_for_cuda", ROOT / "setup.py")
    build = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = build
    spec.loader.exec_module(build)
    for path in sorted((_cupy.sources() / "cuda").glob("*.cuh")):
        command = [emulator.compiler, "-std=c++17", "-E", "-P", "-x", "c++", str(path)]
        expanded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert build.kernel_names(expanded) == emulator.kernels(path), path.name


@pytest.mark.slow
def test_the_module_that_nvcc_builds(built):
    assert built.INTERFACE == _cuda.INTERFACE
    assert built.ARCHITECTURES == "80"
    assert built.kernels() == [("eigvals.cuh", "eigvals_batched")]
    what = {"source": "eigvals.cuh", "grid": (1, 1, 1), "threads": 32, "shared_bytes": 0, "stream": 0, "device": 0}
    assert "no kernel absent" in built.launch(name="absent", **what, slots=b"", sizes=[])
    for sizes in ([8], [8] * 8):
        said = built.launch(name="eigvals_batched", **what, slots=b"0" * 8 * len(sizes), sizes=sizes)
        assert "the arguments are not those of the kernel: 8 expected" in said
    if not torch.cuda.is_available():
        assert "cuda" in built.missing_device().lower()
        said = built.launch(name="eigvals_batched", **what, slots=b"0" * 64, sizes=EIGVALS)
        assert said.startswith("cudaSetDevice: ")


@pytest.mark.usefixtures("fresh")
def test_what_is_missing_is_explained(monkeypatch):
    true = importlib.import_module

    def importing(outcome):
        def import_module(name):
            if name != "featdiv._cuda":
                return true(name)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        _cuda._load.cache_clear()
        monkeypatch.setattr(importlib, "import_module", import_module)

    importing(ModuleNotFoundError("no", name="featdiv._cuda"))
    assert "is not built" in _cuda.missing()
    assert "CuPy compiles the kernels at first use" in _cuda.describe()
    importing(ImportError("undefined symbol: zap"))
    assert "does not load: undefined symbol: zap" in _cuda.missing()
    importing(SimpleNamespace(INTERFACE=-1))
    assert "of another version" in _cuda.missing()
    with pytest.raises(FeatdivError, match=r"some: featdiv\._cuda is of another version"):
        _cuda.launch("any.cuh", "some", grid=(1,), threads=32, arguments=(), device=torch.device("cuda", 0))
    module = SimpleNamespace(
        INTERFACE=_cuda.INTERFACE, TOOLKIT=13020, ARCHITECTURES="80 90a", missing_device=lambda: "no driver"
    )
    importing(module)
    assert _cuda.missing() is None
    assert _cuda.describe() == "featdiv._cuda (CUDA 13.2) for compute capability 80, 90a; no device: no driver"


def test_backends_launch_through_the_module_where_it_is(monkeypatch):
    asked = []
    module = SimpleNamespace(launch=lambda **what: asked.append(what) or ("out of luck" if len(asked) > 1 else ""))
    monkeypatch.setattr(_cuda, "_load", lambda: (module, ""))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=4096 + device.index))
    numbers = torch.arange(3.0)

    def launch():
        _cupy.launch(
            *("eigvals.cuh", "eigvals_batched"),
            grid=(5, 2),
            threads=64,
            arguments=(numbers, None, np.int32(-7), np.float64(0.5)),
            device=torch.device("cuda", 3),
            shared_bytes=1 << 16,
        )

    launch()
    (what,) = asked
    assert what["sizes"] == [8, 8, 4, 8]
    address, nothing = np.frombuffer(what["slots"][:16], np.uint64)
    assert (address, nothing) == (numbers.data_ptr(), 0)
    assert np.frombuffer(what["slots"][16:20], np.int32) == -7
    assert what["slots"][20:24] == b"\0" * 4
    assert np.frombuffer(what["slots"][24:], np.float64) == 0.5
    assert (what["grid"], what["threads"], what["shared_bytes"]) == ((5, 2, 1), 64, 1 << 16)
    assert (what["device"], what["stream"]) == (3, 4099)
    with pytest.raises(FeatdivError, match="eigvals_batched: the kernel could not be launched: out of luck"):
        launch()
