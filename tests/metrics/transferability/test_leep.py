"""LEEP and NCE: hand tables, loops over rows, and the laws that need probabilities in the place of features."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics import catalogue

SCORES = [featdiv.leep, featdiv.nce]


def probabilities(n=200, z=6, c=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    logits = rng.normal(size=(n, z)) + 2.0 * np.eye(z)[labels]
    theta = np.exp(logits)
    return theta / theta.sum(axis=1, keepdims=True), labels


def leep_by_loops(theta, labels):
    n, z = theta.shape
    total = 0.0
    for i in range(n):
        expected = 0.0
        for source in range(z):
            joint = sum(theta[j, source] for j in range(n) if labels[j] == labels[i]) / n
            expected += joint / (theta[:, source].sum() / n) * theta[i, source]
        total += np.log(expected)
    return total / n


def test_leep_is_the_published_formula():
    theta, labels = probabilities(n=60)
    assert float(featdiv.leep(theta, labels)) == pytest.approx(leep_by_loops(theta, labels), rel=1e-12)


def test_nce_is_the_conditional_entropy_of_a_table():
    # Decision 0 has labels a, a, b; decision 1 has b: H(Y|Z) = 3/4 H(1/3).
    theta = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert float(featdiv.nce(theta, ["a", "a", "b", "b"])) == pytest.approx(-0.75 * entropy, rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_uniform_probabilities_leave_the_entropy_of_the_labels(score):
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    shares = np.array([0.5, 0.3, 0.2])
    assert float(score(np.full((100, 7), 1 / 7), labels)) == pytest.approx((shares * np.log(shares)).sum(), rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_order_of_rows_and_of_source_classes_changes_nothing(score):
    theta, labels = probabilities()
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(len(theta)), rng.permutation(theta.shape[1])
    assert float(score(theta[rows][:, columns], labels[rows])) == pytest.approx(float(score(theta, labels)), rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_right_labels_beat_shuffled_ones_and_zero_is_the_top(score):
    theta, labels = probabilities()
    shuffled = np.random.default_rng(2).permutation(labels)
    assert float(score(theta, shuffled)) < float(score(theta, labels)) <= 0.0


@pytest.mark.parametrize("score", SCORES)
def test_one_class_is_certain(score):
    theta, _ = probabilities()
    assert float(score(theta, np.zeros(len(theta), int))) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_ignored_labels_are_left_out(score):
    theta, labels = probabilities()
    marked = np.where(np.arange(len(labels)) % 5, labels, -1)
    kept = marked >= 0
    found = score(theta, marked, ignore=-1)
    assert float(found) == pytest.approx(float(score(theta[kept], labels[kept])), rel=1e-12)
    assert found.provenance.notes == ("40 rows were left out by their label",)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t * 1.1, "row 0 has a sum of 1.1"),
        (lambda t: np.where(np.arange(6) == 2, -0.1, t), "a negative entry or NaN"),
        (lambda t: t[:, 0], r"expected probabilities of shape \(n, classes\)"),
        (lambda t: t[:-1], "labels: expected one for each of 199 rows of source_probs; got 200"),
    ],
)
def test_what_is_no_probability_is_refused(score, change, message):
    theta, labels = probabilities()
    with pytest.raises(InputError, match=message):
        score(change(theta), labels)


@pytest.mark.parametrize("score", SCORES)
def test_missing_labels_are_refused_and_none_left_is_not_enough(score):
    theta, labels = probabilities()
    with pytest.raises(InputError, match="-1, which marks a missing label"):
        score(theta, np.where(labels == 0, -1, labels))
    with pytest.raises(NotEnoughData, match="expected labelled rows; got none"):
        score(theta, np.full(len(labels), -1), ignore=-1)


def test_float16_probabilities_are_rescaled():
    theta, labels = probabilities()
    assert float(featdiv.leep(theta.astype(np.float16), labels)) == pytest.approx(
        float(featdiv.leep(theta, labels)), abs=1e-3
    )


@pytest.mark.parametrize("name", ["leep", "nce"])
def test_entries_name_what_exists(name):
    metric = catalogue.get(name)
    assert metric.load() is getattr(featdiv, name)
    assert metric.needs == "source probabilities"
    assert metric.formula
    assert callable(metric.load_core())


def test_tensors_keep_their_digits():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), size=50), rng.integers(0, 3, size=50)
    assert float(featdiv.leep(torch.from_numpy(probabilities), labels)) == float(featdiv.leep(probabilities, labels))
