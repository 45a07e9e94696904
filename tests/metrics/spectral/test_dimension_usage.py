from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv import NotEnoughData


def gini_by_pairs(v):
    """Half the mean absolute difference of all ordered pairs, over the mean."""
    return np.abs(v[:, None] - v).mean() / (2.0 * v.mean())


def test_against_the_definition_by_pairs(rows):
    usage = featdiv.dimension_usage(rows, precision="float64")
    v = rows.var(axis=0, ddof=1)
    assert usage.dead_dimensions == 0
    assert usage.variance_gini == pytest.approx(gini_by_pairs(v), rel=1e-10)
    assert usage.largest_variance_share == pytest.approx(v.max() / v.sum(), rel=1e-10)
    np.testing.assert_allclose(usage.variances, v, rtol=1e-10)


def test_equal_variances_and_a_single_live_dimension():
    even = featdiv.dimension_usage(np.vstack([np.eye(5), -np.eye(5)]))
    assert (even.dead_dimensions, round(even.variance_gini, 9)) == (0, 0.0)
    assert even.largest_variance_share == pytest.approx(0.2)
    x = np.full((30, 5), 0.3)
    x[:, 1] = np.arange(30.0)
    single = featdiv.dimension_usage(x)
    assert single.dead_dimensions == 4
    assert single.variance_gini == pytest.approx(0.8)
    assert single.largest_variance_share == 1.0


def test_dead_dimensions_far_from_zero_are_dead_after_merging(moments_of):
    x = np.random.default_rng(26).normal(size=(90, 3))
    x[:, 0] = 1e6 / 3.0
    parts = [moments_of(part) for part in np.array_split(x, 7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert featdiv.dimension_usage(merged).dead_dimensions == 1


def test_constant_features_leave_the_count_and_undefine_the_rest():
    usage = featdiv.dimension_usage(np.ones((8, 3)))
    assert usage.dead_dimensions == 3
    with pytest.raises(NotEnoughData, match=r"DimensionUsage.variance_gini is undefined: the features are constant"):
        _ = usage.variance_gini
    assert json.loads(usage.to_json())["scores"] == {
        "dead_dimensions": 3.0,
        "variance_gini": None,
        "largest_variance_share": None,
    }


def test_one_row_has_no_variance(rows):
    with pytest.raises(NotEnoughData, match="dimension_usage: a variance needs at least 2 rows; got 1"):
        featdiv.dimension_usage(rows[:1])


def test_it_prints_its_numbers(rows):
    assert repr(featdiv.dimension_usage(rows)).startswith("DimensionUsage(dead_dimensions=0, variance_gini=0.")
