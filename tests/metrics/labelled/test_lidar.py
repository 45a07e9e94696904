from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData


def as_published(x, labels, delta=1e-4):
    """LiDAR with the matrices of Thilak et al. 2023, the inverse root from an eigendecomposition."""
    classes = np.unique(labels)
    means = [x[labels == k].mean(axis=0) for k in classes]
    mu = np.mean(means, axis=0)
    between = np.mean([np.outer(m - mu, m - mu) for m in means], axis=0)
    gaps = [row - means[np.searchsorted(classes, label)] for row, label in zip(x, labels, strict=True)]
    within = np.mean([np.outer(g, g) for g in gaps], axis=0) + delta * np.eye(x.shape[1])
    root = np.linalg.inv(scipy.linalg.sqrtm(within))
    values = np.clip(np.linalg.eigvalsh(root @ between @ root), 0.0, None)
    p = values / np.abs(values).sum() + 1e-7
    return np.exp(-np.sum(p * np.log(p)))


def views(inputs, count, d, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(inputs), count)
    scale = np.arange(1.0, d + 1.0) ** -0.5
    return (rng.normal(size=(inputs, d))[labels] + 0.4 * rng.normal(size=(inputs * count, d))) * scale, labels


@pytest.mark.parametrize("delta", [1e-4, 1.0])
@pytest.mark.parametrize(("inputs", "d"), [(40, 12), (5, 12), (3, 30)])
def test_it_is_the_published_formula(inputs, d, delta):
    x, labels = views(inputs, 6, d)
    assert float(featdiv.lidar(x, labels, delta=delta)) == pytest.approx(as_published(x, labels, delta), rel=1e-8)


def test_inputs_along_the_axes_count_all_but_one():
    c, d = 6, 10
    x = np.repeat(np.eye(c, d), 4, axis=0)
    x[::2] += 1e-3
    x[1::2] -= 1e-3
    # S_W is of rank one and tiny beside S_B: c - 1 equal eigenvalues, and d - c + 1 zeros with their constants.
    p = np.concatenate([np.full(c - 1, 1.0 / (c - 1)), np.zeros(d - c + 1)]) + 1e-7
    assert float(featdiv.lidar(x, np.repeat(np.arange(c), 4))) == pytest.approx(np.exp(-p @ np.log(p)), rel=3e-3)


def test_the_within_class_directions_are_weighed_down():
    rng = np.random.default_rng(9)
    x, labels = views(200, 8, 4, seed=3)
    noisy = x.copy()
    noisy[:, 0] += 10.0 * rng.normal(size=len(x))
    assert float(featdiv.lidar(noisy, labels)) < float(featdiv.lidar(x, labels)) - 0.5


def test_a_large_mean_changes_nothing():
    x, labels = views(20, 6, 5)
    expected = float(featdiv.lidar(x, labels))
    assert float(featdiv.lidar(x + 1e5, labels)) == pytest.approx(expected, rel=1e-8)


def test_halves_merge_to_the_whole():
    x, labels = views(20, 6, 5)
    halves = [ClassMoments.of(x[part], labels[part], precision="float64") for part in (slice(33), slice(33, None))]
    assert float(featdiv.lidar(halves[0] + halves[1])) == pytest.approx(as_published(x, labels), rel=1e-9)


def test_it_says_how_many_surrogate_classes():
    x, labels = views(20, 6, 5)
    score = featdiv.lidar(x, labels)
    assert score.details == {"classes": 20}
    assert score.provenance.arguments["delta"] == 1e-4


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan"), float("inf")])
def test_delta_must_be_positive(delta):
    with pytest.raises(InputError, match="lidar: delta: expected a number above 0"):
        featdiv.lidar(*views(5, 3, 4), delta=delta)


def test_one_view_of_each_input_is_not_enough():
    with pytest.raises(NotEnoughData, match="lidar: scatter within classes needs a class of 2 rows"):
        featdiv.lidar(np.eye(5), np.arange(5))


def test_equal_class_means_are_undefined():
    x = np.concatenate([np.eye(3), -np.eye(3)] * 2) + 50.0
    with pytest.raises(NotEnoughData, match="lidar: the class means coincide"):
        featdiv.lidar(x, np.repeat([0, 1], 6))
