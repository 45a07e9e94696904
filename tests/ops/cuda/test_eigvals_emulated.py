"""The arithmetic of the CUDA Jacobi kernel, run on the host: schedule, rotations, order, convergence."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from featdiv.ops import _cupy
from featdiv.ops.eigvals_batched import cuda_

DOUBLES = np.ctypeslib.ndpointer(np.float64, flags="C")


@pytest.fixture(scope="module")
def emulate(tmp_path_factory):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is on PATH")
    library = tmp_path_factory.mktemp("emulation") / "eigvals.so"
    source = Path(__file__).with_name("emulate_eigvals.cpp")
    options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{_cupy.sources() / 'core'}"]
    subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).emulate_eigvals
    function.argtypes = [DOUBLES, ctypes.c_int, ctypes.c_int, ctypes.c_int, DOUBLES, DOUBLES]

    def run(matrix, threads=256, backwards=False):
        d = len(matrix)
        values, vectors = np.full(d, np.nan), np.full((d, d), np.nan)
        sweeps = function(np.ascontiguousarray(matrix), d, threads, backwards, values, vectors)
        return sweeps, values, vectors

    return run


@pytest.mark.parametrize("d", [1, 2, 3, 4, 17, 64, 101])
def test_random_matrices_against_lapack(emulate, d):
    half = np.random.default_rng(d).normal(size=(d, d))
    matrix = half + half.T
    sweeps, values, vectors = emulate(matrix)
    assert 0 <= sweeps <= 14
    bound = 1e-14 * d * np.abs(matrix).max() * 4
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=0, atol=bound)
    assert np.abs(matrix @ vectors - vectors * values).max() <= bound
    assert np.abs(vectors.T @ vectors - np.eye(d)).max() <= 1e-13


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(np.zeros((5, 5)), id="zero"),
        pytest.param(np.eye(6), id="identity"),
        pytest.param(np.ones((7, 7)), id="rank one"),
        pytest.param(np.diag([3.0, -1.0, 3.0, 0.0]), id="diagonal"),
        pytest.param(1e-200 * (np.ones((4, 4)) + np.eye(4)), id="tiny"),
        pytest.param(1e200 * (np.ones((4, 4)) + np.eye(4)), id="huge"),
        pytest.param(np.diag([1.0, 1e-200]) + 1e-160 * np.ones((2, 2)), id="below what matters"),
    ],
)
def test_special_matrices(emulate, matrix):
    sweeps, values, _ = emulate(matrix)
    assert sweeps >= 0
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-13, atol=1e-14 * np.abs(matrix).max())


@pytest.mark.parametrize("d", [6, 7])
def test_neither_the_number_of_threads_nor_their_order_matters(emulate, d):
    """Each phase would give other numbers if a thread read what another one writes."""
    half = np.random.default_rng(1).normal(size=(d, d))
    _, want, columns = emulate(half + half.T, threads=1)
    for threads in (2, 5, 256):
        for backwards in (False, True):
            _, got, vectors = emulate(half + half.T, threads=threads, backwards=backwards)
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(vectors, columns)


def test_work_space_is_bounded():
    assert cuda_.workspace(10_000, 64, vectors=False) == (1024, 64 * 64)
    assert cuda_.workspace(3, 2, vectors=True) == (3, 8)
    blocks, numbers = cuda_.workspace(10_000, 256, vectors=True)
    assert blocks * numbers * 8 <= 1 << 28
