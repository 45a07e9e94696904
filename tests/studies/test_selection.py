"""Which model is best, against closed forms of two models, exact tests and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from featdiv.errors import InputError
from featdiv.studies.selection import p_values, select


def two_models(both: int, first: int, second: int, neither: int) -> np.ndarray:
    """Two models of which one alone is right ``first`` times, the other alone ``second`` times."""
    columns = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, first, second, neither], axis=0)
    return columns.T


@pytest.mark.parametrize(("first", "second"), [(60, 40), (55, 45), (120, 60)])
def test_two_models_follow_the_normal_law(first, second):
    # The mean difference of resampled units is close to normal(delta, s^2); the rest is arithmetic of that law.
    table = two_models(700, first, second, 300 - first - second + 100)
    n = table.shape[1]
    difference = table[0] - table[1]
    delta, s = difference.mean(), difference.std() / np.sqrt(n)
    found = select(table, draws=20_000, seed=1)
    assert found.best == 0
    assert found.p_best[0] == pytest.approx(norm.cdf(delta / s), abs=0.015)
    assert found.p_best.sum() == pytest.approx(1.0)
    # E max(0, -D) for D ~ normal(delta, s^2).
    expected = s * norm.pdf(delta / s) - delta * norm.cdf(-delta / s)
    assert found.regret[0] == pytest.approx(expected, abs=0.03 * s)
    assert found.regret[1] - found.regret[0] == pytest.approx(delta, abs=0.05 * s)


def test_equal_models_share_and_lose_nothing():
    table = np.repeat(np.random.default_rng(0).random((1, 80)) < 0.7, 3, axis=0)
    found = select(table)
    np.testing.assert_allclose(found.p_best, 1 / 3)
    np.testing.assert_allclose(found.regret, 0.0, atol=1e-12)
    assert found.contenders == (0, 1, 2)
    np.testing.assert_allclose(found.p_value, 1.0)


def test_independent_equals_have_equal_chances():
    rng = np.random.default_rng(2)
    chances = np.mean([select(rng.random((4, 200)) < 0.6, draws=200, seed=i).p_best for i in range(150)], axis=0)
    np.testing.assert_allclose(chances, 0.25, atol=0.1)


@pytest.mark.parametrize(("first", "second"), [(3, 0), (5, 0), (9, 2), (30, 15)])
def test_for_two_models_the_p_value_is_the_exact_one_sided_mcnemar(first, second):
    table = two_models(50, first, second, 20)
    draws = 40_000
    exact = binom.sf(first - 1, first + second, 0.5)
    found = p_values(table, draws=draws, seed=4)[1]
    assert found == pytest.approx(exact, abs=4.0 * np.sqrt(exact * (1 - exact) / draws) + 2.0 / draws)


def test_three_images_do_not_part_two_models_and_ten_do():
    assert select(two_models(50, 3, 0, 20)).contenders == (0, 1)
    assert select(two_models(50, 10, 0, 20)).contenders == (0,)


@pytest.mark.parametrize("models", [2, 6])
def test_the_set_keeps_the_best_model_as_often_as_it_says(models):
    # All models are equally good and share difficult images: the hardest case for the set, at any number of models.
    rng = np.random.default_rng(10)
    trials, lost = 400, 0
    for trial in range(trials):
        hard = rng.normal(size=80)
        table = hard + 0.8 * rng.normal(size=(models, 80)) < 0.5
        lost += 0 not in select(table, draws=300, seed=trial).contenders
    assert lost / trials <= 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / trials)
    # And it is no set that keeps everything.
    assert lost > 0


def test_the_set_leaves_out_what_is_clearly_worse_however_many_rivals():
    rng = np.random.default_rng(5)
    shares = np.array([0.9, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])
    table = rng.random((8, 400)) < shares[:, None]
    assert set(select(table).contenders) <= {0, 1}


def test_intervals_are_those_of_a_binomial_mean():
    rng = np.random.default_rng(6)
    table = rng.random((2, 1000)) < 0.8
    found = select(table, draws=20_000)
    error = np.sqrt(found.accuracy * (1 - found.accuracy) / 1000)
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * error, rtol=0.05)


def test_repeats_of_a_unit_stay_together():
    # Repeating every judgement adds no evidence: only more units do.
    rng = np.random.default_rng(7)
    once = rng.random((3, 120)) < np.array([0.8, 0.75, 0.7])[:, None]
    found, repeated = select(once, seed=3), select(np.repeat(once[:, None], 5, axis=1), seed=3)
    np.testing.assert_allclose(found.p_best, repeated.p_best)
    np.testing.assert_allclose(found.p_value, repeated.p_value)
    twice = select(np.tile(once, 5), seed=3)
    assert twice.high[0] - twice.low[0] < 0.6 * (found.high[0] - found.low[0])


def test_the_order_of_units_changes_nothing():
    rng = np.random.default_rng(8)
    table = rng.random((3, 2, 150)) < 0.7
    one, other = select(table), select(table[:, :, rng.permutation(150)])
    np.testing.assert_array_equal(one.p_best, other.p_best)
    np.testing.assert_array_equal(one.p_value, other.p_value)


def test_drawing_patterns_and_drawing_units_agree():
    # Few distinct patterns in many units are drawn by multinomials, many in few by places: one law.
    rng = np.random.default_rng(9)
    patterns = rng.random((3, 40)) < 0.7
    few = select(np.tile(patterns, 20), draws=20_000)
    jittered = np.tile(patterns, 20) * (1.0 - 1e-7 * rng.random((3, 800)))
    many = select(jittered, draws=20_000)
    np.testing.assert_allclose(few.p_best, many.p_best, atol=0.02)
    np.testing.assert_allclose(few.p_value, many.p_value, atol=0.02)


@pytest.mark.parametrize(
    ("table", "arguments", "text"),
    [
        ([1, 0], {}, r"correct: expected \(models, units\)"),
        ([[1, 2]], {}, "correct: expected 0 and 1"),
        ([[1, np.nan]], {}, "correct: expected 0 and 1"),
        ([[1, 0]], {"draws": 0}, "draws: expected at least 1; got 0"),
        ([[1, 0]], {"level": 95}, "level: expected a number between 0 and 1; got 95"),
    ],
)
def test_what_is_no_table_is_refused(table, arguments, text):
    with pytest.raises(InputError, match=text):
        select(table, **arguments)
