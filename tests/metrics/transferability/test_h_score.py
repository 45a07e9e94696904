from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData
from featdiv.testing import cases


def between_and_total(x, labels):
    means = np.array([x[labels == label].mean(axis=0) for label in np.unique(labels)])
    rows = means[np.unique(labels, return_inverse=True)[1]]
    return np.cov(rows, rowvar=False, bias=True), np.cov(x, rowvar=False, bias=True)


@pytest.mark.parametrize(("n", "d", "c"), [(400, 16, 5), (300, 40, 10)])
def test_it_is_the_published_formula(n, d, c):
    x, labels = cases.labelled(n, d, c, between=0.6, offset=3.0)
    between, total = between_and_total(x, labels)
    assert float(featdiv.h_score(x, labels)) == pytest.approx(np.trace(np.linalg.pinv(total) @ between), rel=1e-9)


@pytest.mark.parametrize(("n", "d", "c"), [(400, 16, 5), (60, 80, 3)])
def test_shrunk_is_that_of_scikit_learns_ledoit_wolf(n, d, c):
    x, labels = cases.labelled(n, d, c, between=0.6, offset=3.0)
    fitted = LedoitWolf().fit(x)
    between, _ = between_and_total(x, labels)
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.solve(fitted.covariance_, between))
    score = featdiv.h_score(x, labels, definition="shrunk")
    assert score.details["shrinkage"] == pytest.approx(fitted.shrinkage_, rel=1e-9)
    assert float(score) == pytest.approx(expected, rel=1e-9)
    assert score.provenance.passes == 2
    again = featdiv.h_score(ClassMoments.of(x, labels), definition="shrunk", shrinkage=score.details["shrinkage"])
    assert float(again) == pytest.approx(expected, rel=1e-5)


def test_one_feature_is_not_shrunk():
    # Between 4, in all 5: the share of the variance that lies between the classes.
    x = np.array([[-1.0], [-3.0], [1.0], [3.0]])
    score = featdiv.h_score(x, [0, 0, 1, 1], definition="shrunk")
    assert score.details["shrinkage"] == 0.0
    assert float(score) == pytest.approx(4.0 / 5.0)


def test_it_counts_the_directions_that_hold_the_classes():
    x = np.vstack([np.eye(4) * 5.0] * 3)
    assert float(featdiv.h_score(x, np.tile(np.arange(4), 3))) == pytest.approx(3.0)


def test_fewer_rows_than_features_is_its_known_defect():
    x, labels = cases.labelled(40, 60, 4, between=0.0)
    assert float(featdiv.h_score(x, labels)) == pytest.approx(3.0, rel=1e-6)
    assert float(featdiv.h_score(x, labels, definition="shrunk")) < 1.5


def test_a_common_offset_changes_nothing():
    x, labels = cases.labelled(300, 8, 3, between=0.6)
    for definition in ("bao2019", "shrunk"):
        expected = float(featdiv.h_score(x, labels, definition=definition))
        moved = float(featdiv.h_score(x + 1e4, labels, definition=definition))
        assert moved == pytest.approx(expected, rel=1e-7)


def test_halves_merge_to_the_whole():
    x, labels = cases.labelled(300, 8, 3, between=0.6)
    halves = [ClassMoments.of(x[part], labels[part], precision="float64") for part in (slice(99), slice(99, None))]
    assert float(featdiv.h_score(halves[0] + halves[1])) == pytest.approx(float(featdiv.h_score(x, labels)), rel=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.h_score(x, y, shrinkage=0.2), InputError, "shrinkage: expected None with"),
        (lambda x, y: featdiv.h_score(x, y, definition="shrunk", shrinkage=2.0), InputError, "a share from 0 to 1"),
        (
            lambda x, y: featdiv.h_score(ClassMoments.of(x, y), definition="shrunk"),
            InputError,
            "'shrunk' needs the rows, or shrinkage=",
        ),
        (
            lambda x, y: featdiv.h_score(iter([x]), y, definition="shrunk"),
            InputError,
            "definition='shrunk' takes a second reading",
        ),
        (lambda x, y: featdiv.h_score(x, y * 0), NotEnoughData, "h_score: it compares classes"),
        (lambda x, y: featdiv.h_score(x * 0 + 1.0, y), NotEnoughData, "h_score: all rows are equal"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
