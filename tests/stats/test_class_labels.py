from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError
from featdiv.stats.class_labels import LabelNumbers, as_labels


def test_numbers_follow_the_order_of_learning():
    numbers = LabelNumbers()
    assert numbers.of(np.array([10, 30]), function="f").tolist() == [0, 1]
    assert numbers.of(np.array([5, 10, 20]), function="f").tolist() == [2, 0, 3]
    assert numbers.of(np.array([5, 20, 30]), function="f").tolist() == [2, 3, 1]
    labels, order = numbers.in_order()
    assert labels.tolist() == [5, 10, 20, 30]
    assert order.tolist() == [2, 0, 3, 1]


def test_longer_strings_may_come_later():
    numbers = LabelNumbers()
    numbers.of(np.array(["b", "d"]), function="f")
    assert numbers.of(np.array(["a long name", "d"]), function="f").tolist() == [2, 1]
    assert numbers.in_order()[0].tolist() == ["a long name", "b", "d"]


def test_kinds_do_not_mix():
    numbers = LabelNumbers()
    numbers.of(np.array([1]), function="there")
    with pytest.raises(InputError, match="there: labels: expected integers as before; got strings"):
        numbers.of(np.array(["one"]), function="there")


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ([True, False], [1, 0]),
        (np.array([3, 4], dtype=np.uint8), [3, 4]),
        (torch.tensor([3, -4]), [3, -4]),
        (np.array(["a", "bc"], dtype=object), ["a", "bc"]),
        (np.array([7, 8], dtype=object), [7, 8]),
    ],
)
def test_what_may_be_labels(labels, values):
    array = as_labels(labels, function="f")
    assert array.tolist() == values
    assert array.dtype.kind in "iU"
    assert array.dtype.kind == "U" or array.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, 1.0]), r"f: labels: expected integers or strings; got dtype float64"),
        (np.array([b"a"]), r"got dtype \|S1"),
        (np.array(["a", 1], dtype=object), r"got objects of type int, str"),
        (np.eye(2), r"one label for each row, shape \(n,\); got shape \(2, 2\).*argmax"),
        (np.array([2**63], dtype=np.uint64), r"integers that fit int64; got 9223372036854775808"),
    ],
)
def test_what_may_not(labels, message):
    with pytest.raises(InputError, match=message):
        as_labels(labels, function="f")
