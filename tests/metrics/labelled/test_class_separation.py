from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.metrics.labelled import class_separation


def by_pairs(x, labels):
    """The sums over pairs of Kornblith et al. 2021: cosine distances, self-pairs included, classes balanced."""
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    classes = np.unique(labels)
    within = total = 0.0
    for a in classes:
        for b in classes:
            mean = np.mean([[1.0 - p @ q for q in u[labels == b]] for p in u[labels == a]])
            total += mean / len(classes) ** 2
            if a == b:
                within += mean / len(classes)
    return 1.0 - within / total


def by_pooled_pairs(x, labels):
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = 1.0 - u @ u.T
    same = labels[:, None] == labels
    return 1.0 - distances[same].mean() / distances.mean()


@pytest.fixture
def some():
    rng = np.random.default_rng(5)
    labels = np.minimum(rng.integers(0, 6, size=70), 3)
    return rng.normal(size=(70, 8)) + rng.normal(size=(4, 8))[labels], labels


def test_it_is_the_published_sum_over_pairs(some):
    assert float(featdiv.class_separation(*some)) == pytest.approx(by_pairs(*some), rel=1e-12)


def test_pooled_gives_every_pair_the_same_weight(some):
    score = featdiv.class_separation(*some, definition="pooled")
    assert score.value == pytest.approx(by_pooled_pairs(*some), rel=1e-12)


@pytest.mark.parametrize("definition", class_separation.DEFINITIONS)
def test_orthogonal_classes_of_one_direction_are_separated(definition):
    x = np.repeat(np.eye(4), [3, 1, 2, 5], axis=0) * np.arange(1.0, 12.0)[:, None]
    labels = np.repeat([0, 1, 2, 3], [3, 1, 2, 5])
    assert float(featdiv.class_separation(x, labels, definition=definition)) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("c", [2, 5])
def test_a_closed_form(c):
    # Each class spans a plane of its own, half of its rows along either axis: |mu_c|^2 = 1/2, |mu|^2 = 1/(2c).
    x = np.repeat(np.eye(2 * c), 3, axis=0)
    labels = np.arange(6 * c) // 6
    expected = 1.0 - 0.5 / (1.0 - 1.0 / (2 * c))
    assert float(featdiv.class_separation(x, labels)) == pytest.approx(expected, rel=1e-14)


def test_collapsed_classes_keep_their_digits():
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1], 50)
    x = np.eye(3)[labels] + 1e-4 * rng.normal(size=(100, 3))
    gap = 1.0 - float(featdiv.class_separation(x, labels, precision="float64"))
    assert gap == pytest.approx(1.0 - by_pairs(x, labels), rel=1e-5)
    assert 0.0 < gap < 1e-6


def test_one_direction_is_undefined():
    x = np.outer(np.arange(1.0, 7.0), [3.0, 4.0])
    with pytest.raises(NotEnoughData, match="class_separation: all rows have the same direction"):
        featdiv.class_separation(x, [0, 1] * 3)


def test_moments_of_rows_as_they_are_do_not_serve(some):
    with pytest.raises(InputError, match="class_separation: x: expected class moments of rows with norm one"):
        featdiv.class_separation(ClassMoments.of(*some))
    with pytest.raises(InputError, match="class_separation: x: expected class moments of rows with norm one"):
        class_separation.core(ClassMoments.of(*some))


def test_a_class_of_one_row_counts_as_a_point(some):
    x, labels = some
    labels = np.append(labels[:-1], 9)
    assert float(featdiv.class_separation(x, labels)) == pytest.approx(by_pairs(x, labels), rel=1e-12)
