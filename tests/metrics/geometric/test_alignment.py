from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NonFiniteError


def test_a_rotation_in_a_plane_has_a_closed_form():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0.0, np.pi, size=300)
    x = np.tile([[2.0, 0.0, 0.0]], (300, 1))
    y = np.stack([np.cos(angle), np.sin(angle), np.zeros(300)], axis=1) * rng.uniform(0.5, 2.0, size=(300, 1))
    expected = 2.0 - 2.0 * np.cos(angle)
    assert float(featdiv.alignment(x, y)) == pytest.approx(expected.mean(), rel=1e-12)
    assert float(featdiv.alignment(x, y, a=1.0)) == pytest.approx(np.sqrt(expected).mean(), rel=1e-12)


def test_the_same_views_are_aligned_and_opposite_ones_are_not():
    x = np.random.default_rng(1).normal(size=(20, 4))
    assert float(featdiv.alignment(x, 3.0 * x)) == pytest.approx(0.0, abs=1e-15)
    assert float(featdiv.alignment(x, -x)) == pytest.approx(4.0)


def test_rows_as_they_are():
    x, y = np.zeros((5, 2)), np.full((5, 2), 3.0)
    assert float(featdiv.alignment(x, y, normalize=None)) == pytest.approx(18.0)


def test_the_interval_is_that_of_a_mean():
    x = np.random.default_rng(2).normal(size=(20_000, 3))
    y = np.random.default_rng(3).normal(size=(20_000, 3))
    score = featdiv.alignment(x, y)
    assert score.value in score.interval
    assert 2.0 in score.interval  # independent directions: E |u - v|^2 = 2
    values = np.sum((x / np.linalg.norm(x, axis=1)[:, None] - y / np.linalg.norm(y, axis=1)[:, None]) ** 2, axis=1)
    assert score.interval.standard_error == pytest.approx(values.std() / np.sqrt(20_000), rel=0.5)


@pytest.mark.parametrize(
    ("other", "arguments", "message"),
    [
        (np.ones((9, 4)), {}, "alignment: other: expected 10 rows of 4 features, like x; got 9 of 4"),
        (np.ones((10, 3)), {}, "alignment: other: expected 10 rows of 4 features"),
        (np.ones((10, 4)), {"a": -1.0}, "alignment: a: expected a positive"),
        (np.ones((10, 4)), {"normalize": "l1"}, "alignment: normalize: expected one of"),
    ],
)
def test_what_does_not_fit(other, arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.alignment(np.ones((10, 4)), other, **arguments)


def test_a_bad_row_of_the_other_side_is_named():
    y = np.ones((9000, 4))
    y[8500, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"alignment: other: .*row 8500 of the source") as caught:
        featdiv.alignment(np.ones((9000, 4)), y)
    assert caught.value.first_row == 8500
