from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.metrics.spectral import noise

SHAPES = [(400, 50), (60, 200), (150, 150), (3000, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(noise.BASELINES))
def test_it_is_what_noise_gives(name, shape):
    rng = np.random.default_rng(shape[0])
    draws = np.array([float(getattr(featdiv, name)(rng.normal(size=shape), precision="float64")) for _ in range(12)])
    expected = noise.baselines([name], *shape)[name]
    error = draws.std(ddof=1) / np.sqrt(len(draws))
    # The law is that of infinite n and d: what is left falls as 1/min(n, d).
    assert abs(draws.mean() - expected) < 4.0 * error + 0.3 * abs(expected) / min(shape) + 1e-12


def test_the_quadrature_has_the_moments_of_the_law():
    for beta in (0.01, 0.5, 1.0):
        _, x, weights = noise._law(round(1000 * beta), 1000)
        assert weights @ x == pytest.approx(1.0, rel=1e-3 if beta == 1.0 else 1e-12)
        assert weights @ x**2 == pytest.approx(1.0 + beta, rel=1e-3 if beta == 1.0 else 1e-12)


def test_a_warning_names_only_what_is_at_the_floor():
    words = noise.remarks({"effective_rank": 47.0, "rankme": 10.0}, 400, 50)
    assert len(words) == 1
    assert "effective_rank 47" in words[0]
    assert "rankme" not in words[0]
    assert noise.remarks({"rankme": 10.0}, 400, 50) == ()
    assert noise.baselines(["vendi"], 2, 50) == {}
