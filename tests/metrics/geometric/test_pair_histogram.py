from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

import featdiv
from featdiv import InputError


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(900, 6)) + 0.4


@pytest.mark.parametrize("interval", [None, "bootstrap"])
def test_it_counts_every_pair_once(x, interval):
    cosines = 1.0 - pdist(x, "cosine")
    found = featdiv.pair_histogram(x, bins=50, interval=interval, precision="float64")
    assert found.counts.tolist() == np.histogram(cosines, bins=found.edges)[0].tolist()
    i, j, value = found.nearest
    assert value == pytest.approx(cosines.max(), rel=1e-12)
    assert x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) == pytest.approx(value, rel=1e-12)
    assert (found.density * np.diff(found.edges)).sum() == pytest.approx(1.0)


def test_quantiles_are_off_by_at_most_a_bin(x):
    cosines = 1.0 - pdist(x, "cosine")
    found = featdiv.pair_histogram(x, interval="bootstrap")
    for name, q in (("pair_p05", 0.05), ("pair_median", 0.5), ("pair_p95", 0.95)):
        assert abs(found.scores[name] - np.quantile(cosines, q)) <= 2.0 / 400
        assert found.scores[name] in found.intervals[name]
        assert found.intervals[name].method == "block bootstrap"


def test_distances_of_rows_as_they_are(x):
    found = featdiv.pair_histogram(x, measure="distance", normalize=None, limits=(1.0, 5.0), bins=20)
    distances = pdist(x)
    assert found.counts.tolist() == np.histogram(distances, bins=found.edges)[0].tolist()
    assert (found.below, found.above) == (int((distances < 1.0).sum()), int((distances > 5.0).sum()))
    assert found.nearest[2] == pytest.approx(distances.min())


def test_it_can_be_drawn_and_written(x):
    found = featdiv.pair_histogram(x[:50])
    assert found.plot().axes[0].get_xlabel() == "cosine of two rows"
    assert found.to_dict()["counts"] == found.counts.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"measure": "dot"}, "pair_histogram: measure: expected one of 'cosine', 'distance'; got 'dot'"),
        ({"bins": 0}, "pair_histogram: bins: expected a positive integer"),
        ({"normalize": None}, "pair_histogram: normalize: expected 'l2' for cosines"),
        ({"limits": (1.0, 0.0)}, "limits: expected finite low < high"),
        ({"limits": 1.0}, r"limits: expected \(first edge, last edge\); got 1.0"),
        ({"limits": (0.0, "1")}, r"limits: expected \(first edge, last edge\), both finite; got '1'"),
        ({"precision": ["float32"]}, "pair_histogram: precision: expected one of 'float64', 'float32'"),
    ],
)
def test_arguments_out_of_range(x, arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.pair_histogram(x, **arguments)
