"""eigvals_batched: every backend against closed forms, known eigenvalues, and the equation that defines them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError
from featdiv.ops import _dispatch
from featdiv.ops.eigvals_batched import cupy_, eigvals_batched


@pytest.fixture(params=_dispatch.OPS["eigvals_batched"])
def backend(request):
    reason = _dispatch.unsupported_reason(_dispatch.Request(op="eigvals_batched", d=8), request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def with_eigenvalues(rng, values):
    basis = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("d", [1, 2, 3, 12])
def test_the_second_difference_has_a_closed_form(backend, d):
    """Diagonal 2, beside it -1: eigenvalues 4 sin^2(k pi / (2 d + 2)), vectors sin(j k pi / (d + 1))."""
    matrix = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    k = np.arange(1, d + 1)
    truth = 4 * np.sin(k * np.pi / (2 * d + 2)) ** 2
    got = eigvals_batched(np.stack([matrix, -matrix, 3 * matrix]), vectors=True, backend=backend)
    assert got.backend == backend
    np.testing.assert_allclose(got.values, [truth, -truth[::-1], 3 * truth], rtol=0, atol=1e-14 * d * 12)
    waves = np.sqrt(2 / (d + 1)) * np.sin(np.outer(k, k) * np.pi / (d + 1))
    np.testing.assert_allclose(np.abs((waves * got.vectors[0]).sum(axis=0)), 1.0, atol=1e-12)


@pytest.mark.parametrize("spread", ["even", "geometric", "repeated", "singular"])
def test_known_eigenvalues(backend, rng, spread):
    values = {
        "even": np.arange(-6.0, 7.0),
        "geometric": np.geomspace(1e-9, 1.0, 13),
        "repeated": np.array([1.0] * 6 + [2.0] * 7),
        "singular": np.array([0.0] * 9 + [1.0, 2.0, 5.0, 9.0]),
    }[spread]
    matrices = np.stack([with_eigenvalues(rng, values) for _ in range(2)])
    got = eigvals_batched(matrices, vectors=True, backend=backend)
    bound = 1e-14 * 13 * np.abs(values).max()
    assert np.abs(got.values - values).max() <= bound
    for matrix, w, v in zip(matrices, got.values, got.vectors, strict=True):
        assert np.abs(matrix @ v - v * w).max() <= bound
        assert np.abs(v.T @ v - np.eye(13)).max() <= 1e-13
    assert eigvals_batched(matrices, backend=backend).vectors is None


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e140])
def test_any_scale(backend, rng, scale):
    values = np.linspace(1.0, 2.0, 7)
    got = eigvals_batched(scale * with_eigenvalues(rng, values)[None], backend=backend).values[0]
    np.testing.assert_allclose(got / scale, values, rtol=1e-13)


def test_only_the_lower_triangle_is_read(backend, rng):
    matrices = np.stack([with_eigenvalues(rng, np.arange(5.0)) for _ in range(2)])
    spoilt = matrices + np.triu(np.full((5, 5), 7.0), 1)
    want = eigvals_batched(matrices, backend=backend).values
    assert np.array_equal(eigvals_batched(spoilt, backend=backend).values, want)


def test_a_matrix_does_not_depend_on_its_batch(backend, rng):
    matrices = np.stack([with_eigenvalues(rng, rng.normal(size=9)) for _ in range(5)])
    whole = eigvals_batched(matrices, backend=backend).values
    assert np.array_equal(whole[3], eigvals_batched(matrices[3:4], backend=backend).values[0])


@pytest.mark.parametrize("kind", ["float32", "float64", "tensor", "strided", "readonly"])
def test_every_kind_of_matrices(backend, rng, kind):
    matrices = np.stack([with_eigenvalues(rng, np.arange(1.0, 7.0)) for _ in range(6)])
    given = {
        "float32": matrices.astype(np.float32),
        "float64": matrices,
        "tensor": torch.from_numpy(matrices),
        "strided": np.repeat(matrices, 2, axis=0)[::2],
        "readonly": matrices.copy(),
    }[kind]
    if kind == "readonly":
        given.setflags(write=False)
    got = eigvals_batched(given, backend=backend).values
    np.testing.assert_allclose(got, np.tile(np.arange(1.0, 7.0), (6, 1)), rtol=1e-6 if kind == "float32" else 1e-13)


def test_no_matrices(backend):
    got = eigvals_batched(np.zeros((0, 4, 4)), vectors=True, backend=backend)
    assert got.values.shape == (0, 4)
    assert got.vectors.shape == (0, 4, 4)


def test_bad_matrices_are_refused(backend):
    with pytest.raises(InputError, match=r"expected shape \(b, d, d\) with d >= 1; got \(3, 2\)"):
        eigvals_batched(np.zeros((3, 2)), backend=backend)
    with pytest.raises(InputError, match="expected float32 or float64; got int64"):
        eigvals_batched(np.zeros((1, 2, 2), np.int64), backend=backend)
    matrices = np.zeros((4, 3, 3))
    matrices[2, 1, 0] = np.nan
    with pytest.raises(NonFiniteError, match="got 1 matrices with NaN or infinity, the first is matrix 2"):
        eigvals_batched(matrices, backend=backend)


@pytest.mark.parametrize("large", [256, 2])
@pytest.mark.parametrize("vectors", [False, True])
def test_cupy_solves_small_matrices_together_and_large_ones_in_turn(rng, monkeypatch, large, vectors):
    """NumPy stands for CuPy, which has its functions."""
    monkeypatch.setattr(cupy_, "LARGE", large)
    matrices = np.stack([with_eigenvalues(rng, np.arange(5.0) + shift) for shift in range(3)])
    got = cupy_.decomposed(np, matrices, vectors=vectors)
    np.testing.assert_allclose(got.values, np.arange(5.0) + np.arange(3.0)[:, None], atol=1e-13)
    assert (got.vectors is not None) == vectors
    if vectors:
        np.testing.assert_allclose(matrices @ got.vectors, got.vectors * got.values[:, None], atol=1e-12)
