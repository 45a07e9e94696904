from __future__ import annotations

import math

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


D = 32
SPREAD = np.arange(1.0, D + 1) ** -0.5


def two_sets(n, m, seed, scale):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, D)) * SPREAD, random.standard_normal((m, D)) * SPREAD * scale


def test_an_interval_leaves_out_parts_of_either_set():
    """The jackknife written out, on rows: biases and variances of the two sets add up."""
    x, y = two_sets(2048, 1536, 0, 1.2)
    found = featdiv.frechet_distance(x, y, interval="jackknife")
    corrections, variances = [], []
    for rows, distance in (
        (x, lambda rest: float(featdiv.frechet_distance(rest, y))),
        (y, lambda rest: float(featdiv.frechet_distance(x, rest))),
    ):
        g = len(rows) // 256
        part = np.arange(len(rows)) // 256 % g
        values = np.array([distance(rows[part != j]) for j in range(g)])
        pseudo = g * found.value - (g - 1) * values
        corrections.append(pseudo.mean() - found.value)
        variances.append(pseudo.var(ddof=1) / g)
    interval = found.interval
    assert (interval.groups, interval.estimand) == (6, "population")
    assert interval.standard_error == pytest.approx(math.sqrt(sum(variances)), rel=1e-6)
    assert (interval.low + interval.high) / 2 == pytest.approx(found.value + sum(corrections), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1.2, np.linspace(0.5, 1.5, D)], ids=["same", "wider", "other shape"])
def test_intervals_cover_the_population_which_the_distance_itself_overestimates(scale):
    truth = float((SPREAD**2 * (1.0 - scale) ** 2).sum())
    scores = [featdiv.frechet_distance(*two_sets(2560, 2560, seed, scale), interval="auto") for seed in range(100)]
    assert all(score.interval.estimand == "population" for score in scores)
    seen = np.mean([truth in score.interval for score in scores])
    # Where the two populations are the same, the error of a distance is no longer normal, and smaller than it seems.
    assert 0.88 <= seen <= (1.0 if np.all(scale == 1.0) else 0.99)
    assert np.mean([score.value for score in scores]) - truth > 0.015


def test_few_rows_get_the_other_estimand():
    x, y = two_sets(1500, 1300, 1, 1.2)
    interval = featdiv.frechet_distance(np.tile(x, (1, 3)), np.tile(y, (1, 3)), interval="jackknife").interval
    assert interval.estimand == "expected at n=1500 and 1300, d=96"


def test_groups_stay_whole():
    x, y = two_sets(1500, 1500, 2, 1.2)
    ids = np.repeat(np.arange(100), 15)
    rows = np.repeat(x[:100], 15, axis=0)
    naive = featdiv.frechet_distance(rows, y, interval="jackknife", groups=np.random.default_rng(0).permutation(1500))
    whole = featdiv.frechet_distance(rows, y, interval="jackknife", groups=ids)
    assert whole.interval.standard_error > 2.0 * naive.interval.standard_error
    both = featdiv.frechet_distance(rows, rows, interval="jackknife", groups=ids, other_groups=ids)
    assert both.interval.low >= 0.0


def test_an_interval_that_cannot_be_had():
    x, y = two_sets(1500, 600, 3, 1.2)
    few = featdiv.frechet_distance(x, y, interval="auto")
    assert few.interval is None
    assert any("no interval: other: a jackknife needs at least 5 slabs" in note for note in few.provenance.notes)
    kept = featdiv.frechet_distance(featdiv.Moments.of(x, precision="float64"), x, interval="auto")
    assert any("no interval: x: x is Moments, one part" in note for note in kept.provenance.notes)
    with pytest.raises(InputError, match="frechet_distance: interval: 'jackknife' cannot be had here: a jackknife"):
        featdiv.frechet_distance(x, y, interval="jackknife")
