"""Intervals of labelled scores that stand alone: those of the table, their coverage, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

import featdiv
from featdiv.errors import InputError
from featdiv.stats import ClassMoments, class_parts, resampling


def drawn(seed: int, n: int = 3000, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    centres = np.random.default_rng(99).normal(size=(4, d))
    return rng.normal(size=(n, d)) * np.linspace(0.3, 1.0, d) + centres[labels], labels


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    return drawn(0)


@pytest.mark.parametrize("name", ["class_separation", "lidar"])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_the_table(labelled, name, grouped):
    groups = np.arange(3000) // 20 if grouped else None
    table = featdiv.diversity(*labelled, metrics=[name], interval="jackknife", groups=groups)
    alone = getattr(featdiv, name)(*labelled, interval="jackknife", groups=groups, precision="float64")
    assert alone.interval.low == pytest.approx(table.intervals[name].low, rel=1e-9)
    assert alone.interval.high == pytest.approx(table.intervals[name].high, rel=1e-9)
    assert alone.interval.groups == table.intervals[name].groups


def test_neural_collapse_has_one_for_each_score_of_moments(labelled):
    table = featdiv.diversity(*labelled, metrics=["neural_collapse"], interval="jackknife")
    alone = featdiv.neural_collapse(*labelled, interval="auto", precision="float64")
    assert set(alone.intervals) == {"nc1", "nc2_equinorm", "nc2_equiangular"}
    for name, interval in alone.intervals.items():
        assert interval.standard_error == pytest.approx(table.intervals[name].standard_error, rel=1e-9)
    assert not featdiv.neural_collapse(*labelled).intervals


def test_rows_to_ignore_are_in_no_part(labelled):
    rows, labels = labelled
    kept = labels != 2
    some = featdiv.class_separation(rows, labels, ignore=2, interval="auto", precision="float64").interval
    same = featdiv.class_separation(rows[kept], labels[kept], interval="auto", precision="float64").interval
    assert (some.low, some.high) == pytest.approx((same.low, same.high), rel=1e-9)


def mean_distance(rows: np.ndarray, labels: np.ndarray) -> float:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return float(np.mean([pdist(unit[labels == label]).mean() for label in np.unique(labels)]))


def test_blocks_change_no_distance(labelled):
    whole = featdiv.intra_class_distance(*labelled)
    blocks = featdiv.intra_class_distance(*labelled, interval="auto")
    assert blocks.value == pytest.approx(mean_distance(*labelled), rel=1e-6)
    assert blocks.value == pytest.approx(whole.value, rel=1e-7)
    assert whole.interval is None
    assert blocks.value in blocks.interval
    assert (blocks.interval.method, blocks.interval.groups) == ("block bootstrap", 10)


def test_the_standard_error_of_distances_is_what_repeated_draws_show():
    values, errors = [], []
    for seed in range(40):
        score = featdiv.intra_class_distance(*drawn(seed, n=1500), interval="bootstrap")
        values.append(score.value)
        errors.append(score.interval.standard_error)
    # 40 draws know the spread to about 11 %, 10 blocks an error to about 24 % each, their mean to 4 %.
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.4)


def test_repeated_rows_need_groups():
    rows, labels = drawn(1, n=600)
    order = np.random.default_rng(0).permutation(3000)
    rows, labels, ids = (np.repeat(of, 5, axis=0)[order] for of in (rows, labels, np.arange(600)))
    naive = featdiv.intra_class_distance(rows, labels, interval="auto").interval
    whole = featdiv.intra_class_distance(rows, labels, interval="auto", groups=ids).interval
    assert whole.standard_error > 1.3 * naive.standard_error


@pytest.mark.parametrize("normalize", [None, "l2"])
def test_rate_reduction_without_each_part_is_that_of_the_other_rows(normalize):
    # One class of fewer rows than features, taken from the matrix of its rows; two of more.
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], [30, 900, 800])
    rows = rng.normal(size=(1730, 40)) * np.linspace(0.2, 1.0, 40) + 5.0 * labels[:, None]
    given = {"normalize": normalize, "precision": "float64", "eps_squared": 0.3}
    found = featdiv.rate_reduction(rows, labels, interval="jackknife", **given)
    assert found.value == pytest.approx(featdiv.rate_reduction(rows, labels, **given).value, rel=1e-10)
    parts = class_parts.dealt(labels, None, found.interval.groups)
    without = [featdiv.rate_reduction(np.delete(rows, part, 0), np.delete(labels, part), **given) for part in parts]
    shares = np.array([len(part) for part in parts]) / 1730
    _, error = resampling.jackknife(found.value, np.array([score.value for score in without]), shares)
    assert found.interval.standard_error == pytest.approx(error, rel=1e-7)
    assert found.interval.estimand == "expected at n=1730, d=40"


def test_rate_reduction_covers_the_population():
    # Two Gaussian classes: R is a half of ln det(I + d/eps^2 (covariance + mean mean^T)), and so for each class.
    scales = np.array([1.0, 0.6, 0.3])
    mean = np.array([0.5, -0.5, 1.0])
    second = np.diag(scales**2) + np.outer(mean, mean)
    rate = 0.5 * np.linalg.slogdet(np.eye(3) + 3.0 / 0.5 * second)[1]
    whole = 0.5 * np.linalg.slogdet(np.eye(3) + 3.0 / 0.5 * (np.diag(scales**2) + np.diag(mean**2)))[1]
    flips = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.integers(4, size=1600)
        rows = (rng.normal(size=(1600, 3)) * scales + mean) * flips[labels]
        interval = featdiv.rate_reduction(rows, labels, interval="auto").interval
        assert interval.estimand == "population"
        hits += whole - rate in interval
    # 60 draws at 95 %: fewer than 52 hits has probability 0.3 %.
    assert hits >= 52


def test_what_has_no_interval_says_why(labelled):
    rows, labels = labelled
    few = featdiv.intra_class_distance(rows[:300], labels[:300], interval="auto")
    assert few.interval is None
    assert "no interval: a block bootstrap needs at least 640 rows; got 300" in few.provenance.notes
    with pytest.raises(InputError, match="intra_class_distance: interval: 'bootstrap' cannot be had here"):
        featdiv.intra_class_distance(rows[:300], labels[:300], interval="bootstrap")
    with pytest.raises(InputError, match="lidar: interval: 'jackknife' needs rows; x is ClassMoments"):
        featdiv.lidar(ClassMoments.of(rows, labels), interval="jackknife")
    chunks = [(rows[:1500], labels[:1500]), (rows[1500:], labels[1500:])]
    once = featdiv.class_separation(iter(chunks), interval="auto")
    assert once.interval is None
    assert any("too late to deal every class" in note for note in once.provenance.notes)
    rare = np.where(np.arange(3000) < 2, 7, labels)
    with pytest.raises(InputError, match="lidar: interval: 'jackknife' cannot be had here: leaving out a part"):
        featdiv.lidar(rows, rare, interval="jackknife", groups=np.arange(3000) // 600)
