from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError, NotEnoughData
from featdiv.testing import cases


def rate(x, eps):
    return 0.5 * np.linalg.slogdet(np.eye(x.shape[1]) + x.T @ x / (len(x) * eps))[1]


def as_published(x, labels, *, eps=1e-4, weighted=False):
    x = x - x.mean(axis=0)
    parts = [(rate(x[labels == label], eps), (labels == label).mean()) for label in np.unique(labels)]
    mean = sum(r * share for r, share in parts) if weighted else np.mean([r for r, _ in parts])
    return rate(x, eps) - mean


@pytest.mark.parametrize(("n", "d", "c"), [(400, 16, 5), (60, 80, 3)])
@pytest.mark.parametrize("eps", [1e-4, 0.3])
def test_it_is_the_published_formula(n, d, c, eps):
    x, labels = cases.labelled(n, d, c, between=0.6, offset=5.0)
    assert float(featdiv.transrate(x, labels, eps=eps)) == pytest.approx(as_published(x, labels, eps=eps), rel=1e-8)
    weighted = featdiv.transrate(x, labels, eps=eps, definition="huang2022")
    assert float(weighted) == pytest.approx(as_published(x, labels, eps=eps, weighted=True), rel=1e-8)


def test_two_lines_at_right_angles_have_a_closed_form():
    # Rows +-e1 and +-e2: X^T X/n = I/2; each class has one direction of variance 1.
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    expected = np.log(1 + 0.5 / 1e-4) - 0.5 * np.log(1 + 1 / 1e-4)
    assert float(featdiv.transrate(x, [0, 0, 1, 1])) == pytest.approx(expected, rel=1e-12)


def test_a_class_of_one_row_counts():
    x, labels = cases.labelled(50, 4, 2)
    labels[7] = 9
    assert float(featdiv.transrate(x, labels)) == pytest.approx(as_published(x, labels), rel=1e-8)


def test_halves_merge_to_the_whole():
    x, labels = cases.labelled(300, 8, 3, between=0.6)
    parts = (slice(99), slice(99, None))
    halves = [ClassMoments.of(x[part], labels[part], precision="float64", per_class=True) for part in parts]
    assert float(featdiv.transrate(halves[0] + halves[1])) == pytest.approx(as_published(x, labels), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.transrate(x, y, eps=0.0), InputError, "transrate: eps: expected a number above 0"),
        (lambda x, y: featdiv.transrate(ClassMoments.of(x, y)), InputError, "per_class=True"),
        (lambda x, y: featdiv.transrate(x, y * 0), NotEnoughData, "transrate: it compares classes"),
        (lambda x, y: featdiv.transrate(x, y, memory=100), BudgetExceeded, "transrate: memory"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
