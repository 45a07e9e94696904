from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError
from featdiv.metrics.spectral import coding_rate


@pytest.mark.parametrize("eps_squared", [0.5, 0.01])
@pytest.mark.parametrize("shape", [(200, 12), (10, 30)])
def test_it_is_the_log_determinant(shape, eps_squared):
    x = np.random.default_rng(16).normal(size=shape) + 1.0
    n, d = shape
    expected = 0.5 * np.linalg.slogdet(np.eye(d) + d / (n * eps_squared) * x.T @ x)[1]
    score = featdiv.coding_rate(x, eps_squared=eps_squared, precision="float64")
    assert score.value == pytest.approx(expected, rel=1e-9)
    length = featdiv.coding_rate(x, eps_squared=eps_squared, precision="float64", definition="length")
    assert length.value == pytest.approx((n + d) * expected, rel=1e-9)


def test_rows_may_be_normalised_first():
    x = np.random.default_rng(17).normal(size=(100, 8))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = 0.5 * np.linalg.slogdet(np.eye(8) + 8 / 50.0 * u.T @ u)[1]
    assert float(featdiv.coding_rate(x, normalize="l2")) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("eps_squared", [0.0, -1.0, float("nan")])
def test_distortion_must_be_positive(eps_squared, rows):
    with pytest.raises(InputError, match="coding_rate: eps_squared: expected a number above 0"):
        featdiv.coding_rate(rows, eps_squared=eps_squared)


def test_centred_eigenvalues_are_refused(eigenvalues):
    with pytest.raises(InputError, match="coding_rate: eigenvalues: expected uncentred ones"):
        coding_rate.core(eigenvalues([2.0, 1.0]))
