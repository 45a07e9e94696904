"""The CUDA Jacobi kernel, played on the host: schedule, rotations, order, convergence."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.errors import FeatdivError
from featdiv.ops.eigvals_batched import cuda_

pytestmark = pytest.mark.usefixtures("played")


def symmetric(d: int, seed: int = 0, b: int = 1):
    half = np.random.default_rng(seed).normal(size=(b, d, d))
    return half + half.transpose(0, 2, 1)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 17, 64, 101])
def test_random_matrices_against_lapack(d):
    matrices = symmetric(d, seed=d, b=2)
    found = cuda_.eigvals_batched(matrices, vectors=True)
    bound = 1e-14 * d * np.abs(matrices).max() * 4
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(matrices), rtol=0, atol=bound)
    assert np.abs(matrices @ found.vectors - found.vectors * found.values[:, None]).max() <= bound
    assert np.abs(found.vectors.transpose(0, 2, 1) @ found.vectors - np.eye(d)).max() <= 1e-13


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
def test_special_matrices(matrix):
    values = cuda_.eigvals_batched(matrix[None], vectors=False).values[0]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-13, atol=1e-14 * np.abs(matrix).max())


@pytest.mark.parametrize("d", [6, 7])
def test_the_order_of_threads_does_not_matter(played, d):
    """Each phase would give other numbers if a thread read what another one writes."""
    found = []
    for played.backwards in (False, True):
        found.append(cuda_.eigvals_batched(symmetric(d, seed=1), vectors=True))
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].vectors, found[1].vectors)


def test_a_matrix_does_not_depend_on_its_batch(monkeypatch):
    """Ten matrices by three blocks of threads, each of which works on several."""
    matrices = symmetric(5, b=10)
    monkeypatch.setattr(cuda_, "_BLOCKS", 3)
    together = cuda_.eigvals_batched(matrices, vectors=False).values
    for matrix, values in zip(matrices, together, strict=True):
        np.testing.assert_array_equal(cuda_.eigvals_batched(matrix[None], vectors=False).values[0], values)


def test_a_matrix_that_does_not_converge_is_named():
    matrices = symmetric(4, b=3)
    matrices[1, 2, 1] = np.nan
    with pytest.raises(FeatdivError, match="the rotations of matrix 1 did not come to an end"):
        cuda_.eigvals_batched(matrices, vectors=False)


def test_work_space_is_bounded():
    assert cuda_.workspace(10_000, 64, vectors=False) == (1024, 64 * 64)
    assert cuda_.workspace(3, 2, vectors=True) == (3, 8)
    blocks, numbers = cuda_.workspace(10_000, 256, vectors=True)
    assert blocks * numbers * 8 <= 1 << 28
