from __future__ import annotations

import numpy as np
import pytest

from featdiv.errors import InputError, NotEnoughData
from featdiv.probes.holdout import split


def test_a_share_of_every_class_and_nothing_twice():
    labels = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c", "d"], [100, 40, 10, 1]))
    train, test = split(labels, 0.2, seed=1, function="f")
    assert sorted([*train, *test]) == list(range(151))
    assert [(labels[test] == name).sum() for name in "abcd"] == [20, 8, 2, 0]
    assert train.tolist() == sorted(train)
    again = split(labels, 0.2, seed=1, function="f")
    assert test.tolist() == again[1].tolist()
    assert test.tolist() != split(labels, 0.2, seed=2, function="f")[1].tolist()


def test_groups_stay_whole():
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(50), rng.integers(1, 9, 50)))
    labels = groups % 2
    train, test = split(labels, 0.2, seed=0, function="f", groups=groups)
    assert sorted([*train, *test]) == list(range(len(groups)))
    held_out = set(groups[test].tolist())
    assert not held_out & set(groups[train].tolist())
    assert [sum(g % 2 == k for g in held_out) for k in (0, 1)] == [5, 5]
    with pytest.raises(NotEnoughData, match=r"f: holdout: 0\.1 of classes of up to 2 groups is none"):
        split(np.repeat([0, 1], 20), 0.1, seed=0, function="f", groups=np.repeat(["a", "b", "c", "d"], 10))


def test_one_row_of_each_class_stays():
    train, test = split(np.repeat([0, 1], 3), 0.99, seed=0, function="f")
    assert (len(train), len(test)) == (2, 4)


def test_refusals():
    with pytest.raises(InputError, match="f: holdout: expected a share between 0 and 1; got 0"):
        split(np.zeros(4), 0.0, seed=0, function="f")
    with pytest.raises(NotEnoughData, match=r"f: holdout: 0\.1 of classes of up to 2 rows is none"):
        split(np.array([0, 0, 1, 1]), 0.1, seed=0, function="f")
