"""Repeated stratified folds and stratified samples, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdiv.errors import InputError, NotEnoughData
from featdiv.studies.folds import stratified_folds, stratified_sample


@given(
    sizes=st.lists(st.integers(2, 17), min_size=2, max_size=6),
    folds=st.integers(2, 6),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_fold_has_its_share_of_every_class(sizes, folds, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if len(labels) < folds:
        return
    found = stratified_folds(labels, folds=folds, repeats=3, seed=seed)
    assert found.shape == (3, len(labels))
    for division in found:
        whole = np.bincount(division, minlength=folds)
        assert whole.max() - whole.min() <= 1
        for name, size in enumerate(sizes):
            inside = np.bincount(division[labels == name], minlength=folds)
            assert inside.max() - inside.min() <= 1
            # Whichever fold is held out, the class is left to learn from.
            assert size - inside.max() >= 1


def test_a_class_smaller_than_the_folds_is_in_some_of_them():
    (found,) = stratified_folds([0] * 20 + [1] * 3, folds=5)
    assert len(set(found[20:].tolist())) == 3


def test_divisions_differ_and_do_not_depend_on_how_many_are_asked_for():
    labels = np.repeat(np.arange(4), 25)
    three = stratified_folds(labels, folds=5, repeats=3, seed=7)
    assert not np.array_equal(three[0], three[1])
    np.testing.assert_array_equal(stratified_folds(labels, folds=5, repeats=1, seed=7), three[:1])
    assert not np.array_equal(stratified_folds(labels, folds=5, seed=8)[0], three[0])


def test_names_of_classes_and_their_numbers_give_the_same_folds():
    codes = np.repeat([0, 1, 2], 10)
    np.testing.assert_array_equal(stratified_folds(codes), stratified_folds(np.array(["a", "b", "c"])[codes]))


@pytest.mark.parametrize(
    ("labels", "arguments", "error", "text"),
    [
        ([0, 0, 1, 1, 2], {}, NotEnoughData, r"demo: labels: .*2 rows of each class.*1 of 3 classes have one: 2"),
        ([0, 0, 0], {}, NotEnoughData, "demo: labels: expected at least two classes"),
        ([0, 0, 1, 1], {"folds": 5}, NotEnoughData, "demo: folds: expected at most 4"),
        ([0, 0, 1, 1], {"folds": 1}, InputError, "demo: folds: expected a whole number of at least 2; got 1"),
        ([0, 0, 1, 1], {"folds": True}, InputError, "demo: folds"),
        ([0, 0, 1, 1], {"folds": 2, "repeats": 0}, InputError, "demo: repeats: .*at least 1; got 0"),
        ([[0], [1]], {}, InputError, "demo: labels: expected one for each row"),
    ],
)
def test_what_cannot_be_divided_is_refused(labels, arguments, error, text):
    with pytest.raises(error, match=text):
        stratified_folds(labels, function="demo", **arguments)


def test_a_sample_has_each_class_in_proportion():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    rows = stratified_sample(labels, 100, seed=3)
    assert np.bincount(labels[rows]).tolist() == [60, 30, 10]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, stratified_sample(labels, 100, seed=4))


def test_a_sample_keeps_two_rows_of_a_rare_class():
    labels = np.repeat([0, 1, 2], [995, 4, 1])
    rows = stratified_sample(labels, 20)
    assert np.bincount(labels[rows]).tolist() == [17, 2, 1]


def test_a_sample_of_all_is_all():
    np.testing.assert_array_equal(stratified_sample([1, 0, 1, 0], 9), np.arange(4))


def test_a_sample_too_small_for_its_classes_is_refused():
    with pytest.raises(InputError, match="demo: limit: expected at least 6, two images of each of 3 classes; got 5"):
        stratified_sample([0, 1, 2, 0, 1, 2], 5, function="demo")
