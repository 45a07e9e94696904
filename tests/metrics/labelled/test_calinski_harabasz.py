from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score

import featdiv
from featdiv import ClassMoments, NotEnoughData


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_that_of_scikit_learn_without_a_sample(offset, dtype):
    rng = np.random.default_rng(13)
    labels = np.minimum(rng.integers(0, 7, size=400), 4)
    x = (rng.normal(size=(400, 9)) + 0.5 * rng.normal(size=(5, 9))[labels] + offset).astype(dtype)
    expected = calinski_harabasz_score(x.astype(np.float64), labels)
    score = featdiv.calinski_harabasz(x, labels, precision="float64")
    assert score.value == pytest.approx(expected, rel=1e-9)
    halves = [ClassMoments.of(x[part], labels[part], precision="float64") for part in (slice(99), slice(99, None))]
    assert float(featdiv.calinski_harabasz(halves[0] + halves[1])) == pytest.approx(expected, rel=1e-9)


def test_equal_class_means_give_zero():
    x = np.concatenate([np.eye(3), -np.eye(3)] * 2)
    assert float(featdiv.calinski_harabasz(x, np.repeat([0, 1], 6))) == pytest.approx(0.0, abs=1e-14)


def test_points_and_rows_alone_are_undefined():
    with pytest.raises(NotEnoughData, match="calinski_harabasz: every class is a point"):
        featdiv.calinski_harabasz(np.repeat(np.eye(2), 3, axis=0), np.repeat([0, 1], 3))
    with pytest.raises(NotEnoughData, match="calinski_harabasz: scatter within classes needs a class of 2 rows"):
        featdiv.calinski_harabasz(np.eye(3), [0, 1, 2])
