from __future__ import annotations

import numpy as np
import pytest

from featdiv.stats.group_means import GroupSums, standard_error


def test_groups_of_one_row_give_the_usual_error():
    values = np.random.default_rng(0).normal(size=50)
    assert standard_error(values, np.ones(50)) == pytest.approx(values.std(ddof=1) / np.sqrt(50), rel=1e-12)


def test_copies_tell_no_more_than_once():
    values = np.random.default_rng(0).normal(size=50)
    assert standard_error(7 * values, np.full(50, 7)) == pytest.approx(values.std(ddof=1) / np.sqrt(50), rel=1e-12)


def test_it_is_the_spread_of_means_over_draws_of_groups():
    rng = np.random.default_rng(0)
    errors, means = [], []
    for _ in range(2000):
        sizes = rng.integers(1, 9, 40)
        sums = sizes * rng.normal(size=40) + np.sqrt(sizes) * rng.normal(size=40)
        errors.append(standard_error(sums, sizes))
        means.append(sums.sum() / sizes.sum())
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.05)


def test_blocks_in_any_order_add_up():
    groups, values = np.array(["b", "a", "b", "c", "a", "b"]), np.arange(6.0)
    sums = GroupSums.of(groups, kinds=2)
    for index in (np.array([4, 0, 5]), np.array([2, 1])):  # row 3, the only one of group c, is left out
        sums.add(index, values[index])
        sums.add(index, values[index] > 1, kind=1)
        sums.count(index)
    assert [found.tolist() for found in sums.seen()] == [[5.0, 7.0], [2, 3]]
    assert [found.tolist() for found in sums.seen(1)] == [[1.0, 2.0], [2, 3]]
