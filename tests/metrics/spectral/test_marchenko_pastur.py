from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

import featdiv
from featdiv import NotEnoughData
from featdiv.metrics.spectral import marchenko_pastur


def density(x, beta):
    """The density as Marchenko & Pastur 1967 have it, in x itself."""
    lower, upper = (1.0 - math.sqrt(beta)) ** 2, (1.0 + math.sqrt(beta)) ** 2
    return math.sqrt(max(0.0, (upper - x) * (x - lower))) / (2.0 * math.pi * beta * x)


@pytest.mark.parametrize("beta", [1.0, 0.99, 0.5, 0.1, 1e-2, 1e-4])
def test_half_of_the_law_lies_below_the_median(beta):
    lower = (1.0 - math.sqrt(beta)) ** 2
    middle = marchenko_pastur.median(beta)
    # x = lower + u^2 takes the square-root singularity (at beta = 1: the pole) out of the integrand.
    below = quad(lambda u: 2.0 * u * density(lower + u * u, beta), 0.0, math.sqrt(middle - lower), limit=500)[0]
    assert below == pytest.approx(0.5, abs=1e-9)


def test_the_median_of_square_noise_as_published():
    # Gavish & Donoho 2014 give 2.858 = (4/sqrt(3)) / sqrt(mu_1) for square matrices.
    assert 4.0 / math.sqrt(3.0) / math.sqrt(marchenko_pastur.median(1.0)) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_the_distribution_runs_from_zero_to_one(beta):
    t = np.linspace(0.0, math.pi, 50)
    values = [marchenko_pastur.distribution(angle, beta) for angle in t]
    assert values[0] == pytest.approx(0.0, abs=1e-15)
    assert values[-1] == pytest.approx(1.0, abs=1e-14)
    assert np.all(np.diff(values) > 0.0)


@pytest.mark.parametrize("shape", [(1200, 300), (300, 1200), (500, 500)])
def test_noise_variance_is_recovered_on_both_sides_of_square(shape):
    x = 3.0 * np.random.default_rng(12).normal(size=shape)
    details = featdiv.marchenko_pastur(x).details
    assert details["variance"] == pytest.approx(9.0, rel=0.03)
    assert details["edge"] == pytest.approx(9.0 * (1.0 + math.sqrt(shape[1] / shape[0])) ** 2, rel=0.03)
    assert details["count"] <= 2


def test_signals_above_the_edge_are_counted():
    rng = np.random.default_rng(13)
    x = rng.normal(size=(4000, 100))
    x[:, :5] *= 2.5
    assert float(featdiv.marchenko_pastur(x)) == 5.0


def test_pure_noise_counts_one_in_about_a_sixth_of_draws(eigenvalues):
    rng = np.random.default_rng(14)
    counts = []
    for _ in range(200):
        x = rng.normal(size=(400, 60))
        values = np.linalg.eigvalsh(x.T @ x / 400)[::-1]
        counts.append(marchenko_pastur.core(eigenvalues(values, n=400, centered=False)))
    share = np.mean(np.asarray(counts) > 0)
    assert 0.08 < share < 0.28
    assert max(counts) <= 2


def test_count_edge_and_variance_by_hand(eigenvalues):
    values = np.array([30.0, 1.2, 1.0, 0.9, 0.8])
    fit = marchenko_pastur.fit(eigenvalues(values, n=500))
    expected = 1.0 / marchenko_pastur.median(0.01)
    assert fit.variance == pytest.approx(expected)
    assert fit.edge == pytest.approx(expected * 1.1**2)
    assert fit.count == 1


def test_low_rank_rows_have_no_noise_level():
    x = np.random.default_rng(15).normal(size=(500, 3)) @ np.eye(3, 10)
    with pytest.raises(NotEnoughData, match=r"median eigenvalue lies below the noise floor \(3 of 10 lie above it\)"):
        featdiv.marchenko_pastur(x)
