from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

import featdiv
from featdiv import BackendUnavailable, InputError, NotEnoughData
from featdiv.metrics.geometric import intrinsic_dimension
from featdiv.stats.neighbours import Neighbours


def sheet(n, dimension, width=12, seed=0):
    """Rows spread evenly over a flat torus of that dimension, turned into more features."""
    rng = np.random.default_rng(seed)
    angle = 2.0 * np.pi * rng.random((n, dimension))
    x = np.concatenate([np.cos(angle), np.sin(angle), np.zeros((n, width - 2 * dimension))], axis=1)
    return x @ np.linalg.qr(rng.normal(size=(width, width)))[0] + 5.0


@pytest.mark.parametrize("definition", intrinsic_dimension.DEFINITIONS)
@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_an_even_sheet_has_its_dimension(definition, dimension):
    score = featdiv.intrinsic_dimension(sheet(4000, dimension), definition=definition)
    assert float(score) == pytest.approx(dimension, rel=0.08)
    assert score.interval.standard_error < 0.08 * dimension


def test_the_interval_covers_a_flat_line():
    score = featdiv.intrinsic_dimension(sheet(6000, 1))
    assert 1.0 in score.interval


def by_hand(x, k):
    distances = cKDTree(x).query(x, k + 1)[0][:, 1:]
    inverse = np.log(distances[:, [k - 1]] / distances[:, : k - 1]).mean(axis=1)
    return 1.0 / inverse.mean()


def test_mle_averages_inverses_over_rows_and_values_over_k():
    x = sheet(300, 3)
    expected = np.mean([by_hand(x, k) for k in range(5, 9)])
    score = featdiv.intrinsic_dimension(x, definition="mle", k=(5, 8))
    assert float(score) == pytest.approx(expected, rel=1e-10)
    assert float(featdiv.intrinsic_dimension(x, definition="mle", k=6)) == pytest.approx(by_hand(x, 6), rel=1e-10)


def test_ratios_that_follow_the_law_exactly_give_the_exponent():
    # ln mu_i = -ln(1 - i/n) / d lies on the fitted line for every i.
    n, d = 200, 7.0
    mu = np.exp(-np.log1p(-np.arange(1, n) / n) / d)
    distances = np.stack([np.ones(n - 1), mu], axis=1)
    distances = np.concatenate([distances, [[1.0, 1e6]]])
    assert intrinsic_dimension.estimate(distances) == pytest.approx(d, rel=1e-12)


def test_discard_leaves_out_the_largest_ratios():
    n = 100
    distances = np.stack([np.ones(n), np.linspace(1.1, 2.0, n)], axis=1)
    spoilt = distances.copy()
    spoilt[-10:, 1] = 1e9
    assert intrinsic_dimension.estimate(spoilt) == intrinsic_dimension.estimate(distances)
    assert intrinsic_dimension.estimate(spoilt, discard=0.05) != intrinsic_dimension.estimate(distances, discard=0.05)


@pytest.mark.parametrize("definition", ["twonn", "mle"])
def test_copies_change_nothing_and_are_counted(definition):
    x = sheet(600, 2)
    order = np.random.default_rng(3).permutation(700)
    # Some points twice, one eleven times: copies are neighbours of their originals and of all rows near them.
    copied = np.concatenate([x, x[:90], np.repeat(x[100:101], 10, axis=0)])[order]
    score = featdiv.intrinsic_dimension(copied, definition=definition)
    assert float(score) == pytest.approx(float(featdiv.intrinsic_dimension(x, definition=definition)), rel=1e-12)
    assert score.details["copies"] == 100
    assert "100 rows that equal an earlier one were left out" in score.provenance.notes[0]


def test_zeros_of_either_sign_are_equal():
    x = sheet(300, 2)
    x[:, 2] = 0.0
    twin = x[:50].copy()
    twin[:, 2] = -0.0
    assert featdiv.intrinsic_dimension(np.concatenate([x, twin])).details["copies"] == 50


def test_copies_of_few_points_are_not_enough():
    with pytest.raises(NotEnoughData, match="intrinsic_dimension: 2 neighbours need at least 3 different rows; got 2"):
        featdiv.intrinsic_dimension(np.tile(np.eye(2), (30, 1)))


@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_draws():
    """Rows that are one another's nearest share a distance: taken for independent, they give 0.75 of the spread."""
    scores = [featdiv.intrinsic_dimension(np.random.default_rng(seed).normal(size=(1500, 2))) for seed in range(150)]
    spread = np.std([float(score) for score in scores], ddof=1)
    errors = [score.intervals["intrinsic_dimension"].standard_error for score in scores]
    assert 0.88 < np.mean(errors) / spread < 1.2


def test_a_table_made_elsewhere_is_read(monkeypatch):
    x = sheet(500, 2)
    near = Neighbours.of(x, k=25, distance="l2")
    alone = featdiv.intrinsic_dimension(x, definition="mle")
    monkeypatch.setattr(intrinsic_dimension, "search", None)
    assert float(featdiv.intrinsic_dimension(x, definition="mle", neighbours=near)) == pytest.approx(float(alone))
    with pytest.raises(InputError, match="neighbours: expected 30 or more of each of 500 rows"):
        featdiv.intrinsic_dimension(x, definition="mle", k=30, neighbours=near)
    with pytest.raises(InputError, match=r"by distance='l2'; got 3 of 500 rows by 'cosine'"):
        featdiv.intrinsic_dimension(x, neighbours=Neighbours.of(x, k=3))


def test_a_sample_says_so():
    score = featdiv.intrinsic_dimension(sheet(1000, 2), sample=400)
    assert score.details["sample"] == 400
    assert score.provenance.method == "all neighbours in a sample"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"definition": "danco"}, "definition: expected one of 'twonn', 'mle'"),
        ({"discard": 1.0}, r"discard: expected a share in \[0, 1\)"),
        ({"k": (5, 4)}, "k: expected a number of neighbours"),
        ({"k": 1}, "k: expected a number of neighbours"),
        ({"k": 1.5}, "k: expected a number of neighbours"),
        ({"interval": "bootstrap"}, "interval: expected one of 'auto', 'jackknife', None"),
        ({"interval": "jackknife"}, "interval: 'jackknife' cannot be had here: a jackknife needs at least 5 slabs"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.intrinsic_dimension(sheet(60, 2), **arguments)


def test_neighbours_by_a_backend_that_is_not_there():
    x = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(BackendUnavailable, match="topk has no cupy backend") as caught:
        featdiv.intrinsic_dimension(x, backend="cupy")
    assert list(caught.value.reasons) == ["cupy"]


def test_numbers_of_neighbours_may_be_numpy_integers():
    assert featdiv.intrinsic_dimension(sheet(60, 2), definition="mle", k=np.int64(5)).details["k"] == [5, 5]


def test_too_few_rows():
    with pytest.raises(NotEnoughData, match="intrinsic_dimension: it needs at least 10 rows"):
        featdiv.intrinsic_dimension(sheet(6, 2))
    with pytest.raises(NotEnoughData, match="intrinsic_dimension: x: 20 neighbours need at least 21 rows; got 20"):
        featdiv.intrinsic_dimension(sheet(20, 2), definition="mle")
    with pytest.raises(NotEnoughData, match="at least 3 different rows; got 1"):
        featdiv.intrinsic_dimension(np.ones((40, 3)))


def test_a_lattice_has_no_dimension():

    with pytest.raises(NotEnoughData, match="equally far"):
        featdiv.intrinsic_dimension(np.concatenate([np.eye(30), -np.eye(30)]))
