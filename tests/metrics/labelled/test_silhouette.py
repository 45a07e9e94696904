from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData


def by_loops(x, labels):
    values = []
    for i, label in enumerate(labels):
        distances = np.linalg.norm(x - x[i], axis=1)
        own = (labels == label) & (np.arange(len(x)) != i)
        if not own.any():
            values.append(0.0)
            continue
        a = distances[own].mean()
        b = min(distances[labels == other].mean() for other in set(labels.tolist()) - {label})
        values.append((b - a) / max(a, b))
    return np.mean(values)


@pytest.fixture
def some():
    rng = np.random.default_rng(12)
    labels = rng.integers(0, 3, size=150)
    return rng.normal(size=(150, 5)) + 2.0 * rng.normal(size=(3, 5))[labels], labels


def test_all_rows_where_they_are_few(some):
    score = featdiv.silhouette(*some)
    assert score.value == pytest.approx(by_loops(*some), rel=1e-10)
    assert score.details == {"sample": 150, "rows": 150, "classes": 3}
    assert score.provenance.notes == ()
    assert score.provenance.seed is None


def test_a_sample_is_seeded_and_said_so(some):
    x, labels = some
    score = featdiv.silhouette(x, labels, sample=60, seed=4)
    index = np.sort(np.random.default_rng(4).choice(150, 60, replace=False))
    assert score.value == pytest.approx(silhouette_score(x[index], labels[index]), rel=1e-12)
    assert score.details["sample"] == 60
    assert score.provenance.notes == ("a sample of 60 of 150 rows",)
    assert score.provenance.seed == 4
    assert float(featdiv.silhouette(x, labels, sample=60, seed=4)) == score.value
    assert float(featdiv.silhouette(x, labels, sample=60, seed=5)) != score.value
    assert float(featdiv.silhouette(x, labels, sample=None)) == pytest.approx(by_loops(x, labels), rel=1e-10)


def test_a_row_alone_counts_zero(some):
    x, labels = some
    labels[0] = 9
    assert float(featdiv.silhouette(x, labels)) == pytest.approx(by_loops(x, labels), rel=1e-10)


def test_one_class_in_the_sample(some):
    x, _ = some
    labels = np.zeros(150, dtype=int)
    labels[0] = 1
    with pytest.raises(NotEnoughData, match=r"silhouette: it compares classes .* in the sample"):
        featdiv.silhouette(x, labels, sample=5)


def test_every_row_alone_is_not_enough(some):
    with pytest.raises(NotEnoughData, match="silhouette: a class of 2 rows or more is needed"):
        featdiv.silhouette(some[0][:6], np.arange(6))


@pytest.mark.parametrize("sample", [0, -3, True])
def test_a_sample_is_a_number_of_rows(sample, some):
    with pytest.raises(InputError, match="silhouette: sample: expected a positive integer"):
        featdiv.silhouette(*some, sample=sample)


def test_moments_hold_no_rows(some):
    with pytest.raises(InputError, match="silhouette: x: expected labelled rows; got ClassMoments"):
        featdiv.silhouette(ClassMoments.of(*some))
