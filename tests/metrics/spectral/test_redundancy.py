from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import NotEnoughData


def by_numpy(x):
    rho = np.corrcoef(x, rowvar=False)
    return rho[~np.eye(len(rho), dtype=bool)]


@pytest.mark.parametrize("shape", [(300, 9), (6, 40)])
def test_it_is_the_mean_of_the_correlations(shape):
    rng = np.random.default_rng(23)
    x = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 100.0
    rho = by_numpy(x)
    assert float(featdiv.redundancy(x, precision="float64")) == pytest.approx(np.abs(rho).mean(), rel=1e-9)
    squared = featdiv.redundancy(x, definition="squared", precision="float64")
    assert float(squared) == pytest.approx(np.mean(rho**2), rel=1e-9)


def test_copies_are_redundant_and_independent_features_are_not():
    rng = np.random.default_rng(24)
    one = rng.normal(size=(20_000, 1))
    assert float(featdiv.redundancy(np.hstack([one, -2.0 * one, 3.0 * one + 5.0]))) == pytest.approx(1.0, abs=1e-5)
    independent = rng.normal(size=(20_000, 30))
    assert float(featdiv.redundancy(independent)) == pytest.approx(np.sqrt(2.0 / (np.pi * 20_000)), rel=0.1)


def test_dead_dimensions_are_left_out_and_counted():
    x = np.random.default_rng(25).normal(size=(200, 6)) @ np.triu(np.ones((6, 6)))
    dead = np.insert(x, [0, 3, 6], 0.1, axis=1)
    score = featdiv.redundancy(dead, precision="float64")
    assert score.value == pytest.approx(np.abs(by_numpy(x)).mean(), rel=1e-9)
    assert score.details == {"dead_dimensions": 3, "live_dimensions": 6}


def test_a_single_live_dimension_has_no_pair():
    x = np.zeros((50, 4))
    x[:, 2] = np.arange(50.0)
    with pytest.raises(NotEnoughData, match="redundancy: a pair needs 2 dimensions with variance; 3 of 4 are constant"):
        featdiv.redundancy(x)
