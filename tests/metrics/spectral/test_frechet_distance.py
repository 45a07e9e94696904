from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics.spectral import frechet_distance


def by_sqrtm(x, y):
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    cross = np.trace(scipy.linalg.sqrtm(s1 @ s2).real)
    return np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(s1) + np.trace(s2) - 2.0 * cross


@pytest.mark.parametrize("d", [2, 25])
def test_against_the_matrix_square_root(d):
    rng = np.random.default_rng(27)
    x = rng.normal(size=(400, d)) @ rng.normal(size=(d, d))
    y = rng.normal(size=(300, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    assert float(featdiv.frechet_distance(x, y)) == pytest.approx(by_sqrtm(x, y), rel=1e-7)


def test_commuting_covariances_have_a_closed_form(moments_of):
    signs = np.array([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1.0]])  # orthogonal, centred columns
    a, b, shift = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 0.5]), np.array([1.0, 0.0, -2.0])
    expected = np.sum(shift**2) + np.sum((a - b) ** 2) * 4.0 / 3.0
    assert frechet_distance.core(moments_of(signs * a), moments_of(signs * b + shift)) == pytest.approx(expected)


def test_the_same_moments_are_at_distance_zero(rows, moments_of):
    moments = moments_of(rows)
    assert frechet_distance.core(moments, moments) == pytest.approx(0.0, abs=1e-12 * np.trace(moments.covariance))


def test_a_translation_costs_its_squared_length(rows):
    shift = np.linspace(-1.0, 1.0, 45)
    assert float(featdiv.frechet_distance(rows, rows + shift)) == pytest.approx(np.sum(shift**2), rel=1e-9)


def test_singular_covariances_do_not_lose_digits(moments_of):
    # Rank 4 each, in planes that share two directions: only these contribute to the cross term.
    basis = np.linalg.qr(np.random.default_rng(28).normal(size=(60, 60)))[0]
    signs = np.linalg.qr(np.random.default_rng(29).normal(size=(200, 5)))[0]
    signs = np.linalg.qr(signs - signs.mean(axis=0))[0][:, :4] * np.sqrt(199.0)
    x, y = signs @ basis[:, :4].T, signs @ basis[:, 2:6].T
    assert frechet_distance.core(moments_of(x), moments_of(y)) == pytest.approx(4.0, rel=1e-9)


def test_it_is_symmetric_and_never_negative(rows, moments_of):
    a, b = moments_of(rows[:200]), moments_of(rows[100:])
    assert frechet_distance.core(a, b) == pytest.approx(frechet_distance.core(b, a), rel=1e-9)
    assert frechet_distance.core(a, b) > 0.0
    nearly = moments_of(rows[:200] * (1.0 + 1e-15))
    assert 0.0 <= frechet_distance.core(a, nearly) < 1e-10


def test_two_sets_that_do_not_match_are_refused(rows, moments_of):
    with pytest.raises(InputError, match="frechet_distance: other: expected d=45 features, as x has; got d=44"):
        featdiv.frechet_distance(rows, rows[:, 1:])
    with pytest.raises(InputError, match="other: expected moments made with normalize='l2', as those of x; got"):
        featdiv.frechet_distance(moments_of(rows, "l2"), moments_of(rows))
    with pytest.raises(NotEnoughData, match="frechet_distance: a covariance needs at least 2 rows; got 1"):
        featdiv.frechet_distance(rows, rows[:1])


def test_the_second_set_is_in_the_provenance(rows):
    score = featdiv.frechet_distance(rows, rows[:100])
    assert score.provenance.arguments["other_n"] == 100
    assert "100 x 45" in score.provenance.arguments["other"]
    assert score.provenance.precision == "float64"
