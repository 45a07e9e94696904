"""The vote: hand counts, a plain loop over every rule, and many classes in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from featdiv.errors import InputError
from featdiv.probes.knn_vote import Rule, accuracy, rules, shares, tally
from featdiv.stats.neighbours import Neighbours


def table(indices, values, n_gallery, distance="cosine", *, leave_one_out=False):
    return Neighbours(
        indices=np.asarray(indices, dtype=np.int64),
        values=np.asarray(values, dtype=np.float32),
        n_gallery=n_gallery,
        d=2,
        distance=distance,
        leave_one_out=leave_one_out,
        backend="hand",
    )


def loop(near, codes, rule, c):
    """Weights of every class for each query, one neighbour at a time; and the classes in order of the vote."""
    weights, sums = np.full((near.n, c), -np.inf), np.full((near.n, c), -np.inf)
    for i in range(near.n):
        for j in range(rule.k):
            value = float(near.values[i, j])
            similarity = value if near.distance == "cosine" else -0.5 * value**2
            first = float(near.values[i, 0])
            shift = first if near.distance == "cosine" else -0.5 * first**2
            label = codes[near.indices[i, j]]
            weight = 1.0 if rule.temperature is None else np.exp((similarity - shift) / rule.temperature)
            for array, value_added in ((weights, weight), (sums, similarity)):
                array[i, label] = value_added + (array[i, label] if np.isfinite(array[i, label]) else 0.0)
    order = np.lexsort((np.tile(np.arange(c), (near.n, 1)), -sums, -weights), axis=1)
    return weights, order


def test_hand_counts():
    """Classes 0 0 1 1 1 2: three votes decide against the nearest; a tie goes to the larger similarity."""
    near = table([[0, 2, 3, 1]], [[0.9, 0.8, 0.7, 0.1]], 6)
    codes = np.array([0, 0, 1, 1, 1, 2])
    found = tally(near, codes, np.array([0]), rules([1, 2, 3, 4], ["uniform"], []))
    assert [each.predicted.tolist() for each in found] == [[0], [0], [1], [1]]  # k=4: two each, 1.5 against 1.0
    assert [each.rank.tolist() for each in found] == [[0], [0], [1], [1]]
    assert tally(near, codes, np.array([2]), rules([4], ["uniform"], []))[0].rank.tolist() == [-1]
    assert [each.correct() for each in found] == [1, 1, 0, 0]
    assert [each.correct(5) for each in found] == [1, 1, 1, 1]


def test_equal_votes_and_similarities_go_to_the_lower_class():
    near = table([[3, 2, 1, 0]], [[0.5, 0.5, 0.5, 0.5]], 4)
    (found,) = tally(near, np.array([1, 0, 0, 1]), np.array([1]), rules([4], ["uniform"], []))
    assert found.predicted.tolist() == [0]
    assert found.rank.tolist() == [1]


def test_a_cold_vote_is_that_of_the_nearest_and_a_hot_one_is_uniform():
    near = table([[0, 1, 2]], [[1.0, 0.9, 0.8]], 3)
    codes = np.array([0, 1, 1])
    cold, usual, hot = tally(near, codes, np.array([0]), rules([3], ["exp"], [1e-6, 0.07, 1e6]))
    # exp(-0.1/0.07) + exp(-0.2/0.07) = 0.297 < 1
    assert [cold.predicted[0], usual.predicted[0], hot.predicted[0]] == [0, 0, 1]


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("c", [2, 7, 90])
def test_every_rule_against_a_loop(distance, c):
    rng = np.random.default_rng(c)
    n, m, k = 120, 60, 17
    codes = rng.integers(0, c, n)
    indices = np.array([rng.choice(n, k, replace=False) for _ in range(m)])
    # Coarse values make equal votes and equal sums common.
    values = np.sort(rng.integers(0, 4, size=(m, k)) / 4, axis=1)
    near = table(indices, values[:, ::-1] if distance == "cosine" else values, n, distance)
    truth = rng.integers(0, c, m)
    wanted = rules([1, 2, 5, 17], ["exp", "uniform"], [0.07, 1.0])
    assert len(wanted) == 12
    for found in tally(near, codes, truth, wanted):
        weights, order = loop(near, codes, found.rule, c)
        if found.rule.temperature is None:
            np.testing.assert_array_equal(found.predicted, order[:, 0])
        else:
            # Sums of exponentials that are equal on paper may round apart.
            best = weights[np.arange(m), order[:, 0]]
            np.testing.assert_allclose(weights[np.arange(m), found.predicted], best, rtol=1e-12)
        voted = np.isfinite(weights[np.arange(m), truth])
        np.testing.assert_array_equal(found.rank >= 0, voted)
        if found.rule.temperature is None:
            rank = (order == truth[:, None]).argmax(axis=1)
            np.testing.assert_array_equal(found.rank[voted], rank[voted])
        share = shares(near, codes, c, found.rule)
        np.testing.assert_allclose(share.sum(axis=1), 1.0, rtol=1e-6)
        expected = np.where(np.isfinite(weights), weights, 0.0)
        np.testing.assert_allclose(share, expected / expected.sum(axis=1)[:, None], atol=1e-7)


def test_nothing_overflows_at_any_temperature():
    """Exp(1/1e-4) is e^10000: far beyond float64, let alone the float16 of the features."""
    near = table([[0, 1]], [[1.0, 0.999]], 2)
    with np.errstate(over="raise", invalid="raise"):
        share = shares(near, np.array([1, 0]), 2, Rule(k=2, vote="exp", temperature=1e-4))
    assert share[0, 1] == pytest.approx(1 / (1 + np.exp(-10)), rel=1e-4)


def test_twenty_two_thousand_classes_take_no_table_of_classes():
    """A (queries, k, classes) table of bytes would be 88 GB; the vote is allowed 150 MB."""
    rng = np.random.default_rng(0)
    n, m, k, c = 44_000, 20_000, 200, 22_000
    codes = rng.permutation(np.repeat(np.arange(c), 2))
    near = table(rng.integers(0, n, (m, k)), np.tile(np.linspace(1, 0, k), (m, 1)), n)
    truth = codes[near.indices[:, 0]]
    tracemalloc.start()
    found = tally(near, codes, truth, rules([1, 200], ["exp"], [0.01]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0].correct() == m
    assert found[1].correct() > 0.95 * m
    assert peak < 150e6


def test_accuracy_needs_a_leave_one_out_table():
    near = table([[1], [0], [3], [2]], np.ones((4, 1)), 4, leave_one_out=True)
    assert accuracy(near, np.array([0, 0, 1, 2]), k=1) == 0.5
    with pytest.raises(InputError, match="leave-one-out"):
        accuracy(table([[1]], [[1.0]], 4), np.zeros(4, int), k=1)


def test_what_does_not_fit_is_refused():
    near = table([[1], [0]], np.ones((2, 1)), 2)
    codes = np.array([0, 1])
    with pytest.raises(InputError, match="k: expected 1 to 1, the neighbours found; got 2"):
        tally(near, codes, codes, rules([2], ["exp"], [0.07]))
    with pytest.raises(InputError, match="codes: expected one class for each of 2 rows"):
        tally(near, codes[:1], codes, rules([1], ["exp"], [0.07]))
    with pytest.raises(InputError, match="truth: expected one class for each of 2 queries"):
        tally(near, codes, codes[:1], rules([1], ["exp"], [0.07]))
    with pytest.raises(InputError, match="temperature: expected a positive number"):
        tally(near, codes, codes, [Rule(k=1, vote="exp", temperature=0.0)])
    with pytest.raises(InputError, match="vote: expected one of 'exp', 'uniform'"):
        tally(near, codes, codes, [Rule(k=1, vote="rank")])
