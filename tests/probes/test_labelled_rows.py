"""Rows without a label: kNN and linear probes leave them out as if they had never been given."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.errors import BudgetExceeded, InputError, NotEnoughData


def rows_with_missing():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    x = rng.normal(size=(90, 5)) + 2.0 * np.eye(5)[labels]
    known = labels.copy()
    known[::7] = -1
    return x, known, known != -1


def linear(x, labels, **options):
    return featdiv.linear_probe(x, labels, C=[0.01, 1.0], folds=3, **options)


def knn(x, labels, **options):
    return featdiv.knn_probe(x, labels, k=(1, 5), **options)


@pytest.mark.parametrize("probe", [knn, linear])
def test_ignored_rows_are_as_if_they_had_not_been_given(probe):
    x, labels, kept = rows_with_missing()
    groups = np.arange(90) // 2
    test = x + 1.0
    found = probe(x, labels, groups=groups, ignore=-1, test=test, test_labels=labels, test_groups=groups)
    alone = probe(
        x[kept], labels[kept], groups=groups[kept], test=test[kept], test_labels=labels[kept], test_groups=groups[kept]
    )
    assert found.scores == alone.scores
    assert found.intervals == alone.intervals
    assert found.provenance.n == kept.sum()
    assert "without 13 ignored rows" in found.provenance.source


@pytest.mark.parametrize("probe", [knn, linear])
def test_a_missing_label_is_refused_with_the_way_out(probe):
    x, labels, _ = rows_with_missing()
    name = f"{probe.__name__}_probe"
    with pytest.raises(InputError, match=rf"^{name}: train: labels: .* got -1, .*Use ignore=-1 to leave"):
        probe(x, labels)
    with pytest.raises(NotEnoughData, match="all 90 have the label ignored"):
        probe(x, np.full(90, -1), ignore=-1)
    with pytest.raises(BudgetExceeded, match=rf"{name}: train: memory: the 77 rows that are not ignored need 3\.08 kB"):
        probe(x, labels, ignore=-1, memory=3000)


def test_several_labels_a_row_have_none_to_ignore():
    x, labels, _ = rows_with_missing()
    with pytest.raises(InputError, match="linear_probe: ignore: expected None with several labels a row; got -1"):
        linear(x, np.eye(3, dtype=int)[labels], ignore=-1)
